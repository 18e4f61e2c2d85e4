"""Check the values of rows, and turn the errors of the libraries that read them into one line."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from gpt1_jax.errors import UserError, first_line


def parse_json(text: str) -> Any:
    """Return the value that a text holds as JSON.

    Raises:
        ValueError: the text is not JSON, is nested too deeply to be read, or holds an object that
            has a field twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    except RecursionError:
        raise ValueError("not JSON that can be read (nested too deeply)") from None


def parse_object(text: str) -> dict[str, Any]:
    """Return the object that a text holds as JSON.

    Raises:
        ValueError: see `parse_json`; or the value is not an object.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {text[:50]!r}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:50]!r} is there twice")
    return value


def check_text(name: str, value: Any) -> str:
    """Return the value of the column `name` if it is a text that UTF-8 can express.

    Raises:
        ValueError: the value has another type, or holds half a surrogate pair, which JSON can
            express.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected text in {name!r}, found {str(value)[:50]!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} of {name!r} is half a surrogate pair") from None
    return value


def check_id(name: str, value: Any) -> str:
    """Return the id of a row, the value of the column `name`, as text.

    Raises:
        ValueError: the value is neither a text nor a whole number, or would break the lines of a
            tab-separated file.
    """
    if type(value) is int:
        return str(value)
    text = check_text(name, value)
    if "\t" in text or len(text.splitlines()) > 1 or text.splitlines()[:1] not in ([text], []):
        raise ValueError(f"the id {text[:50]!r} in {name!r} holds a tab or the end of a line")
    return text


@contextlib.contextmanager
def library_errors(message: str, advice: str) -> Iterator[None]:
    """Raise UserError for every exception of a library in the block.

    The libraries that read data sets raise many kinds for a damaged file, also those of the
    libraries below them.

    Args:
        message: the beginning of the message, before the reason in parentheses.
        advice: the end of the message.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{message} ({first_line(error)}); {advice}") from None
