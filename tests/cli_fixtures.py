"""Provide the command line and small runs as fixtures for all tests (see conftest.py)."""

import contextlib
import functools
import importlib
import io
import json
import os
import pathlib
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent
# By default, JAX caches programs that take more than a second to compile. Most runs here share
# their small programs with another run, so cache all of them.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


class CommandResult(NamedTuple):
    """Hold the exit code of a command and its output."""

    code: int
    out: str
    err: str


class Program:
    """Run `gpt1` in this process, which is fast because jax is loaded, or in a new process."""

    @staticmethod
    def command(config: str, workdir: pathlib.Path, settings: Mapping[str, object]) -> list[str]:
        """Return the arguments of a run.

        Args:
            config: a file of configs/ with its argument, such as "finetune.py:rte".
            workdir: the run folder.
            settings: dotted name -> value.
        """
        flags = [f"--config.{name}={value}" for name, value in settings.items()]
        return [f"--config={REPOSITORY}/configs/{config}", f"--workdir={workdir}", *flags]

    @staticmethod
    def run(*arguments: str, text: str = "") -> CommandResult:
        """Run `gpt1` with these arguments in this process; `text` is its standard input."""
        from gpt1_jax import main

        flags = main.FLAGS
        if arguments and arguments[0] in main.COMMANDS:
            name, _ = main.COMMANDS[arguments[0]]
            flags = importlib.import_module(f"gpt1_jax.cli.{name}").FLAGS
        _reset_flags(flags)
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["gpt1", *arguments])
            patch.setattr(sys, "path", sys.path.copy())
            stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline="")
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # restored afterwards
            with pytest.raises(SystemExit) as exit_info:
                main.run()
        return CommandResult(exit_info.value.code or 0, out.getvalue(), err.getvalue())

    def result(self, config: str, workdir: pathlib.Path, settings: Mapping[str, object]) -> dict:
        """Run a config in this process and return its result.json."""
        completed = self.run(*self.command(config, workdir, settings))
        assert completed.code == 0, completed.err
        return json.loads((workdir / "result.json").read_text())

    @staticmethod
    def start(*arguments: str) -> subprocess.Popen:
        """Start `gpt1` in a new process."""
        command = [sys.executable, "-m", "gpt1_jax.main", *arguments]
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def _reset_flags(flags) -> None:
    """Restore the state of the flags before they were parsed."""
    for name in [name for name in flags if name.startswith("config.")]:  # of the previous run
        delattr(flags, name)
    flags.unparse_flags()
    for name in flags:
        flags[name].unparse()


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """Return the complete rows of metrics.jsonl; a running process may still write the last one."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="session")
def gpt1() -> Program:
    """Return the command line."""
    return Program()


@pytest.fixture
def file_size_limit():
    """Return file_size_limit(bytes): a context in which no file of this process grows larger.

    Writing more fails, like on a full disk. A process that is started in it has the same limit.
    """

    @contextlib.contextmanager
    def limited(size: int):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


# With these settings a run finishes in seconds.
SMALL = {
    "model.width": 16,
    "model.context": 32,
    "model.layers": 2,
    "model.heads": 2,
    "model.ffn": 64,
    "model.units": 16,
    "optim.warmup_steps": 4,
    "tokenizer.vocab_size": 120,
    "steps": 20,
    "batch_size": 4,
    "eval.every": 10,
    "eval.windows": 8,
    "eval.sample": 4,
    "checkpoint.every": 10,
    "checkpoint.finished": "all",  # tests resume from step 10 and damage its optimizer's state
    "log.every": 5,
}


@pytest.fixture(scope="session")
def pretraining(books, tmp_path_factory) -> Callable[..., dict]:
    """Return a function: body -> the settings of a small pretraining run on `books`."""
    common = {"data.path": books, "data.cache": tmp_path_factory.mktemp("cache")}

    def settings(body: str = "transformer") -> dict:
        if body == "transformer":
            unused = ("model.units",)
        else:
            unused = ("model.layers", "model.heads", "model.ffn")
        return {name: value for name, value in SMALL.items() if name not in unused} | common

    return settings


@pytest.fixture(scope="session")
def pretrained(gpt1, pretraining, tmp_path_factory) -> Callable[..., pathlib.Path]:
    """Return a function: body -> the folder of a finished pretraining run, trained once."""

    @functools.cache
    def run(body: str = "transformer") -> pathlib.Path:
        workdir = tmp_path_factory.mktemp("pretrained") / body
        gpt1.result(f"pretrain.py:tiny,{body}", workdir, pretraining(body))
        return workdir

    return run


@pytest.fixture(scope="session")
def finetuning(pretrained, glue) -> Callable[..., dict]:
    """Return a function: body -> the settings of a small finetuning run on `glue`."""
    return lambda body="transformer": {
        "init.path": pretrained(body),
        "data.path": glue,
        "batch_size": 4,
        "epochs": 1,
        "log.every": 1,
    }


@pytest.fixture(scope="session")
def probing(pretrained, probed) -> Callable[..., dict]:
    """Return a function: body -> the settings of a small zero-shot run on `probed`."""
    return lambda body="transformer": {
        "init.path": pretrained(body),
        "data.path": probed,
        "batch_size": 4,
    }


@pytest.fixture
def device(tmp_path):
    """Return device(name), a device like /dev/NAME that a test may replace."""

    def make(name: str) -> pathlib.Path:
        path = pathlib.Path("/dev") / name
        if os.access("/dev", os.W_OK):  # not that of the machine, if the test could replace it
            try:
                os.mknod(tmp_path / name, 0o666 | stat.S_IFCHR, path.stat().st_rdev)
                (tmp_path / name).open("rb").close()
            except PermissionError:
                pytest.skip("devices cannot be made here")
            return tmp_path / name
        return path

    return make
