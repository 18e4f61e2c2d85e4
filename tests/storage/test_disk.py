"""Test the reading and writing of the project's own files."""

import os
import pathlib
import stat
import subprocess
import sys
import threading
import zipfile

import pytest
from cli_fixtures import REPOSITORY

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


def write_zip(path: pathlib.Path) -> None:
    with (
        storage.atomic_writer(path, binary=True) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        archive.writestr("name", "content")


WRITERS = {
    "text": lambda path: storage.write_text(path, "new"),
    "bytes": lambda path: storage.write_bytes(path, b"new"),
    "zip": write_zip,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_link_stays_and_its_target_is_replaced(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("old")
    (tmp_path / "other").hardlink_to(tmp_path / "folder/file")
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    WRITERS[kind](tmp_path / "link2")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link2").is_symlink()
    assert (tmp_path / "folder/file").read_bytes() != b"old"
    assert (tmp_path / "other").read_text() == "old", "the file was replaced, not written over"
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("link2")
    with pytest.raises(OSError, match="symbolic links"):
        WRITERS[kind](tmp_path / "link2")


@pytest.mark.parametrize("kind", WRITERS)
def test_fifo_is_written_into(tmp_path, kind):
    os.mkfifo(tmp_path / "fifo")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "fifo").read_bytes()))
    reader.start()
    WRITERS[kind](tmp_path / "fifo")
    reader.join(10)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert received[0][:2] == (b"PK" if kind == "zip" else b"ne")


@pytest.mark.parametrize("kind", WRITERS)
def test_device_is_written_into(device, kind):
    null, full = device("null"), device("full")
    WRITERS[kind](null)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[kind](full)
    assert stat.S_ISCHR(null.stat().st_mode) and stat.S_ISCHR(full.stat().st_mode)


@pytest.mark.parametrize("name", ["stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_descriptor_is_written_into(tmp_path, name):
    """The file behind it is also written by others, who would lose it if it were replaced."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout, which must stay whole
    program = (
        "import pathlib; from gpt1_jax import storage; "
        f"storage.write_text(pathlib.Path('{tmp_path / name}'), 'new\\n'); print('after')"
    )
    command = f'echo before; "{sys.executable}" -c "{program}"'
    with (tmp_path / "file").open("ab") as file:
        subprocess.run(["sh", "-c", command], cwd=REPOSITORY, stdout=file, check=True)
    assert (tmp_path / "file").read_text() == "before\nnew\nafter\n"


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


WRITE_FOLDERS = """
import pathlib, sys
from gpt1_jax import storage
path, name, replace = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "replace"
sys.stdin.readline()  # all processes begin at once
for round in range(int(sys.argv[4])):
    try:
        with storage.atomic_folder(path, replace) as folder:
            for number in range(5):
                (folder / str(number)).write_text(name)
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@pytest.mark.parametrize(("mode", "rounds"), [("replace", 100), ("keep", 1)])
def test_folder_is_that_of_one_of_several_processes(tmp_path, mode, rounds):
    command = [sys.executable, "-c", WRITE_FOLDERS, str(tmp_path / "out")]
    writers = [
        subprocess.Popen(
            [*command, f"writer{number}", mode, str(rounds)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    outcomes = []
    for writer in writers:
        outcomes += writer.communicate(timeout=60)[0].splitlines()
        assert writer.returncode == 0
    assert storage.names(tmp_path) == ["out"]
    assert storage.names(tmp_path / "out") == list("01234")
    assert len({file.read_text() for file in (tmp_path / "out").iterdir()}) == 1
    expected = ["written"] * 4 * rounds
    if mode == "keep":
        expected = ["Directory not empty"] * 3 + ["written"]
    assert sorted(outcomes) == expected


def test_link_to_a_folder_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with storage.atomic_folder(tmp_path / "link") as folder:
        (folder / "file").touch()
    assert (tmp_path / "link").is_symlink() and storage.names(tmp_path / "folder") == ["file"]


def test_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(OSError, match="Not a directory"), storage.atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "old" and storage.names(tmp_path) == ["out"]


def test_longest_names_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    storage.write_text(path, "text")
    assert storage.names(tmp_path) == [path.name]


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


DAMAGED_JSON = {
    "nested": b"[" * 3000 + b"]" * 3000,
    "nested objects": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "unfinished": b'{"a": 1',
    "not UTF-8": b'{"a": "\xff"}',
    "null character": b"\x00",
    "empty": b"",
    "long number": b"1" * 5000,
}


@pytest.mark.parametrize("kind", DAMAGED_JSON)
def test_damaged_json_is_refused_with_the_file(tmp_path, kind):
    path = tmp_path / "value.json"
    path.write_bytes(DAMAGED_JSON[kind])
    with pytest.raises(
        UserError, match=r"value\.json: (not valid JSON|nested more than).*; mend it"
    ):
        storage.read_json(path, missing=None, damaged="mend it")


@pytest.mark.parametrize("name", ["n" * 300, "loop", "a\0b"])
def test_unusable_path_of_json_is_refused(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="cannot be read|not valid JSON"):
        storage.read_json(tmp_path / name)


def test_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "value.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert storage.read_json(tmp_path / "value.json") == {"a": 1}


def test_damaged_lines_are_skipped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [b'{"step": 1}', *DAMAGED_JSON.values(), b"[]", b'{"a": 1}', b'{"step": "2"}', b"3"]
    lines += [b'{"step": true}', b'{"step": 1e400}', b'{"step": 99999999999999999999}']
    path.write_bytes(b"\n".join([*lines, '{"step": 4, "text": "a\u2028b"}'.encode()]))
    assert storage.read_json_lines(path) == [{"step": 1}, {"step": 4, "text": "a\u2028b"}]
    with pytest.raises(UserError, match="cannot be read"):
        storage.read_json_lines(tmp_path)


def test_name_that_is_not_utf8_is_appended_escaped(tmp_path):
    with storage.appender(tmp_path / "log.txt") as file:
        file.write(os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "log.txt").read_text() == "caf\\udce9"


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


def test_lock_does_not_follow_a_link(tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / ".lock").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"), storage.lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / "file").read_text() == "precious"
