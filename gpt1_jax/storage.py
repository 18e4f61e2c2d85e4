"""Read and write the files of runs and caches: atomic writes, JSON, appended lines, locks.

Only the standard library is imported. Renaming, file descriptors and `flock` are used in this
module only. Readers of published data sets open their files themselves.
"""

import contextlib
import errno
import fcntl
import json
import math
import os
import pathlib
import shutil
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from gpt1_jax.errors import UserError

REQUIRED = object()  # `read_json`: the file must exist
MAX_DEPTH = 100  # levels of JSON; the files of this project and of Hugging Face have fewer than 20
STEPS = range(2**63)  # whole numbers that numpy holds


@contextlib.contextmanager
def atomic_writer(path: pathlib.Path, binary: bool = False) -> Iterator[IO]:
    """Yield a file to write, which replaces `path` at the end of the block.

    The file is deleted if the block raises. The folder of `path` is created. Text is UTF-8, and
    newlines are written as given. A symbolic link stays, and the file behind it is replaced. What
    exists and is not a regular file (a FIFO, a device, a descriptor such as /dev/stdout) is not
    replaced: the block writes into it.

    Raises:
        OSError: the file cannot be written.
    """
    mode: dict[str, Any] = (
        {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": ""}
    )
    target = _follow_links(path)
    if isinstance(target, int):  # a copy, because closing the file closes its descriptor
        with open(os.dup(target), **mode) as file:
            yield file
        return
    if target.exists() and not target.is_file():
        with open(target, **mode) as file:
            yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(target)
    try:
        with open(temporary, **mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is reported without a name
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _follow_links(path: pathlib.Path) -> pathlib.Path | int:
    """Return the path behind symbolic links, or the descriptor of this process that it names.

    A link such as /dev/stdout ends in a descriptor. The file that is open there is not looked up:
    writing to it by its name would lose what others have written, or will write, to the descriptor.
    """
    for _ in range(40):  # the limit of Linux
        folder = os.path.realpath(path.parent)
        if folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and path.name.isdecimal():
            return int(path.name)
        path = pathlib.Path(folder, path.name)
        if not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def write_text(path: pathlib.Path, text: str) -> None:
    """Write the file atomically; raise OSError if it cannot be written."""
    with atomic_writer(path) as file:
        file.write(text)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write the file atomically; raise OSError if it cannot be written."""
    with atomic_writer(path, binary=True) as file:
        file.write(content)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write the value as JSON, atomically.

    Raises:
        OSError: the file cannot be written.
        UserError: a number is not finite.
    """
    write_text(path, _to_json(path, value, indent=2) + "\n")


@contextlib.contextmanager
def atomic_folder(path: pathlib.Path, replace: bool = True) -> Iterator[pathlib.Path]:
    """Yield a new folder to fill, which replaces `path` at the end of the block.

    The folder is deleted if the block raises. A symbolic link stays, and the folder behind it is
    replaced. If several processes write `path` at once, it is the folder of one of them.

    Args:
        path: the folder.
        replace: replace a folder that holds files; otherwise that is an error, also if another
            process has written the folder since the block began.

    Raises:
        OSError: the folder cannot be written, or there is one and `replace` is False.
    """
    path = pathlib.Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        _rename_folder(temporary, path, replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_folder(new: pathlib.Path, path: pathlib.Path, replace: bool) -> None:
    """Rename `new` to `path`. Other processes may do the same at the same time."""
    previous = _temporary(path)
    try:
        while True:
            try:
                new.rename(path)  # replaces an empty folder only
                return
            except OSError as error:
                if not replace or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            # `path` holds files, so the folder that an earlier round moved away is out of date.
            shutil.rmtree(previous, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):  # another process has moved it away
                path.rename(previous)
    except OSError:
        if previous.exists() and not path.exists():
            previous.rename(path)
        raise
    finally:
        shutil.rmtree(previous, ignore_errors=True)


def read_json(
    path: pathlib.Path,
    missing: Any = REQUIRED,
    hint: str = "",
    damaged: str = "the file is damaged",
) -> Any:
    """Return the content of a JSON file.

    Args:
        path: the file.
        missing: returned if the file does not exist; without it a missing file is an error.
        hint: what to do about a missing file; completes the error message.
        damaged: the same about a damaged file.

    Raises:
        UserError: the file is missing, cannot be read, or is not JSON.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
        _check_depth(value)
        return value
    except (FileNotFoundError, NotADirectoryError):
        if missing is not REQUIRED:
            return missing
        hint = hint or f"is {path.parent} the folder of a run?"
        raise UserError(f"{path}: no such file; {hint}") from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{path}: cannot be read ({reason}); check the path and the permissions"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: nested more than {MAX_DEPTH} levels deep; {damaged}") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {damaged}") from None


def _check_depth(value: Any) -> None:
    """Raise RecursionError if the value is nested too deeply for the code that walks through it."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise RecursionError


def read_json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a log of steps, one JSON object a line. Return [] if there is no file.

    Lines that are damaged or that have no "step", a number of steps, are skipped.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); check the permissions"
        ) from None
    rows = []
    for line in content.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int and row["step"] in STEPS:
                rows.append(row)
    return rows


def write_json_lines(path: pathlib.Path, values: Iterable[Any]) -> None:
    """Write one value a line, atomically; errors as for `write_json`."""
    with atomic_writer(path) as file:
        file.writelines(_to_json(path, value) + "\n" for value in values)


def append_json_line(file: IO[str], value: Any) -> None:
    """Append one value to a file that `appender` has opened; errors as for `write_json`."""
    file.write(_to_json(file.name, value) + "\n")


def _to_json(path: pathlib.Path | str, value: Any, indent: int | None = None) -> str:
    """Return the value as JSON, which has neither nan nor infinity. An unknown number is null.

    Raises:
        UserError: a number is not finite; the message names the file `path` and the field.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:
        field, number = next(_not_finite(value), (None, None))
        if number is None:
            raise
        raise UserError(
            f"{path}: {field} is {number}, so the file is not written; has the training diverged?"
        ) from None


def _not_finite(value: Any, field: str = "") -> Iterator[tuple[str, float]]:
    """Yield the dotted names of the numbers that are not finite, with the numbers."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _not_finite(entry, f"{field}.{name}" if field else str(name))
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield from _not_finite(entry, f"{field}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield field, value


def appender(path: pathlib.Path) -> IO[str]:
    """Open a text file to append lines; every line is flushed at its end.

    What UTF-8 cannot represent, such as the bytes of a file name, is written escaped.
    """
    return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)


@contextlib.contextmanager
def lock(
    path: pathlib.Path, wait: bool = False, on_wait: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Acquire the lock `path` for the duration of the block.

    Yield False if another process holds the lock, unless `wait` is True. The system releases the
    lock when the process ends, however it ends. While it is held, the file names the process
    (`is_locked_by`).

    Args:
        path: the lock's file; its folder is created.
        wait: wait until the lock is free, and yield True.
        on_wait: called once before waiting.

    Raises:
        OSError: the file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link is refused, because the lock's file is emptied and written.
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(_owner(os.getpid()))
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def is_locked_by(path: pathlib.Path, process: int) -> bool:
    """Return whether process `process` of this machine holds the lock, or died holding it."""
    try:
        return path.read_text() == _owner(process)
    except FileNotFoundError:
        return False


def names(folder: pathlib.Path) -> list[str]:
    """Return the sorted names in a folder; [] if there is no folder."""
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def move_folder(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Rename a folder; raise OSError if that fails, also if `target` is a folder with files."""
    folder.rename(target)


def remove_folder(folder: pathlib.Path) -> None:
    """Delete a folder and all in it. A reader finds it whole or not at all.

    Raises:
        OSError: a file cannot be deleted; the folder is then gone all the same.
    """
    remains = _temporary(folder)
    folder.rename(remains)
    shutil.rmtree(remains)


def folder_size(folder: pathlib.Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is no folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _owner(process: int) -> str:
    return f"{socket.gethostname()} {process}"


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """Return a name beside `path` that no other writer has, also for the longest of names."""
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:12]}.tmp")
