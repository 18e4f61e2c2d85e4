"""Checkpoints: bit for bit, what is kept, what happens to damaged ones, and reading params alone."""

import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import checkpoint, optim
from gpt1_jax.engine.checkpoint import Checkpoints
from gpt1_jax.errors import UserError

OPTIMIZER = optim.adam(
    0.1, optim.warmup_linear(10, 0.1), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
)
META = {"tokenizer": "abc"}


def make_state(seed: int):
    """Params and moments of random bits, with a large leaf that fills the data file."""
    random = np.random.default_rng(seed)
    params = {
        "tokens": random.standard_normal((300, 64)),
        "h0": {"bias": random.standard_normal(3)},
        "h1": {"bias": random.standard_normal(3)},
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    return {
        "params": params,
        "opt_state": jax.tree.map(
            lambda leaf: leaf + jnp.asarray(seed + 1, leaf.dtype), OPTIMIZER.init(params)
        ),
    }


@pytest.fixture
def saved(tmp_path):
    """(*steps, **options) -> the run's folder, with the state of seed N saved after update N."""

    def save(*steps, keep=10, keep_steps=(), scores=None):
        checkpoints = Checkpoints(tmp_path, keep=keep, keep_steps=keep_steps)
        for step in steps:
            checkpoints.save(step, make_state(step), META, scores[step] if scores else None)
        checkpoints.wait()
        checkpoints.close()
        return tmp_path

    return save


def reopened(workdir: pathlib.Path, said: list[str] | None = None) -> Checkpoints:
    return Checkpoints(workdir, keep=10, say=(said if said is not None else []).append)


def flip(workdir: pathlib.Path, step: int, item: str = "params") -> None:
    """Turns one bit in the middle of the item's largest file, which holds the large leaf."""
    file = max(
        (
            path
            for path in (workdir / "checkpoints" / str(step) / item).rglob("*")
            if path.is_file()
        ),
        key=lambda path: path.stat().st_size,
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_state_comes_back_bit_for_bit_with_optax_own_types(saved):
    step, state = reopened(saved(1, 2)).restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))


def test_an_empty_folder_gives_nothing(tmp_path):
    assert reopened(tmp_path).restore(make_state(0)) is None
    assert reopened(tmp_path).best_step() is None


def test_meta_comes_back(saved):
    meta = checkpoint.read_meta(saved(3), 3)
    assert meta["tokenizer"] == "abc" and meta["step"] == 3 and "params/tokens" in meta["crc32"]


def test_the_newest_and_the_chosen_steps_are_kept(saved):
    assert checkpoint.steps(saved(1, 2, 3, 4, 5, keep=2, keep_steps=(1, 3))) == [1, 3, 4, 5]


def test_the_best_is_kept_the_earliest_of_equals(saved):
    workdir = saved(1, 2, 3, 4, 5, keep=1, scores={1: 0.5, 2: 0.9, 3: 0.9, 4: 0.1, 5: 0.2})
    assert checkpoint.steps(workdir) == [2, 5]
    assert reopened(workdir).best_step() == 2


def test_a_step_that_is_there_is_not_written_again(saved):
    workdir = saved(1)
    checkpoints = reopened(workdir)
    checkpoints.save(1, make_state(7), META)
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


