"""Run one command of the command line: read its flags, call it, end with one line on a mistake.

Each command has a separate `FlagValues`, so that all commands can be imported in one process.
Nothing heavy is imported here.
"""

import errno
import io
import os
import sys
from collections.abc import Callable

from absl import flags, logging

from gpt1_jax import signals, storage
from gpt1_jax.errors import UserError, printable

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no space, quota, limit of a file
HELP = {"-h", "-help", "--help"}


def parse(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parse `argv` into `values` and return the positional arguments.

    Raises:
        UserError: absl refuses a flag.
    """
    try:
        return values(argv)[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from None


def reject_positional(arguments: list[str], prefix: str = "") -> None:
    """Raise UserError if there is a positional argument; settings begin with `prefix`."""
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag; settings are given as --{prefix}NAME=VALUE")


def run(
    main: Callable[[list[str]], None],
    values: flags.FlagValues,
    argv: list[str],
    description: str | Callable[[], str],
    parser: Callable[[flags.FlagValues, list[str]], list[str]] = parse,
) -> None:
    """Parse `argv`, call `main` with the positional arguments, and exit.

    Exit codes: 0 on success, and when the reader of the output closes it early; 2 after one line
    about a mistake or a full disk; 128 + signal after SIGINT (Ctrl-C), SIGTERM or SIGHUP. Text is
    read and written as UTF-8.

    Args:
        main: receives the positional arguments.
        values: the flags of the command.
        argv: the name of the command, then its arguments.
        description: printed by --help, before the flags; or a function that returns it.
        parser: parses the flags; arguments and errors as for `parse`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may hold bytes that are not UTF-8; a message is printed all the same.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    flags.FLAGS.mark_as_parsed()  # the handler of absl reads its own flags
    logging.use_absl_handler()
    logging.set_verbosity(logging.ERROR)  # libraries log their progress at lower levels
    try:
        with signals.SignalHandler(signals.stop, signals.GRACE):
            if HELP & set(argv[1:]):
                text = description if isinstance(description, str) else description()
                print(f"{text.strip()}\n\nFlags:\n{_flags_help(values)}")
            else:
                main(parser(values, argv))
        sys.stdout.flush()  # an error of the last write is reported here
    except UserError as error:
        print(f"gpt1_jax: {printable(str(error), keep='')}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        _discard_output()
        sys.exit(0)
    except OSError as error:
        if (message := _system_error(error)) is None:
            raise
        print(f"gpt1_jax: {printable(message, keep='')}", file=sys.stderr)
        _discard_output()
        sys.exit(2)
    sys.exit(0)


def _discard_output() -> None:
    """Discard what standard output still holds: the interpreter flushes it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError) -> str | None:
    """Return the line for an error of a full disk or of a bucket; None for other errors."""
    if isinstance(error, storage.BucketError):
        return f"{error}; mend the cause and repeat the command"
    advice = "free space, or write elsewhere"
    if "No usable temporary directory" in str(error):  # tempfile has tried to write everywhere
        return f"{error.strerror}; {advice}"
    if error.errno in DISK_ERRORS:
        name = error.filename or "the output"
        return f"{name}: cannot be written ({error.strerror}); {advice}"
    return None


def _flags_help(values: flags.FlagValues) -> str:
    """Return the help of the flags, without absl's headings (the names of modules)."""
    lines = values.get_help(include_special_flags=False).splitlines()
    return "\n".join(line for line in lines if line.startswith(" "))
