"""Prepare the local copy of a data set of the Hugging Face hub for the `datasets` library.

The library takes the path of a folder as a glob pattern and leaves out linked folders.
"""

import atexit
import collections
import contextlib
import glob
import gzip
import os
import pathlib
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator

import pyarrow
import pyarrow.parquet

from gpt1_jax.datasets import files
from gpt1_jax.errors import UserError, first_line


def readable(folder: pathlib.Path) -> pathlib.Path:
    """Return a folder that holds the same files and that the library reads completely.

    This is `folder` itself, or a temporary folder with links to the files, which is removed when
    the process exits.

    Raises:
        UserError: a folder cannot be listed, or there is no room for the temporary folder.
    """
    if not folder.is_dir():
        return folder
    listing = list(files.tree(folder, collections.Counter()))
    if not _misread(folder, [below for below, _ in listing[1:]]):
        return folder
    try:
        copy = pathlib.Path(tempfile.mkdtemp(prefix="gpt1_jax_hub_"))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        for below, names in listing:
            target = copy / below.relative_to(folder)
            target.mkdir(parents=True, exist_ok=True)
            for file in names:
                (target / file.name).symlink_to(file.absolute())
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: cannot hold links to {folder} ({first_line(error)}); "
            "free disk space, or set TMPDIR to another folder"
        ) from None
    return copy


def _misread(folder: pathlib.Path, subfolders: Iterable[pathlib.Path]) -> bool:
    """Return whether the library would not find all files."""
    name = os.fsencode(folder.absolute())
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return glob.has_magic(name) or any(map(os.path.islink, subfolders))


def left_out(folder: pathlib.Path, used: Iterable[str]) -> collections.Counter[str]:
    """Return kind -> the number of files and folders of a copy that are not among the used ones.

    README.md describes the copy and is not counted.
    """
    used = set(map(os.path.realpath, used))
    counts = collections.Counter()
    for _, names in files.tree(folder, counts):
        for file in names:
            if file.name != "README.md" and os.path.realpath(file) not in used:
                counts[files.kind(file)] += 1
    return counts


@contextlib.contextmanager
def errors(folder: pathlib.Path, message: str, advice: str) -> Iterator[None]:
    """Raise UserError for every exception of the library in the block.

    Args:
        folder: the copy; if one of its files is damaged, the message names it.
        message: otherwise the beginning of the message, before the reason in parentheses.
        advice: the end of the message.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the library raises many kinds, also those of other libraries
        file = _damaged_file(folder)
        if file:
            message, advice = f"{file}: cannot be read", "fetch it again"
        raise UserError(f"{message} ({first_line(error)}); {advice}") from None


def _damaged_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Return the first .gz or .parquet file that cannot be read to its end."""
    for _, names in files.tree(folder, collections.Counter()):
        for file in names:
            try:
                if file.suffix == ".gz":
                    with gzip.open(file) as content:
                        while content.read(1 << 20):
                            pass
                elif file.suffix == ".parquet":
                    with open(file, "rb") as content:
                        for batch in pyarrow.parquet.ParquetFile(content).iter_batches():
                            batch.validate(full=True)
            except (OSError, EOFError, zlib.error, pyarrow.ArrowException):
                return file
    return None
