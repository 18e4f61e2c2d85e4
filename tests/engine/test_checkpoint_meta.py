"""Test that the metadata of a checkpoint is verified, and that it names its run and its arrays."""

import json
import shutil

import numpy as np
import pytest

from gpt1_jax.engine import checkpoint, checkpoint_meta
from gpt1_jax.engine.checkpoint_errors import DamagedError
from gpt1_jax.errors import UserError


def test_every_changed_byte_is_damage(saved):
    folder = saved(1, scores={1: 0.5}) / "checkpoints/1"
    file = folder / checkpoint_meta.ITEM / checkpoint_meta.FILE
    content = file.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        file.write_bytes(changed)
        with pytest.raises(DamagedError):
            checkpoint_meta.read(folder, 1)
    file.write_bytes(content)
    assert checkpoint_meta.read(folder, 1)["score"] == 0.5


def test_values_of_a_step_are_stored_with_it(saved, reopen, make_state):
    workdir = saved(1)
    checkpoints = reopen(workdir)
    checkpoints.save(2, make_state(2), values={"meter": {"loss": [0.5]}})
    checkpoints.close()
    assert checkpoint.read_meta(workdir, 2)["meter"] == {"loss": [0.5]}
    assert reopen(workdir).restore(make_state(0))[0] == 2


@pytest.mark.parametrize("edit", [{"score": 0.99}, {"step": 2, "score": 0.2}, {"seed": 7}])
def test_edited_score_does_not_change_the_best_checkpoint(saved, reopen, make_state, edit):
    workdir, log_lines = saved(1, 2, 3, scores={1: 0.5, 2: 0.9, 3: 0.1}), []
    file = workdir / "checkpoints/1" / checkpoint_meta.ITEM / checkpoint_meta.FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | edit))
    assert reopen(workdir, log_lines).best()[0] == 2
    assert "checkpoint of step 1 is damaged (its metadata is not what was written)" in log_lines[0]


def test_checkpoint_under_another_number_is_refused(saved, reopen, make_state):
    workdir = saved(1, 2)
    shutil.copytree(workdir / "checkpoints/1", workdir / "checkpoints/30")
    message = "checkpoints/30: holds the checkpoint of step 1, not of step 30"
    for read in (
        lambda: reopen(workdir).restore(make_state(0)),
        lambda: reopen(workdir).best(),
        lambda: checkpoint.read_all_params(workdir, 30),
    ):
        with pytest.raises(UserError, match=message):
            read()
    assert checkpoint.steps(workdir) == [1, 2, 30]


@pytest.mark.parametrize("name", ["seed", "config", "tokenizer"])
def test_checkpoint_of_another_run_is_refused(saved, reopen, make_state, name):
    workdir = saved(1, 2)
    run = {"tokenizer": "abc", "seed": 0, "config": "c0"} | {name: "other"}
    checkpoints = reopen(workdir, run=run)
    with pytest.raises(UserError, match=f"checkpoints/1: .* another run .another {name}"):
        checkpoints.restore(make_state(0))
    assert checkpoint.steps(workdir) == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {**state, "params": {**state["params"], "h2": np.zeros(3)}},
            r"params/h2 is absent in the checkpoint and float64\[3\] in this model",
        ),
        (
            lambda state: {**state, "params": {"tokens": state["params"]["tokens"]}},
            r"params/h0/bias is float32\[3\] in the checkpoint and absent in this",
        ),
        (
            lambda state: {
                **state,
                "params": {**state["params"], "tokens": np.zeros((300, 32), np.float32)},
            },
            r"params/tokens is float32\[300, 64\] in .* and float32\[300, 32\]",
        ),
        (
            lambda state: {**state, "opt_state": {"momentum": np.zeros(3)}},
            "opt_state/.* is .* in the checkpoint and absent",
        ),
    ],
    ids=["another param", "missing params", "another shape", "another optimizer"],
)
def test_other_structure_is_refused_and_renames_nothing(saved, reopen, make_state, change, message):
    workdir = saved(1, 2)
    with pytest.raises(UserError, match=message) as caught:
        reopen(workdir).restore(change(make_state(0)))
    assert "\n" not in str(caught.value) and "checkpoints/2" in str(caught.value)
    assert checkpoint.steps(workdir) == [1, 2] and not list(workdir.glob("bad-*"))


def test_checkpoint_of_an_earlier_version_can_be_read_but_not_resumed(saved, reopen, make_state):
    workdir = saved(1)
    file = workdir / "checkpoints/1" / checkpoint_meta.ITEM / checkpoint_meta.FILE
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({name: meta[name] for name in ("tokenizer", "step", "crc32")}))
    params = checkpoint.read_all_params(workdir, 1)
    np.testing.assert_array_equal(params["tokens"], make_state(1)["params"]["tokens"])
    with pytest.raises(UserError, match="checkpoints/1: an earlier version .* cannot be resumed"):
        reopen(workdir).restore(make_state(0))
    assert checkpoint.steps(workdir) == [1]
