"""Define the one exception for mistakes that a user can correct, and the text of messages."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Report a mistake in one line: the file, row, field or flag, what is expected, what to do.

    The command line prints the line without a traceback and exits with code 2.
    """


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, or the name of its class."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def nearest(name: str, known: Iterable[str], least: float = 0.5) -> str:
    """Return " (did you mean 'tiny'?)" with the known names that are closest to `name`.

    Return "" if none is alike by at least `least`: 0 for any two names, 1 for equal ones.
    """
    alike = {
        other: difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio() for other in known
    }
    best = max(alike.values(), default=0.0)
    close = [repr(other) for other, ratio in alike.items() if ratio >= max(least, best - 0.02)]
    return f" (did you mean {' or '.join(close[:3])}?)" if close else ""


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return the text as it can be printed.

    Control characters, except those in `keep`, are escaped, such as \x1b: a terminal obeys them,
    and texts of models, files and their names may hold any. Half surrogates, which stand for the
    bytes of a name that is not UTF-8, are escaped, too: no stream can encode them.
    """
    return _UNPRINTABLE.sub(lambda match: _escape(match[0], keep), text)


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _escape(character: str, keep: str) -> str:
    if character in keep:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
