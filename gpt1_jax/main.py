"""Train, finetune and ablate GPT-1, and use what was trained.

    gpt1 --config=FILE:PICKS [--workdir=DIR] [--config.SETTING=VALUE ...]
    gpt1 COMMAND [--FLAG=VALUE ...]
    gpt1 --version

The first form trains: `gpt1 --config=pretrain:tiny --config.data.path=BOOKS` pretrains a small
language model on a folder of texts. FILE is a config of the package, by its name or as
configs/pretrain.py, or a file of your own. The same command on the same --workdir resumes the run.
"""

import importlib
import os
import pathlib
import signal
import sys
import time
from typing import Any

from absl import flags
from ml_collections import config_flags

from gpt1_jax import inputs, signals
from gpt1_jax.cli import command, config_files, config_help
from gpt1_jax.errors import UserError, nearest

# Command -> (module of gpt1_jax.cli, summary).
COMMANDS = {
    "sample": ("sample", "continue a text with a pretrained or finetuned run"),
    "predict": ("predict", "label new texts with a finetuned run"),
    "report": ("report", "write the report of an ablation or of a pretraining run"),
    "submit": ("submit", "write the zip file for the GLUE server"),
    "prune": ("prune", "delete what finished runs do not need"),
    "import": ("import_run", "turn OpenAI's weights or a Hugging Face folder into a run"),
    "export": ("export_run", "write a run as a Hugging Face folder"),
    "microworld": ("microworld", "write the embedded data set: novels and labeled tasks"),
}
MAX_PROCESSES = 1_000_000
TERMINATED = signals.exit_code(signal.SIGTERM)  # of a run that saved its state and stopped
FLAGS = flags.FlagValues()
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Name or file of a config and, after a colon, its picks.",
    flag_values=FLAGS,
)
FLAGS["config"].parser = config_files.Parser()
WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Folder of the run; runs/exp_<config>_<time>/ by default. The same command resumes it.",
    flag_values=FLAGS,
)
MULTIHOST = flags.DEFINE_enum(
    "multihost",
    "off",
    ["on", "off"],
    "Join the other processes of this job. The cluster manager or --coordinator names them.",
    flag_values=FLAGS,
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    "",
    "host:port at which the processes meet, on machines without a cluster manager.",
    flag_values=FLAGS,
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    0,
    "Number of processes in the job, with --coordinator.",
    lower_bound=0,
    upper_bound=MAX_PROCESSES,
    flag_values=FLAGS,
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id",
    0,
    "Number of this process, with --coordinator.",
    lower_bound=0,
    upper_bound=MAX_PROCESSES,
    flag_values=FLAGS,
)


def main(arguments: list[str]) -> None:
    """Run the trainer that the config names.

    Raises:
        UserError: a flag or a setting is wrong.
    """
    if arguments and (hint := nearest(arguments[0], COMMANDS)):
        raise UserError(f"{arguments[0]}: not a command{hint}")
    command.reject_positional(arguments, prefix="config.")
    if CONFIG.value is None:
        raise UserError(
            "--config: is missing; give a config, for example --config=pretrain:tiny, or a "
            "command: " + ", ".join(COMMANDS)
        )
    workdir = inputs.run_folder("--workdir", WORKDIR.value or _default_workdir())
    from gpt1_jax.engine import devices
    from gpt1_jax.registry import TRAINERS

    devices.initialize(MULTIHOST.value, COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    TRAINERS[CONFIG.value.trainer](CONFIG.value, str(workdir))


def _default_workdir() -> str:
    file, _, picks = _config_name(sys.argv).partition(":")
    name = "_".join([pathlib.Path(file).stem, *picks.replace("=", "-").split(",")]).rstrip("_")
    return f"runs/exp_{name}_{time.strftime('%Y%m%d-%H%M%S')}"


def _parse(values: flags.FlagValues, argv: list[str]) -> list[str]:
    """Parse the flags, load the config and return the positional arguments.

    Raises:
        UserError: a flag or the config is wrong.
    """
    try:
        return values(argv)[1:]
    except (AttributeError, KeyError):
        config = config_files.load(_config_name(argv))
        if (message := config_files.unknown_setting(config, argv)) is None:
            raise
        raise UserError(f"{message}; gpt1 --config={_config_name(argv)} -h lists them") from None
    except (TypeError, ValueError, flags.Error) as error:
        raise UserError(" ".join(str(error).split())) from None


def _config_name(argv: list[str]) -> str:
    """Return the value of --config as it was typed."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == "config":
            return value if equals else following
    return ""


def _help() -> str:
    """Return the help of the config that is given, or of the whole program.

    Raises:
        UserError: there is no such config.
    """
    if name := _config_name(sys.argv):
        return config_help.describe(name)
    sections = {
        "Commands (`gpt1 COMMAND --help` lists the flags of each):": {
            name: summary for name, (_, summary) in COMMANDS.items()
        },
        "Configs (`gpt1 --config=NAME --help` lists the picks and the settings of each):": (
            config_files.summaries()
        ),
    }
    lines = [__doc__ or ""]
    for title, entries in sections.items():
        lines += [title, *(f"  {name:<12} {summary}" for name, summary in entries.items()), ""]
    return "\n".join(lines)


def _report_unraisable(problem) -> None:
    """Report an exception in a destructor, except that of orbax's readers.

    A damaged checkpoint interrupts these readers; `engine/checkpoint.py` reports that error.
    """
    if "Event loop is closed" not in str(problem.exc_value):
        sys.__unraisablehook__(problem)


def _leave_job(error: BaseException) -> None:
    """End this process at once if it is one of several and has failed.

    JAX would wait at the exit for the other processes, which wait for this one in a collective.
    They end when they lose the connection.
    """
    code: Any = error.code if isinstance(error, SystemExit) else 1
    if FLAGS["multihost"].value != "on" or code in (None, 0, TERMINATED):
        return
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def run() -> None:
    """Run the command of `sys.argv` and exit.

    Exit codes: those of `cli.command.run`. A run in training saves itself before a signal stops it.
    """
    sys.unraisablehook = _report_unraisable
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "--version":
        from gpt1_jax.runs import environment

        print(environment.summary())
        sys.exit(0)
    if name in COMMANDS:
        module = importlib.import_module(f"gpt1_jax.cli.{COMMANDS[name][0]}")
        command.run(
            module.main, module.FLAGS, [f"gpt1 {name}", *sys.argv[2:]], module.__doc__ or ""
        )
    try:
        command.run(main, FLAGS, sys.argv, _help, _parse)
    except BaseException as error:
        _leave_job(error)
        raise


if __name__ == "__main__":
    run()
