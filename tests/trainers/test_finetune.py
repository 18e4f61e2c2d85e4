"""Check which programs finetuning runs share, and which params a frozen transfer leaves alone."""

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from gpt1_jax.engine import checkpoint


def stored_params(workdir, step) -> dict[str, np.ndarray]:
    """Return slash-joined name -> array of a checkpoint."""
    return flatten_dict(checkpoint.read_all_params(workdir, step), sep="/")


def test_runs_with_other_seed_and_transfer_compile_nothing_new(gpt1, finetuning, tmp_path):
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: events.append(event) if "backend_compile" in event else None
    )

    def count_compilations(name, **changes):
        events.clear()
        settings = {**finetuning(), "optim.lr": 1e-3, **changes}
        gpt1.result("finetune.py:rte", tmp_path / name, settings)
        return len(events)

    # No other test uses this learning rate, so the first run compiles at least the training step.
    first = count_compilations("first")
    assert count_compilations("second", seed=1, **{"init.layers": -1}) < min(first, 2)


def test_frozen_run_trains_only_what_was_not_transferred(gpt1, finetuning, pretrained, tmp_path):
    settings = {**finetuning(), "init.frozen": True, "init.layers": 1, "optim.lr": 1e-2}
    result = gpt1.result("finetune.py:rte", tmp_path, settings)
    before = stored_params(pretrained(), result["init"]["step"])
    after = stored_params(tmp_path, checkpoint.steps(tmp_path)[-1])
    unchanged = {
        name
        for name in after
        if name in before and np.array_equal(after[name], before[name][: len(after[name])])
    }
    assert {name.split("/")[0] for name in unchanged} == {"positions", "h0"}
    assert sum(name.startswith("h0") for name in before) == len(unchanged) - 1
    vocab_size = len(before["tokens"])
    np.testing.assert_array_equal(after["tokens"][:vocab_size], before["tokens"])

    # With a learning rate of 0, the special tokens, the second block and the head stay fresh.
    other = gpt1.result("finetune.py:rte", tmp_path / "other", {**settings, "optim.lr": 0.0})
    fresh = stored_params(tmp_path / "other", other["steps"])
    assert (after["tokens"][vocab_size:] != fresh["tokens"][vocab_size:]).any(axis=1).sum() >= 2
    assert all((after[name] != fresh[name]).any() for name in ("h1/mlp/c_fc/kernel", "clf/kernel"))
