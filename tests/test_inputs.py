"""Test the checks of what users and foreign files give: paths, names, fields of JSON files."""

import os
import pathlib

import pytest

from gpt1_jax import inputs
from gpt1_jax.errors import UserError, printable


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the home folder of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_tilde_is_the_home_folder(home, monkeypatch):
    assert inputs.path("--flag", "~/x") == home / "x" and inputs.path("--flag", "~") == home
    assert inputs.path("--flag", "a/~/b") == pathlib.Path("a/~/b")
    monkeypatch.chdir(home)
    (home / "~nobody_of_this_name").touch()
    assert inputs.path("--flag", "~nobody_of_this_name").exists(), "a path that is there is meant"


def test_unknown_home_is_refused(monkeypatch):
    with pytest.raises(UserError, match="^--flag: ~nobody_of_this_name/x: the home folder of ~no"):
        inputs.path("--flag", "~nobody_of_this_name/x")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # a user without an entry
    with pytest.raises(UserError, match="^--flag: ~/x: the home folder of ~ is not known"):
        inputs.path("--flag", "~/x")
    assert inputs.path("--flag", "x") == pathlib.Path("x")


@pytest.mark.parametrize("text", ["n" * 300, "loop", "a\0b"])
def test_unusable_path_is_refused(text, home, monkeypatch):
    monkeypatch.chdir(home)
    pathlib.Path("loop").symlink_to("loop")
    with pytest.raises(UserError, match="^--flag: .* cannot be used .*; check the path"):
        inputs.path("--flag", text)


def test_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="^--flag: .*file is a file; name a folder$"):
        inputs.folder("--flag", f"{tmp_path}/file", "name a folder")
    assert inputs.folder("--flag", str(tmp_path), "") == tmp_path
    assert inputs.folder("--flag", f"{tmp_path}/new", "") == tmp_path / "new"


def test_run_folder_is_utf8(tmp_path, monkeypatch):
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    monkeypatch.chdir(tmp_path / os.fsdecode(b"caf\xe9"))
    assert inputs.folder("--flag", "run", "") == pathlib.Path("run")
    with pytest.raises(UserError, match="^--flag: .*/run is not a name in UTF-8"):
        inputs.run_folder("--flag", "run")


@pytest.mark.parametrize("name", ["rte_full_0", "a.b", "lr_6.25e-05", "t-1", "x=1+2"])
def test_name_is_accepted(name):
    assert inputs.check_name(name, "file") == name


@pytest.mark.parametrize(
    "name",
    ["", "..", ".hidden", "a/b", "/a", "a b", "<b>", 'a"b', "a\nb", "=1+1", "a$b", "javascript:x"]
    + ["n" * 201, "é", 3, None, ["a"]],
)
def test_name_is_refused(name):
    with pytest.raises(UserError, match="^file: .* is not a name; expected letters"):
        inputs.check_name(name, "file")


FIELDS = {
    "name": str,
    "number": float,
    "flag": bool,
    "runs.*.steps.*": int,
    "rows.[].id": int,
    "more.deep?": str,
}
VALID = {
    "name": "a",
    "number": 1,
    "flag": True,
    "runs": {"a": {"steps": {"1": 2}}, "b.c": {"steps": {}}},
    "rows": [{"id": 1}, {"id": 2}],
}


def test_fields_are_accepted():
    inputs.check_fields(VALID, FIELDS, "file")
    inputs.check_fields(VALID | {"number": 0.5, "more": None}, FIELDS, "file")
    inputs.check_fields(VALID | {"more": {"deep": "x"}}, FIELDS, "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "name is null, a text is expected"),
        ({"name": ["a"]}, "name is a list, a text is expected"),
        ({"number": True}, "number is true, a number is expected"),
        ({"number": "1"}, 'number is "1", a number is expected'),
        ({"number": 10**400}, "number is 1000"),
        ({"flag": 1}, "flag is 1, true or false is expected"),
        ({"runs": []}, "runs is a list, an object is expected"),
        ({"rows": {}}, "rows is an object, a list is expected"),
        ({"runs": 3}, "runs is 3, an object is expected"),
        ({"runs": {"a": []}}, "runs.a is a list, an object is expected"),
        ({"runs": {"a": {}}}, "runs.a.steps is missing, an object is expected"),
        ({"runs": {"a": {"steps": {"1": 1.5}}}}, "runs.a.steps.1 is 1.5, a whole number is"),
        ({"rows": [{"id": 1}, {}]}, "rows.1.id is missing, a whole number is expected"),
        ({"rows": [3]}, "rows.0 is 3, an object is expected"),
        ({"more": {"deep": 3}}, "more.deep is 3, a text is expected"),
        ({"more": "x"}, 'more is "x", an object is expected'),
    ],
)
def test_other_fields_are_refused(change, message):
    with pytest.raises(UserError) as refusal:
        inputs.check_fields(VALID | change, FIELDS, "file", "mend it")
    assert str(refusal.value).startswith(f"file: {message}")
    assert str(refusal.value).endswith("; mend it")


@pytest.mark.parametrize("content", [[], None, "a", 3])
def test_only_an_object_has_fields(content):
    with pytest.raises(UserError, match="^file: the content is .*, an object is expected"):
        inputs.check_fields(content, {}, "file")


def test_control_characters_are_escaped():
    text = "a\x1b[31mb\r\x00\x7f\x9bc\nd\té\u200b"
    assert printable(text) == "a\\x1b[31mb\\x0d\\x00\\x7f\\x9bc\nd\té\u200b"
    assert printable("a\nb", keep="") == "a\\x0ab"
    assert printable(os.fsdecode(b"caf\xe9")) == "caf\\udce9"


def test_flatten_gives_dotted_names():
    assert inputs.flatten({"a": 1, "b": {"c": {"d": 2}}, "e": {}}) == {"a": 1, "b.c.d": 2}
