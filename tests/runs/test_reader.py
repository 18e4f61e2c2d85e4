"""Runs' folders as other programs read them, and a folder made of params from elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.runs import reader
from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS


@pytest.mark.parametrize("body", ["transformer", "lstm"])
def test_pretrained_run_is_found_whole_and_by_its_checkpoints(pretrained, body):
    workdir = pretrained(body)
    run = reader.open_saved(str(workdir), "--checkpoint")
    assert isinstance(run, reader.PretrainedRun) and (run.body, run.steps, run.step) == (body, [10, 20], 20)
    assert reader.open_saved(f"{workdir}/checkpoints/10", "--checkpoint").step == 10
    model = LanguageModel(MODELS[body](run.tokenizer.vocab_size, **run.sizes))
    tokens = jnp.zeros((1, 4), jnp.int32)
    hidden, _ = jax.jit(lambda params: model.apply({"params": params}, tokens, train=False))(run.params(20))
    assert hidden.shape == (1, 4, 16)


def test_finetuned_run_says_its_task_its_best_update_and_its_sizes(gpt1, finetuning, tmp_path):
    result = gpt1.result("finetune.py:rte", tmp_path, finetuning())
    run = reader.open_saved(str(tmp_path), "--checkpoint")
    assert isinstance(run, reader.FinetunedRun) and (run.task, run.step) == ("rte", result["best_step"])
    assert (run.body, run.sizes["heads"]) == ("transformer", 2)
    assert run.sizes["context"] == len(run.params(run.step)["positions"])


def test_what_is_no_run_is_told_by_its_flag(pretrained, tmp_path):
    with pytest.raises(UserError, match="^--checkpoint: is empty; name the folder of a run"):
        reader.open_saved("", "--checkpoint")
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        reader.open_saved(str(tmp_path), "--checkpoint")
    (tmp_path / "config.json").write_text('{"model_type": "openai-gpt"}')
    for read in (reader.open_saved, reader.PretrainedRun):
        with pytest.raises(UserError, match="^--checkpoint: .* is no folder of a run; make one of a Hugging Face one by"):
            read(str(tmp_path), "--checkpoint")
    with pytest.raises(UserError, match=r"^--checkpoint: .* has no checkpoint of update 15; it has \[10, 20\]"):
        reader.open_saved(f"{pretrained()}/checkpoints/15", "--checkpoint")
    with pytest.raises(UserError, match="^--checkpoint: .* is a run of pretrain; name one of finetuning"):
        reader.FinetunedRun(str(pretrained()), "--checkpoint")


def test_params_from_elsewhere_become_a_finished_run(gpt1, pretrained, finetuning, tmp_path):
    source = reader.PretrainedRun(str(pretrained()))
    model, params = {"name": source.body, **source.sizes}, source.params(20)
    made = reader.write_pretrained(str(tmp_path / "run"), model, params, source.tokenizer, {"format": "test"})
    assert made == reader.write_pretrained(str(tmp_path / "run"), model, params, source.tokenizer, {"format": "test"})  # found finished
    with pytest.raises(UserError, match="origin.format='test' "):
        reader.write_pretrained(str(tmp_path / "run"), model, params, source.tokenizer, {"format": "other"})
    doubled = {**params, "tokens": 2 * params["tokens"]}
    with pytest.raises(UserError, match="origin.params_sha256="):
        reader.write_pretrained(str(tmp_path / "run"), model, doubled, source.tokenizer, {"format": "test"})
    read = reader.PretrainedRun(str(tmp_path / "run"))
    assert (read.sizes, read.steps, read.config["origin"]["format"]) == (source.sizes, [0], "test")
    jax.tree.map(np.testing.assert_array_equal, read.params(0), params)
    result = gpt1.result("finetune.py:rte", tmp_path / "rte", finetuning() | {"init.path": tmp_path / "run"})
    assert result["init"]["step"] == 0 and result["init"]["origin"] == read.config["origin"]
