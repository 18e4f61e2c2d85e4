"""Define the one exception for mistakes that a user can correct."""


class UserError(Exception):
    """Report a mistake in one line: the file, row, field or flag, what is expected, what to do.

    The command line prints the line without a traceback and exits with code 2.
    """


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, or the name of its class."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
