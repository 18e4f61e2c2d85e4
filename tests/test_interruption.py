"""Kill, terminate and break runs; a resumed run must equal an uninterrupted one bit by bit."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import REPOSITORY, read_metrics

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint

# This run takes some seconds, mostly for evaluation and checkpoints, so it can be interrupted.
LONG = {"steps": 300, "checkpoint.every": 50, "checkpoint.keep": 3, "eval.every": 20}


def interrupt(process: subprocess.Popen, run: Path, step: int, number: signal.Signals) -> int:
    """Send a signal when the run has logged `step`; return the exit code."""
    deadline = time.monotonic() + 120
    while not any(row["step"] >= step for row in read_metrics(run)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


@pytest.fixture(scope="module")
def uninterrupted(gpt1, pretraining, tmp_path_factory) -> str:
    """Return the fingerprint of the params after the uninterrupted long run."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return gpt1.result("pretrain.py:tiny", workdir, pretraining() | LONG)["params_sha256"]


def test_killed_pretraining_resumes_bit_exactly(gpt1, pretraining, uninterrupted, tmp_path):
    settings, step = pretraining() | LONG, 137
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path, settings))
    assert interrupt(process, tmp_path, step, signal.SIGKILL) == -signal.SIGKILL
    assert not (tmp_path / "result.json").exists()
    result = gpt1.result("pretrain.py:tiny", tmp_path, settings)
    assert result["params_sha256"] == uninterrupted
    assert "resumes from step" in (tmp_path / "log.txt").read_text()
    logged = [row["step"] for row in read_metrics(tmp_path) if "loss" in row]
    assert logged == sorted(set(logged)) and logged[-1] == 300


@pytest.mark.slow
def test_killed_finetuning_resumes_bit_exactly(gpt1, finetuning, tmp_path):
    settings, step = finetuning() | {"epochs": 9, "checkpoint.every": 2}, 11
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    expected = gpt1.result("finetune.py:sst2", uninterrupted, settings)
    process = gpt1.start(*gpt1.command("finetune.py:sst2", killed, settings))
    assert interrupt(process, killed, step, signal.SIGKILL) == -signal.SIGKILL
    assert not (killed / "result.json").exists()
    result = gpt1.result("finetune.py:sst2", killed, settings)
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}
    predictions = [run / "predictions/test.tsv" for run in (killed, uninterrupted)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()


def test_checks_and_saves_by_time_do_not_change_a_run(gpt1, pretraining, pretrained, tmp_path):
    settings = {"check.replay_every": 3, "checkpoint.minutes": 1e-6, "checkpoint.every": 1000}
    settings |= {"checkpoint.keep": 100}
    result = gpt1.result("pretrain.py:tiny", tmp_path, pretraining() | settings)
    expected = json.loads((pretrained() / "result.json").read_text())
    assert result["params_sha256"] == expected["params_sha256"]
    assert checkpoint.steps(tmp_path) == list(range(1, 21))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)  # HUP: see below
def test_stopped_run_saves_its_last_step(number, gpt1, pretraining, uninterrupted, tmp_path):
    settings = pretraining() | LONG | {"checkpoint.every": 2000}
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path, settings))
    assert interrupt(process, tmp_path, 60, number) == 128 + number
    (saved,) = (int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert 60 <= saved < 300
    assert saved - read_metrics(tmp_path)[-1]["step"] < 5  # log.every: no logged step is lost
    result = gpt1.result("pretrain.py:tiny", tmp_path, settings)
    assert result["params_sha256"] == uninterrupted
    log = (tmp_path / "log.txt").read_text()
    assert f"stopped by {number.name}: step {saved} is saved, and the same command resumes" in log
    assert f"resumes from step {saved}\n" in log


def test_run_whose_terminal_is_closed_saves_itself(gpt1, pretraining, tmp_path):
    settings = pretraining() | LONG | {"checkpoint.every": 2000, "log.every": 1, "steps": 100_000}
    own_terminal = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.executable, [sys.executable, '-m', 'gpt1_jax.main', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", own_terminal]
    command += gpt1.command("pretrain.py:tiny", tmp_path, settings)
    terminal, end = pty.openpty()
    streams = {"stdin": end, "stdout": end, "stderr": end}
    process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, **streams)
    os.close(end)
    while not any(row["step"] >= 20 for row in read_metrics(tmp_path)):
        os.read(terminal, 1 << 16)
    os.close(terminal)
    assert process.wait(60) == 128 + signal.SIGHUP
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert "stopped by SIGHUP: step" in (tmp_path / "log.txt").read_text()


def test_signal_before_training_ends_the_run_at_once(gpt1, pretraining, tmp_path):
    settings = pretraining() | {"data.cache": tmp_path / "cache"}
    gpt1.result("pretrain.py:tiny", tmp_path / "first", settings)
    (key,) = (tmp_path / "cache/locks").iterdir()
    shutil.rmtree(tmp_path / "cache/tokens")
    with storage.lock(key):  # the run waits for the process that seems to tokenize the corpus
        process = gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path / "second", settings))
        assert "waiting for it" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors == "gpt1_jax: stopped by SIGINT\n"


