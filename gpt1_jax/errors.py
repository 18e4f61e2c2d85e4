"""Define the one exception for mistakes that a user can correct, and the text of messages."""


class UserError(Exception):
    """Report a mistake in one line: the file, row, field or flag, what is expected, what to do.

    The command line prints the line without a traceback and exits with code 2.
    """


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, or the name of its class."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return the text with control characters escaped, such as \x1b, except those in `keep`.

    A terminal obeys control characters, and texts of models, files and their names may hold any.
    """
    return "".join(
        character
        if character in keep or not (character < " " or "\x7f" <= character <= "\x9f")
        else f"\\x{ord(character):02x}"
        for character in text
    )
