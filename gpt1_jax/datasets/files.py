"""Find the files of a data set, and count what is left out."""

import collections
import fnmatch
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from gpt1_jax.errors import UserError

HIDDEN = "hidden"
LINKED = "linked folders that are read already"
FOLDER = "folders"
NO_FILE = "broken links or devices"


class Found(NamedTuple):
    """Hold the files of a data set.

    Attributes:
        files: the files, sorted.
        left_out: kind, such as a suffix -> the number of files or folders that are left out.
    """

    files: list[pathlib.Path]
    left_out: collections.Counter[str]


def find(path: pathlib.Path, suffixes: Collection[str]) -> Found:
    """Return the files with one of the suffixes; upper and lower case do not matter in a suffix.

    A folder is searched with all its folders. Links to folders are followed, but no folder is read
    twice, so a cycle of links ends. Hidden files and folders are left out.

    Args:
        path: a folder, a file, or a glob pattern. A part of the path that exists is taken
            literally, even if it looks like a pattern.
        suffixes: the suffixes in lower case.

    Raises:
        UserError: a folder cannot be listed.
    """
    left_out = collections.Counter()
    if os.path.isdir(path):
        candidates = list(_files_below(path, left_out))
    else:
        candidates = list(dict.fromkeys(_match(pathlib.Path(path.anchor), _parts(path))))
    files = []
    for file in candidates:
        if os.path.isfile(file) and file.suffix.lower() in suffixes:
            files.append(file)
        else:
            left_out[kind(file)] += 1
    return Found(sorted(files), left_out)


def find_by_pattern(folder: pathlib.Path, pattern: str) -> Found:
    """Return the files in `folder` that match a glob pattern; the others beside them are left out.

    Numbers as file names are in numerical order.

    Raises:
        UserError: a folder cannot be listed.
    """
    *parents, name = pathlib.PurePath(pattern).parts
    files, left_out = [], collections.Counter()
    for parent in filter(os.path.isdir, _match(folder, parents)):
        is_literal = os.path.lexists(parent / name)
        for child in [parent / name] if is_literal else _children(parent):
            if os.path.isfile(child) and (is_literal or _fits(child.name, name)):
                files.append(child)
            elif "*" in name:
                left_out[kind(child)] += 1
    files.sort(key=lambda file: (file.parent, len(file.name), file.name))
    return Found(files, left_out if files else collections.Counter())


def kind(path: pathlib.Path) -> str:
    """Return how a file or folder that is left out is counted."""
    if _is_hidden(path.name):
        return HIDDEN
    if os.path.isdir(path):
        return FOLDER
    if not os.path.isfile(path):
        return NO_FILE
    return path.suffix.lower() or "without a suffix"


def describe(left_out: Mapping[str, int]) -> str:
    """Return the counts above 0 in words, such as "3 .gz, 2 hidden"."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()) if count)


def tree(
    root: pathlib.Path, left_out: collections.Counter[str]
) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Yield every folder from `root` on with the files in it, links to folders last.

    Count hidden files and folders, and links to folders that were read before, in `left_out`.

    Raises:
        UserError: a folder cannot be listed.
    """
    known, folders, links = set(), collections.deque([root]), collections.deque()
    while folders or links:
        folder = (folders or links).popleft()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in known:
            left_out[LINKED] += 1
            continue
        known.add((status.st_dev, status.st_ino))
        files = []
        for child in _children(folder):
            if _is_hidden(child.name):
                left_out[HIDDEN] += 1
            elif os.path.isdir(child):
                (links if os.path.islink(child) else folders).append(child)
            else:
                files.append(child)
        yield folder, files


def _files_below(root: pathlib.Path, left_out: collections.Counter[str]) -> Iterator[pathlib.Path]:
    for _, files in tree(root, left_out):
        yield from files


def _parts(path: pathlib.Path) -> Sequence[str]:
    """Return the parts of a path without its anchor."""
    return path.parts[1:] if path.anchor else path.parts


def _match(folder: pathlib.Path, parts: Sequence[str]) -> Iterator[pathlib.Path]:
    """Yield the paths below `folder` that match the parts, each literally or as a pattern."""
    if not parts:
        yield folder
        return
    name, *rest = parts
    unread = collections.Counter()
    if os.path.lexists(folder / name):
        matches = [folder / name]
    elif not os.path.isdir(folder):
        matches = []
    elif name == "**" and rest:
        matches = [below for below, _ in tree(folder, unread)]
    elif name == "**":
        matches = list(_files_below(folder, unread))
    else:
        matches = [child for child in _children(folder) if _fits(child.name, name)]
    for match in matches:
        yield from _match(match, rest)


def _children(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the sorted paths in a folder."""
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed ({error.strerror}); check the permissions"
        ) from None


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern; a pattern finds hidden names if it begins with ".".

    The suffix of the name may be in upper case.
    """
    if _is_hidden(name) and not _is_hidden(pattern):
        return False
    if fnmatch.fnmatchcase(name, pattern):
        return True
    stem, suffix = os.path.splitext(name)
    return fnmatch.fnmatchcase(stem + suffix.lower(), pattern)


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
