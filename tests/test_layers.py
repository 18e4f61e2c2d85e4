"""Test the layers of the project: imports never point upwards."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A module may import its own layer and lower ones.
LAYERS = {
    **dict.fromkeys(("errors", "inputs", "progress", "registry"), 0),
    **dict.fromkeys(("signals", "storage", "text"), 0),
    **dict.fromkeys(("datasets", "microworld", "models", "engine", "runs", "analysis"), 1),
    **dict.fromkeys(("interop", "trainers"), 2),
    **dict.fromkeys(("cli", "main"), 3),
}
ACCELERATED = {"jax", "flax", "optax", "orbax", "clu"}  # packages that are about a device
# Package -> what it must not import, besides the packages of higher layers.
FORBIDDEN = {
    "storage": {"gpt1_jax.registry", "gpt1_jax.text"},
    "text": {"gpt1_jax.registry"},
    "engine": {
        "gpt1_jax.text",
        "gpt1_jax.datasets",
        "gpt1_jax.microworld",
        "gpt1_jax.models",
        "gpt1_jax.runs",
        "gpt1_jax.analysis",
        "gpt1_jax.registry",
        "ml_collections",
        "configs",
    },
    "models": {
        "gpt1_jax.datasets",
        "gpt1_jax.microworld",
        "gpt1_jax.engine",
        "gpt1_jax.runs",
        "gpt1_jax.analysis",
        "optax",
        "ml_collections",
        "configs",
    },
    "datasets": {
        "gpt1_jax.models",
        "gpt1_jax.engine",
        "gpt1_jax.runs",
        "gpt1_jax.analysis",
        "ml_collections",
        "configs",
    },
    "microworld": {
        "gpt1_jax.models",
        "gpt1_jax.engine",
        "gpt1_jax.runs",
        "gpt1_jax.analysis",
        "ml_collections",
        "configs",
    },
    "runs": {
        "gpt1_jax.datasets",
        "gpt1_jax.microworld",
        "gpt1_jax.models",
        "gpt1_jax.analysis",
        "gpt1_jax.registry",
        "ml_collections",
        "configs",
    },
    "analysis": {
        "gpt1_jax.text",
        "gpt1_jax.models",
        "gpt1_jax.engine",
        "gpt1_jax.microworld",
        "ml_collections",
        "configs",
    },
    "interop": {"gpt1_jax.datasets", "gpt1_jax.trainers", "ml_collections", "configs"},
}
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "gpt1_jax").rglob("*.py")
)


def imports(module: str, top_level: bool = False) -> set[str]:
    """Return the full names of the modules that `module` imports; `from a import b` gives both."""
    path = ROOT / (module.replace(".", "/") + ".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write it in full"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def package(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def reached(module: str) -> set[str]:
    """Return all modules that importing `module` imports, directly or through our own modules."""
    found, open_ends = set(), {module}
    while open_ends:
        current = open_ends.pop()
        found.add(current)
        if current in MODULES:
            # Imports inside functions do not count: they are loaded only when the function is
            # called.
            open_ends |= imports(current, top_level=True) - found
    return found


def test_the_rules_name_every_package():
    assert {package(module) for module in MODULES} - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_points_up(module):
    own = LAYERS.get(package(module), 0)
    for target in imports(module):
        if within(target, "gpt1_jax") and package(target) in LAYERS:
            assert LAYERS[package(target)] <= own, (
                f"{module} imports {target}, which is in a higher layer"
            )
        for forbidden in FORBIDDEN.get(package(module), ()):
            assert not within(target, forbidden), (
                f"{module} imports {target}; {package(module)}/ must not import {forbidden}"
            )


@pytest.mark.parametrize(
    "module", [module for module in MODULES if package(module) in ("text", "datasets", "analysis")]
)
def test_text_and_data_need_no_device(module):
    brought = {target for target in reached(module) if target.split(".")[0] in ACCELERATED}
    assert not brought, f"importing {module} brings in {', '.join(sorted(brought))}"


COMMANDS = [
    module
    for module in MODULES
    if package(module) in ("main", "cli") and module.rpartition(".")[2] != "__init__"
]


@pytest.mark.parametrize("module", COMMANDS)
def test_commands_import_only_flags(module):
    ours = {target for target in imports(module, top_level=True) if within(target, "gpt1_jax")}
    allowed = {"cli", "errors", "inputs", "registry", "signals", "storage"}
    assert {package(target) for target in ours} - {""} <= allowed
    others = {
        target.split(".")[0]
        for target in imports(module, top_level=True)
        if not within(target, "gpt1_jax")
    }
    assert others <= {"absl", "ml_collections", *sys.stdlib_module_names}


STORAGE = [module for module in MODULES if package(module) == "storage"]


@pytest.mark.parametrize("module", STORAGE)
def test_storage_uses_the_standard_library_only(module):
    def others(top_level: bool) -> set[str]:
        ours = ("gpt1_jax.errors", "gpt1_jax.storage")
        return {
            target.split(".")[0]
            for target in imports(module, top_level)
            if not any(within(target, name) for name in ours)
        }

    assert others(top_level=True) <= sys.stdlib_module_names
    if module != "gpt1_jax.storage.connection":  # which imports packages when a bucket is used
        assert others(top_level=False) <= sys.stdlib_module_names


def test_trainers_use_each_other_through_the_registry():
    trainers = [module for module in MODULES if package(module) == "trainers"]
    source = {
        module: (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        for module in trainers
    }
    programs = {module for module in trainers if "@TRAINERS.register(" in source[module]}
    assert programs
    for module in trainers:
        assert not imports(module) & programs, (
            f"{module} imports another program; ask TRAINERS for it"
        )


def test_upward_import_is_found(tmp_path, monkeypatch):
    (tmp_path / "gpt1_jax" / "text").mkdir(parents=True)
    (tmp_path / "gpt1_jax" / "text" / "bad.py").write_text(
        "def late():\n    from gpt1_jax.trainers import pretrain\n"
    )
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises(
        AssertionError, match="gpt1_jax.text.bad imports gpt1_jax.trainers.*is in a higher layer"
    ):
        test_no_import_points_up("gpt1_jax.text.bad")
