"""Test the rehearsal of a run on a machine that is not there: its step, its figures, its advice."""

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cli_fixtures import REPOSITORY
from compilers import HAS_CUDA, needs_cuda, needs_libtpu
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gpt1_jax.engine import accelerators, packing, transfer
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import (
    finetune_data,
    language_model,
    pretrained,
    rehearsal,
    rehearsal_report,
    rehearsed_steps,
)

sys.path.insert(0, str(REPOSITORY))
from configs import finetune, pretrain

LSTM = "pretrain.py:tiny,lstm"  # compiles faster than the Transformer


@pytest.fixture(scope="module")
def without_data(pretraining):
    """Return a function: body -> settings of a small pretraining run, but its data."""

    def settings(body: str = "lstm") -> dict:
        return {name: v for name, v in pretraining(body).items() if not name.startswith("data")}

    return settings


@pytest.fixture
def rehearse(gpt1, tmp_path):
    """Return rehearse(config, settings): the figures and the output; no folder may be made."""

    def run(config: str, settings: dict) -> tuple[dict, str]:
        ended = gpt1.run(*gpt1.command(config, tmp_path / "run", settings))
        assert ended.code == 0, ended.err
        assert not (tmp_path / "run").exists()
        return json.loads(ended.out.splitlines()[-1]), ended.out

    return run


@needs_libtpu
@pytest.mark.parametrize(("config", "body"), [("pretrain.py:tiny", "transformer"), (LSTM, "lstm")])
def test_pretraining_is_rehearsed_without_data(config, body, rehearse, without_data):
    settings = without_data(body) | {"compile_for": "v5e:2x2", "model.dtype": "bfloat16"}
    figures, printed = rehearse(config, settings)
    assert figures["fits"] and figures["devices"] == 4 and figures["accumulate"] == 1
    memory = figures["memory"]
    total = memory["arguments"] + memory["temporaries"] + memory["outputs"] - memory["aliased"]
    assert figures["needed"] == total < figures["available"]
    # By hand: 3 x one row of 32 tokens a device x (the body, and the softmax over 120 tokens).
    token = {
        "transformer": 2 * 2 * (4 * 16**2 + 2 * 16 * 64 + 2 * 32 * 16),
        "lstm": 2 * (4 * 16 * (16 + 16) + 16 * 16),
    }[body]
    assert figures["flops"] == 3 * 32 * (token + 2 * 16 * 120)
    assert figures["seconds"]["bytes"] == figures["bytes"] / 819e9
    assert 0 < figures["share_of_peak"] <= 1 and not figures["unknown_loops"]
    assert "4 x 32 tokens, vocabulary 120" in printed and "least time of a step" in printed


def wide_step(config: ConfigDict) -> rehearsed_steps.RehearsedStep:
    """Return a step whose rows are numbers, and whose activations are large."""

    def loss(params, batch, key):
        hidden = jnp.tanh(batch["x"][:, None] * params["w"][:1])
        return jnp.square(jnp.tanh(hidden @ params["w"])).mean(), {}

    settings = language_model.objective(
        pretrain.get_config("tiny"), pretrain.get_config("tiny").model.to_dict(), 120
    ).optim_config
    return rehearsed_steps.RehearsedStep(
        loss,
        settings._replace(accumulate=config.optim.accumulate),
        {"w": jax.ShapeDtypeStruct((256, 256), jnp.float32)},
        lambda parts: {"x": jax.ShapeDtypeStruct((config.batch_size,), jnp.float32)},
        config.batch_size,
        3.0 * config.batch_size * 2 * 256**2,
        10,
        "a wide step",
    )


@needs_libtpu
def test_step_that_does_not_fit_gets_the_smallest_accumulation(monkeypatch, capsys):
    # A chip with little memory, so that a small program, which compiles fast, is too large.
    memory = 400_000_000
    chip = accelerators.accelerators()["v5e"]._replace(memory=memory)
    monkeypatch.setattr(accelerators, "accelerators", lambda: {"v5e": chip})
    config = ConfigDict({"compile_for": "v5e:1x1", "batch_size": 2**20})
    config.model, config.optim = {"dtype": "float32"}, {"accumulate": 1}
    found = rehearsal.compile_for(config, wide_step)
    assert not found.fits and found.needed > memory >= found.compiled.memory.total
    # Half as many parts were tried, or cannot fit: the memory shrinks at most in proportion.
    half = found.accumulate // 2
    tried = re.findall(r"optim.accumulate=(\d+)\n", capsys.readouterr().out)
    assert half >= 1 and (str(half) in tried or found.needed / memory > half)
    advice = f"the smallest config.optim.accumulate that fits is {found.accumulate}"
    assert advice in rehearsal_report.summary(found).markdown()
    assert rehearsal_report.report(found)["accumulate"] == found.accumulate


@needs_libtpu
def test_step_that_never_fits_says_so(capsys):
    config = ConfigDict({"compile_for": "v5e:2x2", "batch_size": 4})
    config.model, config.optim = {"dtype": "float32"}, {"accumulate": 1}

    def large_step(config):
        return wide_step(config)._replace(
            params={"w": jax.ShapeDtypeStruct((2**16, 2**16), jnp.float32)}
        )

    found = rehearsal.compile_for(config, large_step)
    assert found.accumulate is None and not found.fits
    assert "no config.optim.accumulate fits" in rehearsal_report.summary(found).markdown()
    assert rehearsal_report.report(found)["needed"] > found.target.accelerator.memory


