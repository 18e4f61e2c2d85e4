"""The one exception for what a user can put right."""


class UserError(Exception):
    """One line that names the file, row, field or flag, says what was expected and what to do.

    `main` prints it without a traceback and exits with code 2.
    """


def first_line(error: Exception) -> str:
    """What an exception of a library says, as a part of one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
