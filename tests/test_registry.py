"""Registries: names, and what happens when they are not there or there twice."""

import sys

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA, MODELS, TASKS, TRAINERS, Registry


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package with one module that registers `seven`, and the registry that owns it."""
    package = tmp_path / "the_room"
    package.mkdir()
    (package / "__init__.py").touch()
    registry = Registry("number", "the_room")
    (package / "numbers.py").write_text("import the_registry\nthe_registry.register('seven')(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "the_registry", registry)
    yield registry
    sys.modules.pop("the_room.numbers", None)
    sys.modules.pop("the_room", None)


def test_the_first_look_up_imports_the_room(room):
    assert "the_room.numbers" not in sys.modules
    assert room["seven"] == 7
    assert "the_room.numbers" in sys.modules


def test_registering_hands_the_entry_back(room):
    @room.register("function")
    def function():
        return 3

    assert function() == 3 and room["function"] is function
    assert list(room) == ["function", "seven"]


def test_an_unknown_name_lists_the_known(room):
    with pytest.raises(UserError, match="^no number is called 'eight'; choose one of: seven$"):
        room["eight"]


def test_a_name_taken_twice_is_a_bug(room):
    room.register("one")(1)
    with pytest.raises(ValueError, match="number 'one' is registered twice: 1 and 2"):
        room.register("one")(2)


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (MODELS, {"transformer", "lstm"}),
        (CORPORA, {"text", "bookcorpusopen"}),
        (TASKS, {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}),
        (TRAINERS, {"pretrain", "finetune"}),
    ],
)
def test_the_house_has_its_entries(registry, names):
    assert names <= set(registry)
