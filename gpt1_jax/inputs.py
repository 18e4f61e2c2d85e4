"""Check what users and other people's files give: paths, names, and the fields of JSON files.

Every path of a flag goes through `path`, and every field of a JSON file that somebody else may have
written goes through `read_object` or `check_fields`. Their errors are `UserError`.
"""

import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gpt1_jax import storage
from gpt1_jax.errors import UserError

KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
COPIES = "~/.cache/gpt1_jax/buckets"  # the data of buckets
DAMAGED = "the file is damaged"
NAME = re.compile(r"[A-Za-z0-9][\w.+=-]*", re.ASCII)
_ABSENT = object()


def path(flag: str, text: str) -> storage.Path:
    """Return the path that a flag or a setting names; ~ is the home folder.

    The path need not exist. It may be that of a bucket, gs://BUCKET/FOLDER.

    Raises:
        UserError: the home folder is not known, or the system cannot look the path up; or the
            bucket cannot be used.
    """
    if storage.is_address(text):
        return _bucket_path(flag, text)
    expanded = os.path.expanduser(text)
    if expanded.startswith("~") and not os.path.lexists(expanded):
        raise UserError(
            f"{flag}: {text}: the home folder of {expanded.partition('/')[0]} is not known; "
            "write the whole path, or set HOME"
        )
    try:
        os.stat(expanded)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{flag}: {text[:200]!r} cannot be used ({reason}); check the path and the permissions"
        ) from None
    return pathlib.Path(expanded)


@functools.cache
def _bucket_path(flag: str, text: str) -> storage.BucketPath:
    """Return `path` of an address, after a first request to the bucket."""
    try:
        found = storage.path(text)
        assert isinstance(found, storage.BucketPath)
        found.probe()
    except UserError as error:
        raise UserError(f"{flag}: {error}") from None
    except OSError as error:
        raise UserError(
            f"{flag}: {text} cannot be used ({error.strerror}); check the address, the network and "
            "the permissions"
        ) from None
    return found


def local_path(flag: str, text: str) -> pathlib.Path:
    """Return the path of a flag that names a file or folder of this machine, as `path`.

    Raises:
        UserError: as `path`; or it is that of a bucket.
    """
    if storage.is_address(text):
        raise UserError(f"{flag}: {text} is not on this machine; name a folder of its disk")
    return pathlib.Path(path(flag, text))


def data_path(flag: str, text: str) -> pathlib.Path:
    """Return the path of data to read, as `path`. The data of a bucket are copied to this machine.

    They are copied once in a process, and only what has changed since an earlier copy.

    Raises:
        UserError: as `path`; or the data cannot be copied.
    """
    return _copied(flag, text) if storage.is_address(text) else local_path(flag, text)


@functools.cache
def _copied(flag: str, text: str) -> pathlib.Path:
    """Return `data_path` of an address."""
    try:
        return storage.local_copy(_bucket_path(flag, text), local_path("HOME", COPIES))
    except OSError as error:
        raise UserError(
            f"{flag}: {text} cannot be copied to {COPIES} ({error.strerror or error}); mend the "
            "cause and repeat the command"
        ) from None


def folder(flag: str, text: str, hint: str) -> storage.Path:
    """Return the path of a folder, which need not exist.

    Raises:
        UserError: as `path`; or the path is a file. `hint` says what to do.
    """
    result = path(flag, text)
    if result.exists() and not result.is_dir():
        raise UserError(f"{flag}: {text} is a file; {hint}")
    return result


def run_folder(flag: str, text: str) -> storage.Path:
    """Return the path of a run's folder, which need not exist.

    Raises:
        UserError: as `folder`; or the path is not UTF-8, which the library of checkpoints needs.
    """
    result = folder(flag, text, "name the folder of a run")
    try:
        str(result.absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{flag}: {result.absolute()} is not a name in UTF-8, which checkpoints need; "
            "rename the folder"
        ) from None
    return result


def check_name(name: Any, where: str) -> str:
    """Return a name that can be part of a file name, of a page and of a table.

    Raises:
        UserError: the name is not a text of this form; `where` names the file or setting.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 200:
        raise UserError(
            f"{where}: {str(name)[:80]!r} is not a name; expected letters, digits and . _ - + =, "
            "with a letter or digit first"
        )
    return name


def read_object(
    file: storage.Path,
    fields: Mapping[str, type] | None = None,
    *,
    missing: Any = storage.REQUIRED,
    hint: str = "",
    damaged: str = DAMAGED,
) -> Any:
    """Return the JSON object in a file.

    Args:
        file: the file.
        fields: the fields that the object must have; see `check_fields`.
        missing: returned if the file does not exist; without it a missing file is an error.
        hint: what to do about a missing file.
        damaged: what to do about a file with another content.

    Raises:
        UserError: as `storage.read_json`; or the content is not such an object.
    """
    content = storage.read_json(file, missing, hint, damaged)
    if content is not missing:
        check_fields(content, fields or {}, str(file), damaged)
    return content


def check_fields(content: Any, fields: Mapping[str, type], where: str, hint: str = DAMAGED) -> None:
    """Check the fields of a JSON object.

    Args:
        content: the value.
        fields: dotted name -> the kind of value, a key of KINDS. "*" stands for every field of an
            object and "[]" for every entry of a list. A field whose name ends in "?" may be absent
            or null. A whole number is a number, too; true and false are not. Whole numbers have at
            most 64 bits.
        where: the file, for the message.
        hint: what to do about another value.

    Raises:
        UserError: a field is missing or holds another kind of value.
    """
    for name, kind in {"": dict, **fields}.items():
        parts = name.removesuffix("?").split(".") if name else []
        for found_name, value, expected in _values(content, parts, kind, ""):
            if name.endswith("?") and (value is _ABSENT or value is None):
                continue
            if not is_kind(value, expected):
                raise UserError(
                    f"{where}: {_describe(found_name, value)}, {KINDS[expected]} is expected; "
                    f"{hint}"
                )


def _values(
    value: Any, parts: list[str], kind: type, prefix: str
) -> Iterator[tuple[str, Any, type]]:
    """Yield (dotted name, value, expected kind) of the values that `parts` name.

    A value on the way that is not an object or a list, as expected there, is yielded instead.
    """
    if not parts:
        yield prefix, value, kind
        return
    expected: Any = list if parts[0] == "[]" else dict
    if not isinstance(value, expected):
        yield prefix, value, expected
        return
    if parts[0] == "[]":
        entries = enumerate(value)
    elif parts[0] == "*":
        entries = value.items()
    else:
        entries = [(parts[0], value.get(parts[0], _ABSENT))]
    for name, entry in entries:
        yield from _values(entry, parts[1:], kind, f"{prefix}.{name}" if prefix else str(name))


def is_kind(value: Any, kind: type) -> bool:
    """Return whether the value is of this kind, a key of KINDS, as `check_fields` says."""
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and abs(value) >= 2**63:  # numpy does not hold it
        return False
    return isinstance(value, int | float if kind is float else kind)


def _describe(name: str, value: Any) -> str:
    subject = name or "the content"
    if value is _ABSENT:
        return f"{subject} is missing"
    if isinstance(value, dict | list):
        return f"{subject} is {KINDS[type(value)]}"
    return f"{subject} is {json.dumps(value)[:60]}"


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested settings by their dotted names."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
