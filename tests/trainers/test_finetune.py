"""Check which programs finetuning runs share, and which params a frozen transfer leaves alone."""

import json
import shutil

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from mistakes.mistake import damage_checkpoint, renumber_checkpoint
from ml_collections import ConfigDict

from gpt1_jax.engine import checkpoint
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import finetune_data
from gpt1_jax.trainers.pretrained import read_pretrained


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


def test_step_zero_is_a_step(pretrained, tmp_path):
    run = shutil.copytree(pretrained(), tmp_path / "run")
    renumber_checkpoint(run, 10, 0)
    model = json.loads((run / "config.json").read_text())["model"]
    for path, step, expected in (
        (run, 0, 0),
        (run, None, 20),
        (run / "checkpoints/0", None, 0),
    ):
        assert read_pretrained(str(path), step, None, model).step == expected


@pytest.fixture
def begun(gpt1, finetuning, pretrained, tmp_path):
    """Return (settings, pretraining run, finetuning run, result) of a run from its step 10.

    Then the pretraining run has gone on to step 20, and result.json is missing.
    """
    source = shutil.copytree(pretrained(), tmp_path / "pretrained")
    (source / "checkpoints/20").rename(tmp_path / "20")
    settings = {**finetuning(), "init.path": source}
    result = gpt1.result("finetune.py:rte", tmp_path / "run", settings)
    (tmp_path / "run/result.json").unlink()
    (tmp_path / "20").rename(source / "checkpoints/20")
    return settings, source, tmp_path / "run", result


@pytest.mark.parametrize("saved", [True, False])
def test_resumed_run_keeps_its_step_of_the_pretraining_run(saved, begun, gpt1):
    settings, source, run, expected = begun
    if saved:  # the initial params are not used again
        shutil.rmtree(source / "checkpoints/10")
    else:
        shutil.rmtree(run / "checkpoints")
    result = gpt1.result("finetune.py:rte", run, settings)
    assert {**result, "seconds": 0} == {**expected, "seconds": 0} and result["init"]["step"] == 10


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_resumed_run_refuses_other_pretrained_params(change, begun, gpt1):
    settings, source, run, _ = begun
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(source / "checkpoints/10")
    message = f"{source} has no checkpoint of step 10, from which this run began"
    if change == "replaced":
        renumber_checkpoint(source, 20, 10)
        message = f"{run}/data.json: pretrained params changed since this run began"
    completed = gpt1.run(*gpt1.command("finetune.py:rte", run, settings))
    assert completed.code == 2 and message in completed.err


def test_damaged_best_checkpoint_gives_the_scores_of_the_next_best(gpt1, finetuning, tmp_path):
    settings = finetuning() | {"epochs": 4}
    result = gpt1.result("finetune.py:sst2", tmp_path, settings)
    best, last = result["best_step"], result["steps"]
    assert best < last and checkpoint.steps(tmp_path) == [best, last]
    damage_checkpoint(tmp_path, best)
    (tmp_path / "result.json").unlink()
    assert gpt1.result("finetune.py:sst2", tmp_path, settings)["best_step"] == last
    log = (tmp_path / "log.txt").read_text()
    assert f"checkpoint of step {best} is damaged" in log
    assert f"the best intact checkpoint is that of step {last}" in log


def test_seeds_draw_other_rows_of_the_same_data(glue):
    data = ConfigDict({"source": "files", "path": str(glue), "test": False, "max_bad_rows": 0})
    data.examples = 6
    (first, first_record), (second, second_record) = (
        finetune_data.read_splits(data, TASKS["rte"], seed, lambda line: None) for seed in (0, 1)
    )
    assert len(first["train"]) == 6 and first["train"] != second["train"]
    assert first["validation"] == second["validation"]
    assert first_record == second_record  # of equal label frequencies, too
