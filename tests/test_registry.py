"""Test look-up, registration and errors of registries."""

import sys

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA, MODELS, TASKS, TRAINERS, Registry


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    """Return the registry of a package with one module, which registers `seven`."""
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "__init__.py").touch()
    registry = Registry("number", "a_package")
    (package / "seven.py").write_text("import the_registry\nthe_registry.register('seven')(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "the_registry", registry)
    yield registry
    sys.modules.pop("a_package.seven", None)
    sys.modules.pop("a_package", None)


def test_the_first_look_up_imports_a_package(numbers):
    assert "a_package.seven" not in sys.modules
    assert numbers["seven"] == 7
    assert "a_package.seven" in sys.modules


def test_register_returns_the_entry(numbers):
    @numbers.register("function")
    def function():
        return 3

    assert function() == 3 and numbers["function"] is function
    assert list(numbers) == ["function", "seven"]


def test_unknown_name_lists_the_known_names(numbers):
    with pytest.raises(UserError, match="^no number is called 'eight'; choose one of: seven$"):
        numbers["eight"]
    with pytest.raises(UserError, match=r"^no number is called 'SEVEN' \(did you mean 'seven'\?\)"):
        numbers["SEVEN"]


def test_name_can_be_registered_once(numbers):
    numbers.register("one")(1)
    with pytest.raises(ValueError, match="number 'one' is registered twice: 1 and 2"):
        numbers.register("one")(2)


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (MODELS, {"transformer", "lstm"}),
        (CORPORA, {"text", "bookcorpusopen"}),
        (TASKS, {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}),
        (TRAINERS, {"pretrain", "finetune"}),
    ],
)
def test_registries_have_their_entries(registry, names):
    assert names <= set(registry)
