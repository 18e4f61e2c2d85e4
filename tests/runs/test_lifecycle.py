"""Check the folder of a run: one process, one configuration, one result."""

import json
import os
import signal
import subprocess
import sys

import pytest

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.runs import environment, lifecycle

CONFIG = {
    "seed": 0,
    "model": {"width": 8, "name": "lstm"},
    "log": {"every": 10},
    "checkpoint": {"keep_steps": (0,)},
}


def test_second_process_is_refused_until_the_first_ends(tmp_path):
    script = (
        "import pathlib, sys, time; from gpt1_jax.runs import environment, lifecycle\n"
        f"with lifecycle.lock_workdir(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout.readline() == "locked\n"
            with (
                pytest.raises(UserError, match="--workdir: another process runs in"),
                lifecycle.lock_workdir(tmp_path),
            ):
                pass
        finally:
            os.kill(owner.pid, signal.SIGKILL)
    with lifecycle.lock_workdir(tmp_path):
        pass


def test_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="--workdir: cannot write to .*choose another folder"),
        lifecycle.lock_workdir(tmp_path / "file" / "run"),
    ):
        pass


def test_same_configuration_may_start_again(tmp_path):
    lifecycle.store_config(tmp_path, CONFIG)
    lifecycle.store_config(tmp_path, CONFIG)
    assert storage.read_json(tmp_path / "config.json") == json.loads(json.dumps(CONFIG))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"seed=0 \(now 1\)"),
        ({"model": {"width": 16, "name": "lstm"}}, r"model\.width=8 \(now 16\)"),
        ({"extra": 3}, r"extra=None \(now 3\)"),
    ],
)
def test_other_configuration_is_refused_with_its_fields(tmp_path, changes, message):
    lifecycle.store_config(tmp_path, CONFIG)
    expected = r"config\.json: this run was started with " + message + "; give the same again"
    with pytest.raises(UserError, match=expected):
        lifecycle.store_config(tmp_path, {**CONFIG, **changes})
    assert storage.read_json(tmp_path / "config.json")["seed"] == 0


def test_log_and_checkpoint_settings_may_change(tmp_path):
    lifecycle.store_config(tmp_path, CONFIG)
    changes = {"log": {"every": 1}, "checkpoint": {"keep_steps": (0, 5)}}
    lifecycle.store_config(tmp_path, {**CONFIG, **changes})
    assert storage.read_json(tmp_path / "config.json")["log"] == {"every": 1}


def test_places_may_change_in_every_section(tmp_path):
    def config(place):
        values = {"path": place, "cache": place}
        sections = {"data": values, "init": {"path": place}, "tokenizer": {"path": place}}
        return {"pretrain": {"lstm": sections}, **sections, "path_of_nothing": {"path": "same"}}

    lifecycle.store_config(tmp_path, config("/old"))
    lifecycle.store_config(tmp_path, config("/new"))
    assert storage.read_json(tmp_path / "config.json")["init"] == {"path": "/new"}
    other = config("/new") | {"path_of_nothing": {"path": "other"}}
    with pytest.raises(UserError, match=r"path_of_nothing\.path='same' \(now 'other'\)"):
        lifecycle.store_config(tmp_path, other)


@pytest.mark.parametrize(("place", "expected"), [("/old", False), ("/new", True)])
def test_refused_start_restores_the_config(place, expected, tmp_path):
    config = {**CONFIG, "data": {"path": "/old"}}
    with lifecycle.open_run(str(tmp_path), config):
        pass
    for _ in range(2):
        with (
            pytest.raises(UserError, match="changed"),
            lifecycle.open_run(str(tmp_path), {**config, "data": {"path": place}}) as run,
        ):
            assert run.has_moved == expected
            raise UserError("the data changed")
    assert storage.read_json(tmp_path / "config.json")["data"] == {"path": "/old"}


def test_finished_run_returns_its_result(tmp_path):
    with lifecycle.open_run(str(tmp_path / "run"), CONFIG) as run:
        assert run.result is None
        result = run.finish({"loss": 1.5})
        assert result == {"loss": 1.5, "made_by": [f"{environment.summary()}, on 2 x cpu"]}
    with lifecycle.open_run(str(tmp_path / "run"), CONFIG) as run:
        assert run.result == result
    assert "finished before" in (tmp_path / "run" / "log.txt").read_text()


def start_and_fail(workdir, config, spoil=lambda: None):
    """Start a run as a trainer does, and end it by a UserError before training."""
    with pytest.raises(UserError, match="wrong"), lifecycle.open_run(str(workdir), config) as run:
        for name in ("data.json", "tokenizer.json"):
            storage.write_json(run.new_path(name), {})
        run.new_path("checkpoints").mkdir(exist_ok=True)
        spoil()
        raise UserError("wrong")


def test_late_error_removes_only_what_the_start_created(tmp_path):
    workdir = tmp_path / "run"
    start_and_fail(workdir, CONFIG)
    assert list(tmp_path.iterdir()) == []

    def others_work():
        for name in ("thesis/chapter.tex", "checkpoints/notes.txt"):
            (workdir / name).parent.mkdir(exist_ok=True)
            (workdir / name).write_text("of others")

    start_and_fail(workdir, CONFIG, others_work)
    files = {str(path.relative_to(workdir)) for path in workdir.rglob("*") if path.is_file()}
    assert files == {"thesis/chapter.tex", "checkpoints/notes.txt"}
    with lifecycle.open_run(str(workdir), {**CONFIG, "seed": 1}) as run:  # the corrected command
        assert run.result is None


def test_late_error_keeps_what_was_there(tmp_path):
    names = ("config.json", "log.txt", "data.json", "tokenizer.json")
    storage.write_json(tmp_path / "config.json", CONFIG)
    for name in names[1:]:
        (tmp_path / name).write_text("{}\n")
    start_and_fail(tmp_path, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_error_during_training_keeps_the_run(tmp_path):
    with (
        pytest.raises(UserError, match="diverged"),
        lifecycle.open_run(str(tmp_path), CONFIG) as run,
    ):
        run.log.start(0)
        raise UserError("diverged")
    assert (tmp_path / "config.json").exists() and (tmp_path / "log.txt").exists()


def test_json_files_are_written_atomically_and_checked(tmp_path):
    file = tmp_path / "x.json"
    storage.write_json(file, {"a": 1})
    with pytest.raises(TypeError):
        storage.write_json(file, {"a": object()})
    assert storage.read_json(file) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    file.write_text('{"a": ')
    with pytest.raises(UserError, match=r"x\.json: not valid JSON .*the file is damaged"):
        storage.read_json(file)
    with pytest.raises(UserError, match=r"y\.json: no such file"):
        storage.read_json(tmp_path / "y.json")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"log": {"every": 1}}, True),
        ({"checkpoint": {"keep_steps": (5,)}}, True),
        ({"data": {"path": "elsewhere", "source": "files"}}, True),
        ({"data": {"path": "books", "source": "hub"}}, False),
        ({"seed": 1}, False),
        ({"model": {"width": 16, "name": "lstm"}}, False),
    ],
)
def test_fingerprint_of_the_config_covers_what_starts_of_a_run_share(change, same):
    config = CONFIG | {"data": {"path": "books", "source": "files"}}
    fingerprint = lifecycle.config_fingerprint(config)
    assert lifecycle.config_fingerprint(json.loads(json.dumps(config))) == fingerprint
    assert (lifecycle.config_fingerprint(config | change) == fingerprint) == same
