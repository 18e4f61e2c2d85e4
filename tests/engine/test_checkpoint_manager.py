"""Test that checkpoints restore bit for bit, which ones are kept, and how damage is handled."""

import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from gpt1_jax.engine import checkpoint
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.errors import UserError

META = {"tokenizer": "abc"}


def reopen(workdir: pathlib.Path, log_lines: list[str] | None = None) -> Checkpoints:
    return Checkpoints(
        workdir, keep=10, log_line=(log_lines if log_lines is not None else []).append
    )


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_restore_is_bit_exact_with_optax_types(saved, make_state):
    step, state = reopen(saved(1, 2)).restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))


def test_empty_folder_restores_nothing(tmp_path, make_state):
    assert reopen(tmp_path).restore(make_state(0)) is None
    assert reopen(tmp_path).best_step() is None


def test_newest_and_chosen_steps_are_kept(saved):
    assert checkpoint.steps(saved(1, 2, 3, 4, 5, keep=2, keep_steps=(1, 3))) == [1, 3, 4, 5]


def test_earliest_of_equally_best_steps_is_kept(saved):
    workdir = saved(1, 2, 3, 4, 5, keep=1, scores={1: 0.5, 2: 0.9, 3: 0.9, 4: 0.1, 5: 0.2})
    assert checkpoint.steps(workdir) == [2, 5]
    assert reopen(workdir).best_step() == 2


def test_saved_step_is_not_written_again(saved, make_state):
    checkpoints = reopen(saved(1))
    checkpoints.save(1, make_state(7), META)
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


def test_state_may_be_deleted_as_soon_as_save_returns(tmp_path, make_state):
    checkpoints = Checkpoints(tmp_path, keep=1)
    state = make_state(1)
    checkpoints.save(1, state, META)
    jax.tree.map(lambda leaf: leaf.delete(), state)
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


@pytest.mark.parametrize("item", ["params", "opt_state"])
def test_flipped_bit_sets_a_checkpoint_aside_and_restores_the_one_before(
    saved, make_state, flip_bit, item
):
    workdir, log_lines = saved(1, 2), []
    flip_bit(workdir, 2, item)
    checkpoints = reopen(workdir, log_lines)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    assert len(list(workdir.glob("bad-2-*"))) == 1 and checkpoint.steps(workdir) == [1]
    assert len(log_lines) == 1 and "checkpoint of step 2 is damaged" in log_lines[0]
    checkpoints.save(2, make_state(2), META)  # the run that resumes can save this step again
    checkpoints.wait()
    assert reopen(workdir).restore(make_state(0))[0] == 2


@pytest.mark.parametrize(
    ("item", "damage"),
    [("params", "manifest.ocdbt"), ("params", "d"), ("opt_state", "d"), ("meta", "metadata")],
)
def test_missing_files_set_a_checkpoint_aside(saved, make_state, item, damage):
    workdir = saved(1, 2)
    for path in list((workdir / "checkpoints" / "2" / item).rglob(damage)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert reopen(workdir).restore(make_state(0))[0] == 1


def test_run_with_only_damaged_checkpoints_does_not_start_from_scratch(saved, make_state, flip_bit):
    workdir = saved(1, 2)
    flip_bit(workdir, 1)
    flip_bit(workdir, 2)
    for _ in range(2):  # the second start finds both checkpoints renamed
        with pytest.raises(UserError, match="all 2 checkpoints are damaged; remove the folder"):
            reopen(workdir).restore(make_state(0))


def test_kill_during_a_save_leaves_the_earlier_step(saved, make_state):
    workdir = saved(1)
    script = f"""
import os, pathlib, signal
import numpy as np
from gpt1_jax.engine.checkpoint_manager import Checkpoints
checkpoints = Checkpoints(pathlib.Path({str(workdir)!r}), keep=10)
large = {{"tokens": np.random.default_rng(0).standard_normal((4_000, 2_000))}}
checkpoints.save(2, {{"params": large, "opt_state": {{"mu": large}}}}, {{}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert (workdir / "checkpoints").is_dir() and not (workdir / "checkpoints" / "2").exists()
    checkpoints = reopen(workdir)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    checkpoints.save(2, make_state(2), META)
    checkpoints.wait()
    assert checkpoint.steps(workdir) == [1, 2]
