"""Test that metrics reach the trackers, without a network."""

import contextlib
import json
import os
import sqlite3
import sys

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.runs import log, tracker


def write_metrics(workdir, name: str, *steps: int) -> None:
    """Log a loss at these steps as one start of a run."""
    settings = {"optim.lr": 0.5}
    with contextlib.closing(log.Log(workdir, settings=settings, tracker_name=name)) as run:
        run.start(steps[0] - 1)
        for step in steps:
            run.metrics(step, {"loss": float(step)})


def test_trackio_gets_the_metrics_of_a_resumed_run(tmp_path, monkeypatch):
    trackio = pytest.importorskip("trackio")
    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path / "data")
    monkeypatch.setattr(trackio.sqlite_storage, "TRACKIO_DIR", tmp_path / "data")
    (tmp_path / "run").mkdir()
    write_metrics(tmp_path / "run", "trackio", 1, 2)
    write_metrics(tmp_path / "run", "trackio", 3)
    (path,) = (tmp_path / "data").glob("*.db")
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute("select run_name, step, metrics from metrics order by step")
        found = [(name, step, json.loads(metrics)) for name, step, metrics in rows]
    run_id = json.loads((tmp_path / "run/tracker.json").read_text())["id"]
    assert found == [(f"run-{run_id}", step, {"loss": float(step)}) for step in (1, 2, 3)]


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    """Return the package as a new process sees it, without an account."""
    package = pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    package.teardown()
    yield package
    package.teardown()


def test_wandb_gets_the_metrics_offline(wandb, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_metrics(tmp_path, "wandb", 1, 2)
    wandb.teardown()  # waits for the process that writes the file
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert json.loads((tmp_path / "tracker.json").read_text())["id"] in file.name
    content = file.read_bytes()
    assert b"loss" in content and b"optim.lr" in content


def test_wandb_without_an_account_is_one_line(wandb, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="config.log.tracker: wandb cannot start .*API key.*=none$"):
        write_metrics(tmp_path / "run", "wandb", 1)
    assert not (tmp_path / "run/tracker.json").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandb", "wandb is not installed; pip install wandb"),
        ("mlflow", "found 'mlflow', expected none, wandb, trackio"),
    ],
)
def test_absent_tracker_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"^config.log.tracker: {message}"):
        log.Log(tmp_path, tracker_name=name)
    assert not list(tmp_path.iterdir())


def test_failing_tracker_does_not_end_the_run(tmp_path, monkeypatch):
    class Run:
        def log(self, values, step):
            raise RuntimeError("the service is gone")

        finish = log

    class Package:
        @staticmethod
        def init(**_):
            return Run()

    monkeypatch.setitem(sys.modules, "trackio", Package)
    monkeypatch.setattr(Package, "__spec__", "a package", raising=False)
    lines = []
    with tracker.track("trackio", tmp_path, {}, lines.append) as send:
        send(1, {"loss": 1.0})
        send(2, {"loss": 1.0})
    assert lines == ["trackio: the service is gone; the run goes on without it"]
