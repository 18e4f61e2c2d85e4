"""Test that checkpoints restore bit for bit, which ones are kept, and how damage is handled."""

import shutil
import signal
import subprocess
import sys

import jax
import pytest

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.errors import UserError

RUN = {"tokenizer": "abc", "seed": 0, "config": "c0"}


def test_restore_is_bit_exact_with_optax_types(saved, make_state, reopen, assert_same):
    step, state = reopen(saved(1, 2)).restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))


def test_empty_folder_restores_nothing(tmp_path, make_state, reopen):
    assert reopen(tmp_path).restore(make_state(0)) is None
    assert reopen(tmp_path).best() is None


def test_newest_and_chosen_steps_are_kept(saved):
    assert checkpoint.steps(saved(1, 2, 3, 4, 5, keep=2, keep_steps=(1, 3))) == [1, 3, 4, 5]


def test_earliest_of_equally_best_steps_is_kept(saved, make_state, reopen, assert_same):
    workdir = saved(1, 2, 3, 4, 5, keep=1, scores={1: 0.5, 2: 0.9, 3: 0.9, 4: 0.1, 5: 0.2})
    assert checkpoint.steps(workdir) == [2, 5]
    step, params = reopen(workdir).best()
    assert step == 2
    assert_same(params, make_state(2)["params"])


def test_saved_step_is_not_written_again(saved, make_state, reopen, assert_same):
    checkpoints = reopen(saved(1))
    checkpoints.save(1, make_state(7))
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


def test_state_may_be_deleted_as_soon_as_save_returns(tmp_path, make_state, assert_same):
    checkpoints = Checkpoints(tmp_path, RUN, keep=1)
    state = make_state(1)
    checkpoints.save(1, state)
    jax.tree.map(lambda leaf: leaf.delete(), state)
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


@pytest.mark.parametrize("item", ["params", "opt_state"])
def test_flipped_bit_sets_a_checkpoint_aside_and_restores_the_one_before(
    saved, make_state, flip_bit, item, reopen, assert_same
):
    workdir, log_lines = saved(1, 2), []
    flip_bit(workdir, 2, item)
    checkpoints = reopen(workdir, log_lines)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    assert len(list(workdir.glob("bad-2-*"))) == 1 and checkpoint.steps(workdir) == [1]
    assert len(log_lines) == 1 and "checkpoint of step 2 is damaged" in log_lines[0]
    checkpoints.save(2, make_state(2))  # the run that resumes can save this step again
    checkpoints.wait()
    assert reopen(workdir).restore(make_state(0))[0] == 2


@pytest.mark.parametrize(
    ("item", "damage"),
    [("params", "manifest.ocdbt"), ("params", "d"), ("opt_state", "d"), ("meta", "metadata")],
)
def test_missing_files_set_a_checkpoint_aside(saved, make_state, item, damage, reopen):
    workdir = saved(1, 2)
    for path in list((workdir / "checkpoints" / "2" / item).rglob(damage)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert reopen(workdir).restore(make_state(0))[0] == 1


def test_run_with_only_damaged_checkpoints_does_not_start_from_scratch(
    saved, make_state, flip_bit, reopen
):
    workdir = saved(1, 2)
    flip_bit(workdir, 1)
    flip_bit(workdir, 2)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"all 2 checkpoints are damaged \(2: .*remove the folder"
        ):
            reopen(workdir).restore(make_state(0))
    assert checkpoint.steps(workdir) == [1, 2]  # nothing is renamed if nothing can be restored


def test_intact_folder_that_was_set_aside_is_used_if_nothing_else_is_intact(
    saved, make_state, flip_bit, reopen, assert_same
):
    workdir, log_lines = saved(1, 2, scores={1: 0.9, 2: 0.1}), []
    flip_bit(workdir, 1)
    (workdir / "checkpoints/2").rename(workdir / "bad-2-1700000000")
    checkpoints = reopen(workdir, log_lines)
    step, state = checkpoints.restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))
    assert checkpoint.steps(workdir) == [2] and len(list(workdir.glob("bad-*"))) == 1
    assert "checkpoint of step 1 is damaged" in log_lines[0]
    assert "bad-2-1700000000 is intact; renamed to" in log_lines[1]
    assert checkpoints.best()[0] == 2


