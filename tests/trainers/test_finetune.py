"""Finetuning: programs that runs share, and what a frozen transfer leaves alone."""

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from gpt1_jax.engine import checkpoint


def test_runs_that_differ_in_seed_and_transfer_compile_once(gpt1, finetuning, tmp_path):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )

    def compilations(name, **more):
        compiled.clear()
        gpt1.result("finetune.py:rte", tmp_path / name, {**finetuning(), "optim.lr": 1e-3, **more})
        return len(compiled)

    first = compilations("first")  # the training step at least, for no other test has this rate
    assert compilations("second", seed=1, **{"init.layers": -1}) < min(first, 2)


def test_frozen_trains_what_was_not_transferred(gpt1, finetuning, pretrained, tmp_path):
    settings = {**finetuning(), "init.frozen": True, "init.layers": 1, "optim.lr": 1e-2}
    result = gpt1.result("finetune.py:rte", tmp_path, settings)
    before = flatten_dict(checkpoint.read_all_params(pretrained(), result["init"]["step"]), sep="/")
    after = flatten_dict(
        checkpoint.read_all_params(tmp_path, checkpoint.steps(tmp_path)[-1]), sep="/"
    )
    vocabulary = len(before["tokens"])
    kept = {
        name
        for name in after
        if name in before and np.array_equal(after[name], before[name][: len(after[name])])
    }
    assert {name.split("/")[0] for name in kept} == {"positions", "h0"} and sum(
        name.startswith("h0") for name in before
    ) == len(kept) - 1
    np.testing.assert_array_equal(after["tokens"][:vocabulary], before["tokens"])
    # The special tokens, the second block and the head are trained.
    other = gpt1.result("finetune.py:rte", tmp_path / "other", {**settings, "optim.lr": 0.0})
    fresh = flatten_dict(checkpoint.read_all_params(tmp_path / "other", other["steps"]), sep="/")
    assert (after["tokens"][vocabulary:] != fresh["tokens"][vocabulary:]).any(axis=1).sum() >= 2
    assert all((after[name] != fresh[name]).any() for name in ("h1/mlp/c_fc/kernel", "clf/kernel"))
