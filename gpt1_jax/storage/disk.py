"""Write files and folders of a disk: whole or not at all."""

import contextlib
import errno
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import IO, Any


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


def appender(path: pathlib.Path, binary: bool = False) -> IO:
    """Open a file to append to it; every line of a text is flushed at its end.

    What UTF-8 cannot represent, such as the bytes of a file name, is written escaped.
    """
    if binary:
        return open(path, "ab")
    return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)


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


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """Return a name beside `path` that no other writer has, also for the longest of names."""
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:12]}.tmp")
