"""Shared by all tests: two simulated devices, strict JAX, real data where they lie beside the project."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=2",
        # A lost collective ends in a minute with a message instead of hanging the suite.
        "--xla_cpu_collective_call_terminate_timeout_seconds=60",
    )
)
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data sets that may lie beside the project; the test is skipped where it does not."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {folder}")
    return folder
