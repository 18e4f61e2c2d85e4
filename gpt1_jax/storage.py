"""Read and write the files of runs and caches: atomic writes, JSON, appended lines, locks.

Only the standard library is imported. Renaming, file descriptors and `flock` are used in this
module only. Readers of published data sets open their files themselves.
"""

import contextlib
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


@contextlib.contextmanager
def atomic_writer(path: pathlib.Path, binary: bool = False) -> Iterator[IO]:
    """Yield a file to write, which replaces `path` at the end of the block.

    The file is deleted if the block raises. The folder of `path` is created. Text is UTF-8, and
    newlines are written as given.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    options = {} if binary else {"encoding": "utf-8", "newline": ""}
    try:
        with open(temporary, "wb" if binary else "w", **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is reported without a name
        raise
    finally:
        temporary.unlink(missing_ok=True)


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
def atomic_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a new folder to fill, which replaces `path` at the end of the block.

    The folder is deleted if the block raises.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, previous = _temporary(path), _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(previous)
        try:
            temporary.rename(path)
        except OSError:
            if previous.exists():
                previous.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def read_json(path: pathlib.Path, missing: Any = REQUIRED, hint: str = "") -> Any:
    """Return the content of a JSON file.

    Args:
        path: the file.
        missing: returned if the file does not exist; without it a missing file is an error.
        hint: what to do about a missing file; completes the error message.

    Raises:
        UserError: the file is missing, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if missing is not REQUIRED:
            return missing
        hint = hint or f"is {path.parent} the folder of a run?"
        raise UserError(f"{path}: no such file; {hint}") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check the path and the permissions"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); the file is damaged") from None


def read_json_lines(path: pathlib.Path) -> list[Any]:
    """Return the value of each line; skip damaged lines. Return [] if there is no file."""
    if not path.is_file():
        return []
    values = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            values.append(json.loads(line))
    return values


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
    """Open a text file to append lines; every line is flushed at its end."""
    return open(path, "a", encoding="utf-8", buffering=1)


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
    with open(path, "a+") as file:
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


def _owner(process: int) -> str:
    return f"{socket.gethostname()} {process}"


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """Return a name beside `path` that no other writer has."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