def test_damaged_best_checkpoint_is_set_aside_and_the_next_best_is_taken(
    saved, reopen, make_state, flip_bit, assert_same
):
    workdir, log_lines = saved(1, 2, 3, scores={1: 0.5, 2: 0.9, 3: 0.1}), []
    flip_bit(workdir, 2)
    step, params = reopen(workdir, log_lines).best()
    assert step == 1
    assert_same(params, make_state(1)["params"])
    assert checkpoint.steps(workdir) == [1, 3] and len(list(workdir.glob("bad-2-*"))) == 1
    assert "checkpoint of step 2 is damaged" in log_lines[0]
    assert log_lines[1:] == ["the best intact checkpoint is that of step 1"]


def test_best_checkpoints_that_are_all_damaged_stay_and_are_reported(saved, reopen, flip_bit):
    workdir = saved(1, 2, scores={1: 0.5, 2: 0.9})
    for step in (1, 2):
        flip_bit(workdir, step)
    with pytest.raises(UserError, match="all 2 checkpoints are damaged"):
        reopen(workdir).best()
    assert checkpoint.steps(workdir) == [1, 2]


def test_best_checkpoint_of_an_earlier_start_is_kept(saved, reopen, make_state):
    checkpoints = reopen(saved(1, 2, keep=1, scores={1: 0.9, 2: 0.5}), keep=1)
    checkpoints.restore(make_state(0))
    for step in (3, 4):
        checkpoints.save(step, make_state(step), 0.6)
    checkpoints.wait()
    assert checkpoints.best()[0] == 1


def test_checkpoints_in_a_bucket(bucket, make_state, reopen, assert_same):
    """Newest and best are kept, damage is set aside and mended, and a cut-off save is ignored."""
    scores, log_lines = {1: 0.9, 2: 0.5, 3: 0.6}, []
    checkpoints = Checkpoints(bucket, RUN, keep=1)
    assert checkpoints.restore(make_state(0)) is None
    for step, score in scores.items():
        checkpoints.save(step, make_state(step), score)
    checkpoints.close()
    assert checkpoint.steps(bucket) == [1, 3]
    for item in (bucket / "checkpoints/3").objects():  # a save of step 4 that was cut off
        path = storage.path(f"gs://{bucket.bucket}/{item.name}")
        rest = path.relative_to(bucket / "checkpoints/3")
        if rest.name != "commit_success.txt":
            path.copy_to(bucket / "checkpoints/4" / rest)
    checkpoints = reopen(bucket, log_lines)
    step, state = checkpoints.restore(make_state(0))
    assert step == 3 and checkpoints.best()[0] == 1 and not log_lines
    assert_same(state, make_state(3))
    for item in (bucket / "checkpoints/3/opt_state").objects():
        if "/d/" in item.name:
            storage.write_bytes(storage.path(f"gs://{bucket.bucket}/{item.name}"), b"damaged")
    step, state = reopen(bucket, log_lines).restore(make_state(0))
    assert step == 1 and "checkpoint of step 3 is damaged" in log_lines[0]
    assert_same(state, make_state(1))
    assert checkpoint.steps(bucket) == [1]
    assert [name[:6] for name in storage.names(bucket)] == ["bad-3-", "checkp"]
    checkpoints = reopen(bucket)  # which can save the steps again, and deletes the remains
    for step in (3, 4):
        checkpoints.save(step, make_state(step))
    checkpoints.close()
    assert reopen(bucket).restore(make_state(0))[0] == 4


def test_kill_during_a_save_leaves_the_earlier_step(saved, make_state, reopen, assert_same):
    workdir = saved(1)
    script = f"""
import os, pathlib, signal
import numpy as np
from gpt1_jax.engine.checkpoint_manager import Checkpoints
checkpoints = Checkpoints(pathlib.Path({str(workdir)!r}), {RUN!r}, keep=10)
large = {{"tokens": np.random.default_rng(0).standard_normal((4_000, 2_000))}}
checkpoints.save(2, {{"params": large, "opt_state": {{"mu": large}}}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert (workdir / "checkpoints").is_dir() and not (workdir / "checkpoints" / "2").exists()
    checkpoints = reopen(workdir)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    checkpoints.save(2, make_state(2))
    checkpoints.wait()
    assert checkpoint.steps(workdir) == [1, 2]
