"""How a command line of this project is read, and how it ends. Only what reads flags is imported here."""

import os
import sys
from collections.abc import Callable

from absl import app, flags, logging

from gpt1_jax.errors import UserError


def parse(argv: list[str]) -> list[str]:
    """absl's flag parser, with each of its complaints as one line."""
    try:
        return flags.FLAGS(argv)
    except SystemExit:  # after --help, which absl takes for a mistake
        sys.exit(0)
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from None


def only_flags(argv: list[str], prefix: str = "") -> None:
    """UserError where something else than flags was given; `prefix` is that of the settings' names."""
    if len(argv) > 1:
        raise UserError(f"{argv[1]}: not a flag; settings are given as --{prefix}NAME=VALUE")


def run(main: Callable[[list[str]], None], parser: Callable[[list[str]], list[str]] = parse) -> None:
    """Runs `main` on what `parser` leaves of the arguments; text goes in and out as UTF-8.

    Exit code 0, also when whoever read the output has seen enough; 2 after one line about a mistake; 130 after Ctrl-C.
    """

    def quiet(argv):
        logging.set_verbosity(logging.ERROR)  # the libraries' own chatter
        main(argv)

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    try:
        app.run(quiet, flags_parser=parser)
    except UserError as error:
        print(f"gpt1_jax: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more on its way out
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
