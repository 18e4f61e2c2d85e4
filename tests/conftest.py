"""Prepare all tests: two simulated devices, checked shapes, strict JAX, own caches, real data."""

import os
import pathlib
import tempfile
from importlib import metadata

# One folder for all the processes that share the tests out; the first makes it and removes it.
_own = (
    None
    if "GPT1_JAX_TEST_CACHES" in os.environ
    else tempfile.TemporaryDirectory(prefix="gpt1_jax_tests_")
)
_caches = os.environ.setdefault("GPT1_JAX_TEST_CACHES", _own.name if _own else "")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_COMPILATION_CACHE_DIR"] = (
    f"{_caches}/xla"  # shared with the processes that tests start
)
os.environ["HF_HOME"] = f"{_caches}/huggingface"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
_jaxlib = metadata.version("jaxlib")
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=2",
        # Most of the tests' time is the compiler's, and what they run is small. With these flags it
        # needs a quarter of the time.
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",
        # Later versions do not know this one.
        "--xla_cpu_use_fusion_emitters=false" if _jaxlib.startswith("0.10.") else "",
        # A lost collective ends in a minute with a message instead of hanging the suite.
        "--xla_cpu_collective_call_terminate_timeout_seconds=60",
    )
)

from jaxtyping import install_import_hook

# Shapes and types of every signature in these rooms are checked at every call, so long as nothing
# of them is imported yet.
install_import_hook(["gpt1_jax.text", "gpt1_jax.models", "gpt1_jax.engine"], "beartype.beartype")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
pytest_plugins = ["bucket_fixtures", "cli_fixtures", "data_fixtures"]


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """Return the folder of real data sets, GPT1_JAX_TEST_DATA; skip the test if it is not set."""
    if not (name := os.environ.get("GPT1_JAX_TEST_DATA")):
        pytest.skip("no real data: set GPT1_JAX_TEST_DATA (see CONTRIBUTING.md)")
    assert pathlib.Path(name).is_dir(), f"GPT1_JAX_TEST_DATA: {name} is not a folder"
    return pathlib.Path(name).absolute()


@pytest.fixture
def parity(record_property):
    """Return parity(what, measured, tolerance), which asserts measured <= tolerance.

    The table of all measured differences ends the output of the tests.
    """

    def hold(what: str, measured: float, tolerance: float) -> None:
        record_property("parity", (what, float(measured), float(tolerance)))
        assert measured <= tolerance, what

    return hold


LONGEST = {"test_readme.py", "test_interruption.py", "test_ablate.py", "test_devices.py"}
MEMORY = 5 << 30  # bytes


def pytest_collection_modifyitems(items):
    """Run the longest files first, so that no process ends long after the others."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Drop the compiled programs after a module if they fill the memory: they are on the disk."""
    yield
    pages = pathlib.Path("/proc/self/statm")
    if pages.exists() and int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") > MEMORY:
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter):
    rows = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "parity":
                what, measured, tolerance = value
                rows[what, tolerance] = max(measured, rows.get((what, tolerance), 0.0))
    if rows:
        terminalreporter.section("parity: what, the largest difference, its tolerance")
    for (what, tolerance), measured in sorted(rows.items()):
        terminalreporter.write_line(f"{what:<90}  {measured:<8.2g}  {tolerance:.2g}")


def pytest_unconfigure():
    if _own:
        _own.cleanup()