def without_speed(run: Path) -> list[dict]:
    """Return the rows of metrics.jsonl without the speed."""
    return [
        {name: value for name, value in row.items() if name not in ("tokens_per_s", "mfu")}
        for row in read_metrics(run)
    ]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL], ids=str
)
def test_records_of_a_resumed_run_are_those_of_an_uninterrupted_one(
    number, gpt1, pretraining, tmp_path
):
    # No two intervals divide each other, so each kind of row is cut somewhere.
    settings = {"steps": 120, "log.every": 11, "eval.every": 7, "checkpoint.every": 10}
    settings = pretraining() | settings
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    gpt1.result("pretrain.py:tiny", whole, settings)
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", cut, settings))
    assert interrupt(process, cut, 40, number) != 0
    gpt1.result("pretrain.py:tiny", cut, settings)
    assert without_speed(cut) == without_speed(whole)
    assert (cut / "samples.jsonl").read_bytes() == (whole / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(
    "settings", [{"lr": 1e30}, {"lr": 1e30, "decay": 1e30}, {"decay": 1e30, "lr": 1e10}], ids=str
)
def test_diverged_run_stops_and_saves_only_finite_params(settings, gpt1, pretraining, tmp_path):
    # The last step, too: its update is in no later loss.
    settings = {f"optim.{name}": value for name, value in settings.items()}
    settings |= {"steps": 2, "optim.warmup_steps": 0, "checkpoint.every": 1, "checkpoint.keep": 20}
    completed = gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path, pretraining() | settings))
    assert completed.code == 2
    message = re.match(
        r"gpt1_jax: step (\d+): (?:(?:loss|grad_norm) is (?:nan|inf)|\d+ numbers of the updated "
        r"params and moments are not finite); lower config.optim.lr",
        completed.err,
    )
    assert message, completed
    steps = [int(path.name) for path in (tmp_path / "checkpoints").glob("*")]
    assert all(step < int(message[1]) for step in steps)
    for step in steps:
        params = checkpoint.read_params(tmp_path, step, checkpoint.param_names(tmp_path, step))
        assert all(np.isfinite(array).all() for array in params.values()), step
    assert not (tmp_path / "result.json").exists()


def start_job(arguments: list[str]) -> subprocess.Popen:
    """Start two processes that are joined like the hosts of a cluster."""
    return subprocess.Popen(
        ["bash", REPOSITORY / "launch/local_multi.sh", "2", *arguments],
        env=os.environ | {"PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_metrics(job: subprocess.Popen, workdir: Path) -> None:
    """Wait until a run has logged a step."""
    deadline = time.monotonic() + 120
    while not read_metrics(workdir):
        assert job.poll() is None and time.monotonic() < deadline, job.communicate()
        time.sleep(0.05)


def test_dead_process_ends_the_others_in_seconds(gpt1, pretraining, tmp_path):
    settings = pretraining() | LONG | {"steps": 100_000}
    job = start_job(gpt1.command("pretrain.py:tiny", tmp_path, settings))
    wait_for_metrics(job, tmp_path)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    (second,) = (
        int(child)
        for child in children
        if "--process_id=1" in Path(f"/proc/{child}/cmdline").read_text().split("\0")
    )
    os.kill(second, signal.SIGKILL)
    job.communicate(timeout=20)
    # Process 0 may have ended with an error of its collective before the script looks at both.
    assert job.returncode in (1, 128 + signal.SIGKILL)


def test_refused_process_ends_the_others_in_seconds(gpt1, pretraining, tmp_path):
    """Process 0 is refused at the start. The other one waits for it in a collective."""
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = start_job(gpt1.command("pretrain.py:tiny", tmp_path, pretraining()))
        _, err = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "gpt1_jax: --workdir: another process runs in" in err and "Traceback" not in err
