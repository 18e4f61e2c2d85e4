"""The command line: flags -> TRAINERS[trainer](config, workdir).

    python -m gpt1_jax.main --config=configs/pretrain.py:tiny --workdir=runs/exp_books --config.data.path=DIR

The config's argument picks by name, flags change single values. Only what reads flags is imported here, so that --help and mistakes
answer at once.
"""

import os
import pathlib
import sys
import time

from absl import flags
from ml_collections import config_flags

from gpt1_jax import command
from gpt1_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/, with what it picks after a colon.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", "", "The run's folder; runs/exp_<config>_<time>/ by default. The same command resumes it.")
_MULTIHOST = flags.DEFINE_enum("multihost", "off", ["on", "off"], "Join the processes of this job: those of the cluster, or as below.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "host:port at which the processes meet, where no cluster tells it.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", 0, "Processes in the job, with --coordinator.")
_PROCESS_ID = flags.DEFINE_integer("process_id", 0, "This process, with --coordinator.")


def main(argv: list[str]) -> None:
    """Runs the program that the flags describe; UserError for what the user can put right."""
    command.only_flags(argv, prefix="config.")
    if _CONFIG.value is None:
        raise UserError("--config: is missing; give a file of configs/, for example --config=configs/pretrain.py:tiny")
    if "://" in _WORKDIR.value:
        raise UserError(f"--workdir: {_WORKDIR.value!r} is not a folder; mount the bucket (gcsfuse) and give its path")
    from gpt1_jax.registry import TRAINERS
    from gpt1_jax.training import devices

    devices.start(_MULTIHOST.value, _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    TRAINERS[_CONFIG.value.trainer](_CONFIG.value, _WORKDIR.value or _default_workdir())


def _default_workdir() -> str:
    file, _, picks = _config_name(sys.argv).partition(":")
    name = "_".join([pathlib.Path(file).stem, *picks.replace("=", "-").split(",")]).rstrip("_")
    return f"runs/exp_{name}_{time.strftime('%Y%m%d-%H%M%S')}"


def _parse(argv: list[str]) -> list[str]:
    """The flag parser, with each complaint about the config as one line too."""
    try:
        rest = flags.FLAGS(argv)
        hasattr(_CONFIG.value, "trainer")  # a file that is not there is told on first use
        return rest
    except SystemExit:  # after --help, which absl takes for a mistake
        sys.exit(0)
    except (AttributeError, KeyError) as error:  # a setting that the config does not have
        if "get_config" in str(error):
            raise UserError(f"--config: {_config_name(argv)!r} has no get_config; name a file of configs/") from None
        reason = error
        while isinstance(reason, Exception):  # they come wrapped in each other
            reason = reason.args[0]
        raise UserError(f"--config: has no setting {' '.join(reason.split())}") from None
    except (OSError, SyntaxError) as error:
        reason = f" ({error})" if isinstance(error, SyntaxError) else ""
        raise UserError(f"--config: cannot load {_config_name(argv)!r}{reason}; name a file of configs/") from None
    except (TypeError, ValueError, flags.Error) as error:
        flag, _, trace = str(error).partition(" Error whilst parsing config file:")
        raise UserError(" ".join([flag, *trace.splitlines()[-1:]] if trace else str(error).split())) from None


def _config_name(argv: list[str]) -> str:
    """The value of --config as it was typed."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            return value if equals else following
    return ""


def _unraisable(problem) -> None:
    """Python's own report, except of the readers that a damaged checkpoint stopped half-way: its error is told once, by us."""
    if "Event loop is closed" not in str(problem.exc_value):
        sys.__unraisablehook__(problem)


def run() -> None:
    """The entry point: exit code 0; 2 after one line about a mistake; 143 when SIGTERM stopped a run that has saved itself."""
    sys.unraisablehook = _unraisable
    sys.path.insert(0, os.getcwd())  # configs import each other as configs.*
    command.run(main, _parse)


if __name__ == "__main__":
    run()