@needs_libtpu
def test_finetuning_is_rehearsed_on_the_largest_batch_of_the_run(rehearse, finetuning):
    settings = finetuning("lstm") | {"compile_for": "v5e:2x2"}
    figures, printed = rehearse("finetune.py:sst2,lstm", settings)
    assert figures["fits"] and "the largest batch of the run" in printed


@needs_cuda
@pytest.mark.parametrize("target", ["l4", "h100:2"])
def test_pretraining_is_rehearsed_for_gpus(target, rehearse, without_data):
    figures, printed = rehearse(LSTM, without_data() | {"compile_for": target})
    assert figures["fits"] and figures["compiler_flops"] is None
    assert figures["bytes"] == figures["touched"] > 0 and "tensorfloat32" in printed


@needs_libtpu
def test_cost_estimate_of_an_absent_machine_measures_nothing(gpt1, tmp_path):
    settings = {
        "estimate_cost": True,
        "compile_for": "v5e:2x2",
        "seeds": 1,
        "tasks": "('rte',)",
        "experiments.table5.variants": "('lstm',)",
        "pretrain.lstm.model.width": 16,
        "pretrain.lstm.model.units": 16,
    }
    command = gpt1.command("ablations.py:quick,table5", tmp_path / "run", settings)
    ended = gpt1.run(*command)
    assert ended.code == 0, ended.err
    assert "compiling for v5e:2x2" in ended.out and "| rte_lstm " in ended.out
    assert "least hours on v5e:2x2 at " in ended.out.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def config_of(name: str, settings: dict):
    """Return the config of a finetuning run."""
    config = finetune.get_config(name)
    values = {key: str(v) if "path" in key else v for key, v in settings.items()}
    config.update_from_flattened_dict(values)
    return config


def shapes(tree) -> list[tuple]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("task", ["rte", "stsb"])
def test_largest_batch_is_that_of_the_run(task, finetuning):
    config = config_of(task, finetuning())
    step = rehearsed_steps.finetuning(config)
    entry = TASKS[task]
    run = pretrained.read_pretrained(config.init.path, None, None, config.model.to_dict())
    examples, _ = finetune_data.read_splits(config.data, entry, 0, lambda line: None)
    train = finetune_data.pack(config, entry, examples, run.tokenizer, 32)["train"]
    assert step.steps == len(train) // config.batch_size * config.epochs
    batches = [
        finetune_data.training_batch(number, train, config.batch_size, config.seed, 1, False)
        for number in range(step.steps)
    ]
    largest = max(batches, key=lambda batch: (batch["tokens"].shape[-1], batch["weights"].sum()))
    batch = step.batch(jax.device_count())
    assert {name: shapes(array) for name, array in batch.items()} == {
        name: shapes(array) for name, array in largest.items()
    }
    assert batch["max_targets"] == largest["max_targets"]


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("task", ["sst2", "qnli", "mrpc", "race", "story_cloze_2016"])
def test_typical_batch_has_the_shape_of_its_format(task, share_prefix):
    step = rehearsed_steps.finetuning(config_of(task, {"share_prefix": share_prefix}))
    batch, entry = step.batch(1), TASKS[task]
    streams = {"choice": len(entry.labels), "similarity": 2}.get(entry.format, 1)
    shared = share_prefix and entry.format == "choice"
    examples, rows, length = batch["tokens"].shape
    assert (examples, rows) == (32, 1 if shared else streams)
    assert batch["extract"].shape == (32, streams) and ("segment_ids" in batch) == shared
    assert length in packing.LENGTHS
    described = f"32 examples in {32 * rows} rows of {length} tokens, vocabulary 40,478"
    assert described in step.description
    assert len(step.params["positions"]) <= 512


def test_finetuning_without_a_run_has_the_sizes_of_the_paper():
    params = flatten_dict(rehearsed_steps.finetuning(config_of("qnli", {})).params, sep="/")
    assert params["tokens"].shape == (40_478 + 3, 768) and params["positions"].shape == (64, 768)
    assert params["h11/mlp/c_fc/kernel"].shape == (768, 3072)


@pytest.mark.parametrize("layers", [None, 1, -1])
def test_frozen_rows_are_those_of_the_run(layers, finetuning):
    settings = {**finetuning(), "init.frozen": True}
    config = config_of("rte", settings | ({} if layers is None else {"init.layers": layers}))
    step = rehearsed_steps.finetuning(config)
    run = pretrained.read_pretrained(config.init.path, None, layers, config.model.to_dict())
    frozen = flatten_dict(step.params, sep="/")
    zeros = {name: np.zeros(leaf.shape, np.float32) for name, leaf in frozen.items()}
    _, restored_rows = transfer.merge(zeros, run.params)
    assert step.frozen == restored_rows


@pytest.mark.parametrize(("attention", "is_fused"), [("auto", True), ("plain", False)])
def test_attention_is_that_of_the_target(attention, is_fused):
    config = pretrain.get_config("tiny")
    config.model.attention, config.model.layers = attention, 1
    step = rehearsed_steps.pretraining(config)
    key = jax.eval_shape(lambda: jax.random.key(0))
    program = jax.make_jaxpr(step.loss)(step.params, step.batch(1), key)
    assert ("fused_attention" in str(program)) == is_fused


@pytest.mark.skipif(HAS_CUDA, reason="the CUDA plugin is installed")
def test_missing_compiler_is_named_before_anything_is_read(gpt1, tmp_path):
    command = gpt1.command("finetune.py:rte", tmp_path / "run", {"compile_for": "h100"})
    ended = gpt1.run(*command)
    assert ended.code == 2 and "launch/environment.sh cuda" in ended.err