def test_the_state_may_change_as_soon_as_save_returns(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    state = make_state(1)
    checkpoints.save(1, state, META)
    jax.tree.map(lambda leaf: leaf.delete(), state)
    checkpoints.wait()
    assert_same(checkpoints.restore(make_state(0))[1], make_state(1))


@pytest.mark.parametrize("item", ["params", "opt_state"])
def test_one_flipped_bit_sets_a_checkpoint_aside_and_the_one_before_is_taken(saved, item):
    workdir, said = saved(1, 2), []
    flip(workdir, 2, item)
    checkpoints = reopened(workdir, said)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    assert len(list(workdir.glob("bad-2-*"))) == 1 and checkpoint.steps(workdir) == [1]
    assert len(said) == 1 and "checkpoint of step 2 is damaged" in said[0]
    checkpoints.save(2, make_state(2), META)  # its place is free for the run that goes on
    checkpoints.wait()
    assert reopened(workdir).restore(make_state(0))[0] == 2


@pytest.mark.parametrize(
    ("item", "damage"),
    [("params", "manifest.ocdbt"), ("params", "d"), ("opt_state", "d"), ("meta", "metadata")],
)
def test_missing_files_set_a_checkpoint_aside(saved, item, damage):
    workdir = saved(1, 2)
    for path in list((workdir / "checkpoints" / "2" / item).rglob(damage)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert reopened(workdir).restore(make_state(0))[0] == 1


def test_only_damaged_checkpoints_are_no_reason_to_start_afresh(saved):
    workdir = saved(1, 2)
    flip(workdir, 1), flip(workdir, 2)
    for _ in range(2):  # the second start finds them set aside already
        with pytest.raises(UserError, match="all 2 checkpoints are damaged; remove the folder"):
            reopened(workdir).restore(make_state(0))


def test_a_kill_in_the_middle_of_a_save_leaves_the_earlier_step(saved):
    workdir = saved(1)
    script = f"""
import os, pathlib, signal
import numpy as np
from gpt1_jax.engine.checkpoint import Checkpoints
checkpoints = Checkpoints(pathlib.Path({str(workdir)!r}), keep=10)
large = {{"tokens": np.random.default_rng(0).standard_normal((4_000, 2_000))}}
checkpoints.save(2, {{"params": large, "opt_state": {{"mu": large}}}}, {{}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True).returncode
        == -signal.SIGKILL
    )
    assert (workdir / "checkpoints").is_dir() and not (workdir / "checkpoints" / "2").exists()
    checkpoints = reopened(workdir)
    step, state = checkpoints.restore(make_state(0))
    assert step == 1
    assert_same(state, make_state(1))
    checkpoints.save(2, make_state(2), META)
    checkpoints.wait()
    assert checkpoint.steps(workdir) == [1, 2]


def test_params_are_read_by_name_without_the_rest(saved):
    workdir = saved(1)
    shutil.rmtree(workdir / "checkpoints" / "1" / "opt_state")
    assert checkpoint.param_names(workdir, 1) == ["h0/bias", "h1/bias", "tokens"]
    read = checkpoint.read_params(workdir, 1, ["h1/bias", "tokens"])
    assert set(read) == {"h1/bias", "tokens"} and all(
        type(array) is np.ndarray for array in read.values()
    )
    np.testing.assert_array_equal(read["tokens"], make_state(1)["params"]["tokens"])
    assert {name.split("/")[0] for name in read} == {"h1", "tokens"} and checkpoint.read_params(
        workdir, 1, []
    ) == {}


def test_a_flipped_bit_is_seen_by_who_reads_it_and_by_nobody_else(saved):
    workdir = saved(1)
    flip(workdir, 1)
    np.testing.assert_array_equal(
        checkpoint.read_params(workdir, 1, ["h0/bias"])["h0/bias"],
        make_state(1)["params"]["h0"]["bias"],
    )
    with pytest.raises(
        UserError, match=r"checkpoints/1/params: damaged .*name another run or another step"
    ):
        checkpoint.read_params(workdir, 1, ["h0/bias", "tokens"])


def test_names_that_are_not_there_are_refused(saved):
    with pytest.raises(UserError, match=r"params: has no h7/bias; it holds h0/bias"):
        checkpoint.read_params(saved(1), 1, ["tokens", "h7/bias"])


@pytest.mark.parametrize("made", [(), ("checkpoints",)])
def test_a_folder_without_checkpoints_is_refused(tmp_path, made):
    for name in made:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"config\.init\.path: .* has no checkpoints/"):
        checkpoint.steps(tmp_path)
