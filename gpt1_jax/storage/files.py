"""Write files and folders, where their paths are: on a disk or in a bucket."""

import contextlib
import pathlib
import types
from typing import IO

from gpt1_jax.storage import disk, objects
from gpt1_jax.storage.bucket import BucketPath
from gpt1_jax.storage.paths import Path


def _place(path: Path) -> types.ModuleType:
    """Return the module that writes where the path is."""
    return objects if isinstance(path, BucketPath) else disk


def atomic_writer(path: Path, binary: bool = False) -> contextlib.AbstractContextManager[IO]:
    """Return a block that yields a file to write, which replaces `path` at the end of the block.

    Nothing is replaced if the block raises. See `disk.atomic_writer` for links and devices.

    Raises:
        OSError: the file cannot be written.
    """
    return _place(path).atomic_writer(path, binary)


def write_text(path: Path, text: str) -> None:
    """Write the file atomically; raise OSError if it cannot be written."""
    with atomic_writer(path) as file:
        file.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write the file atomically; raise OSError if it cannot be written."""
    with atomic_writer(path, binary=True) as file:
        file.write(content)


def atomic_folder(
    path: Path, replace: bool = True
) -> contextlib.AbstractContextManager[pathlib.Path]:
    """Return a block that yields a folder to fill, which replaces `path` at the end of the block.

    The folder to fill is on a disk. In a bucket its files appear in the order in which they were
    written, the last one after all others.

    Args:
        path: the folder.
        replace: replace a folder that holds files; otherwise that is an error.

    Raises:
        OSError: the folder cannot be written, or there is one and `replace` is False.
    """
    return _place(path).atomic_folder(path, replace)


def appender(path: Path, binary: bool = False) -> IO:
    """Open a file to append to it: text, or bytes.

    What UTF-8 cannot represent, such as the bytes of a file name, is written escaped. On a disk,
    every line of a text is flushed at its end. In a bucket, call `flush` where others must see it.
    """
    return _place(path).appender(path, binary)


def names(folder: Path) -> list[str]:
    """Return the sorted names in a folder; [] if there is no folder."""
    return _place(folder).names(folder)


def move_folder(folder: Path, target: Path) -> None:
    """Rename a folder; raise OSError if that fails, also if `target` is a folder with files."""
    _place(folder).move_folder(folder, target)


def remove_folder(folder: Path) -> None:
    """Delete a folder and all in it. A reader finds it whole, or sees that it is not.

    Raises:
        OSError: a file cannot be deleted.
    """
    _place(folder).remove_folder(folder)


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 if there is no folder."""
    return _place(folder).folder_size(folder)
