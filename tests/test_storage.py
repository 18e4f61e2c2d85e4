"""Test the reading and writing of the project's own files."""

import pathlib

import pytest

from gpt1_jax import storage
from gpt1_jax.errors import UserError


def test_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    storage.write_text(path, "old\n")
    with pytest.raises(ZeroDivisionError), storage.atomic_writer(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "old\n" and storage.names(path.parent) == ["file.txt"]
    storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and storage.names(path.parent) == ["file.txt"]


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "folder"
    for name in ("first", "second"):
        with storage.atomic_folder(path) as folder:
            (folder / name).touch()
    assert storage.names(path) == ["second"]
    with pytest.raises(ZeroDivisionError), storage.atomic_folder(path) as folder:
        (folder / "third").touch()
        raise ZeroDivisionError
    assert storage.names(path) == ["second"] and storage.names(tmp_path) == ["folder"]


def test_folder_survives_a_failed_replacement(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    with storage.atomic_folder(path) as folder:
        (folder / "first").touch()
    rename = pathlib.Path.rename

    def fail_for_the_new_folder(source, target):
        if target == path and (source / "second").exists():
            raise OSError("no")
        return rename(source, target)

    monkeypatch.setattr(pathlib.Path, "rename", fail_for_the_new_folder)
    with pytest.raises(OSError, match="no"), storage.atomic_folder(path) as folder:
        (folder / "second").touch()
    assert storage.names(path) == ["first"] and storage.names(tmp_path) == ["folder"]


def test_json_is_read_back_and_errors_name_the_file(tmp_path):
    path = tmp_path / "value.json"
    assert storage.read_json(path, missing=None) is None
    with pytest.raises(UserError, match=r"value\.json: no such file; make one$"):
        storage.read_json(path, hint="make one")
    storage.write_json(path, {"a": [1, "\u00e9"]})
    assert storage.read_json(path) == {"a": [1, "\u00e9"]}
    path.write_text("{")
    with pytest.raises(UserError, match=r"value\.json: not valid JSON"):
        storage.read_json(path, missing=None)
    with pytest.raises(UserError, match="cannot be read"):
        storage.read_json(tmp_path)


def test_unfinished_line_is_skipped(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert storage.read_json_lines(path) == []
    storage.write_json_lines(path, [{"step": 1}])
    with storage.appender(path) as file:
        storage.append_json_line(file, {"step": 2})
        file.write('{"step": 3')
    assert storage.read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_lock_is_held_once(tmp_path):
    path = tmp_path / "locks" / "name"
    with storage.lock(path) as first, storage.lock(path) as second:
        assert first and not second
    with storage.lock(path) as again:
        assert again


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_never_holds_a_number_that_is_not_finite(number, tmp_path):
    path, value = tmp_path / "x.json", {"a": [{"b": 1.5}, {"b": number}]}
    message = rf"x\.json: a\[1\]\.b is {number}, so the file is not written"
    with pytest.raises(UserError, match=message):
        storage.write_json(path, value)
    with pytest.raises(UserError, match=message):
        storage.write_json_lines(path, [{}, value])
    with pytest.raises(UserError, match=message), storage.appender(path) as file:
        storage.append_json_line(file, value)
    assert path.read_text() == ""
    storage.write_json(path, {"a": None})  # an unknown number
    assert storage.read_json(path) == {"a": None}
