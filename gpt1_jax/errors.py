"""The one exception for what a user can put right."""


class UserError(Exception):
    """One line that names the file, row, field or flag, says what was expected and what to do.

    `main` prints it without a traceback and exits with code 2.
    """
