"""Read and write files of JSON."""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator
from typing import IO, Any

from gpt1_jax.errors import UserError
from gpt1_jax.storage.files import atomic_writer, write_text
from gpt1_jax.storage.paths import Path

REQUIRED = object()  # `read_json`: the file must exist
MAX_DEPTH = 100  # levels of JSON; the files of this project and of Hugging Face have fewer than 20
STEPS = range(2**63)  # whole numbers that numpy holds


def write_json(path: Path, value: Any) -> None:
    """Write the value as JSON, atomically.

    Raises:
        OSError: the file cannot be written.
        UserError: a number is not finite.
    """
    write_text(path, _to_json(path, value, indent=2) + "\n")


def read_json(
    path: Path,
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


def read_json_lines(path: Path) -> list[dict[str, Any]]:
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


def write_json_lines(path: Path, values: Iterable[Any]) -> None:
    """Write one value a line, atomically; errors as for `write_json`."""
    with atomic_writer(path) as file:
        file.writelines(_to_json(path, value) + "\n" for value in values)


def append_json_line(file: IO[str], value: Any) -> None:
    """Append one value to a file that `appender` has opened; errors as for `write_json`."""
    file.write(_to_json(file.name, value) + "\n")


def _to_json(path: Path | str, value: Any, indent: int | None = None) -> str:
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
