"""Check the folders of runs as other programs read them, and a folder of imported params."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS
from gpt1_jax.runs import reader


@pytest.mark.parametrize("body", ["transformer", "lstm"])
def test_pretrained_run_opens_by_folder_and_by_checkpoint(pretrained, body):
    workdir = pretrained(body)
    run = reader.open_saved(str(workdir), "--checkpoint")
    assert isinstance(run, reader.PretrainedRun)
    assert (run.body, run.steps, run.step) == (body, [10, 20], 20)
    assert reader.open_saved(f"{workdir}/checkpoints/10", "--checkpoint").step == 10
    model = LanguageModel(MODELS[body](run.tokenizer.vocab_size, **run.sizes))
    tokens = jnp.zeros((1, 4), jnp.int32)
    forward = jax.jit(lambda params: model.apply({"params": params}, tokens, train=False))
    hidden, _ = forward(run.params(20))
    assert hidden.shape == (1, 4, 16)


def test_finetuned_run_has_task_best_step_and_sizes(gpt1, finetuning, tmp_path):
    result = gpt1.result("finetune.py:rte", tmp_path, finetuning())
    run = reader.open_saved(str(tmp_path), "--checkpoint")
    assert isinstance(run, reader.FinetunedRun)
    assert (run.task, run.step) == ("rte", result["best_step"])
    assert (run.body, run.sizes["heads"]) == ("transformer", 2)
    assert run.sizes["context"] == len(run.params(run.step)["positions"])


def test_invalid_folder_is_refused_with_its_flag(pretrained, tmp_path):
    def check_refused(open_run, path, message):
        with pytest.raises(UserError, match=message):
            open_run(str(path), "--checkpoint")

    check_refused(reader.open_saved, "", "^--checkpoint: is empty; name the folder of a run")
    check_refused(reader.open_saved, tmp_path, r"config\.json: no such file")
    (tmp_path / "config.json").write_text('{"model_type": "openai-gpt"}')
    for open_run in (reader.open_saved, reader.PretrainedRun):
        message = (
            "^--checkpoint: .* is not the folder of a run; import a folder of Hugging Face with"
        )
        check_refused(open_run, tmp_path, message)
    message = r"^--checkpoint: .* has no checkpoint of step 15; choose from \[10, 20\]"
    check_refused(reader.open_saved, f"{pretrained()}/checkpoints/15", message)
    message = "^--checkpoint: .* is a run of pretrain; name a finetuning run"
    check_refused(reader.FinetunedRun, pretrained(), message)


def test_imported_params_are_a_finished_run(gpt1, pretrained, finetuning, tmp_path):
    source = reader.PretrainedRun(str(pretrained()))
    params = source.params(20)

    def write(params, origin):
        model = {"name": source.body, **source.sizes}
        path = str(tmp_path / "run")
        return reader.write_pretrained(path, model, params, source.tokenizer, {"format": origin})

    assert write(params, "test") == write(params, "test")
    with pytest.raises(UserError, match="origin.format='test' "):
        write(params, "other")
    with pytest.raises(UserError, match="origin.params_sha256="):
        write({**params, "tokens": 2 * params["tokens"]}, "test")
    run = reader.PretrainedRun(str(tmp_path / "run"))
    assert (run.sizes, run.steps) == (source.sizes, [0])
    assert run.config["origin"]["format"] == "test"
    jax.tree.map(np.testing.assert_array_equal, run.params(0), params)
    settings = finetuning() | {"init.path": tmp_path / "run"}
    result = gpt1.result("finetune.py:rte", tmp_path / "rte", settings)
    assert result["init"]["step"] == 0 and result["init"]["origin"] == run.config["origin"]


def test_checkpoint_of_another_run_is_refused(pretrained, tmp_path):
    run, config = shutil.copytree(pretrained(), tmp_path / "run"), pretrained() / "config.json"
    settings = json.loads(config.read_text())
    (run / "config.json").write_text(json.dumps(settings | {"log": {"every": 1}}))
    reader.PretrainedRun(str(run)).meta(20)  # this setting may change between the starts of a run
    (run / "config.json").write_text(json.dumps(settings | {"seed": 7}))
    message = r"checkpoints/20: is a checkpoint of another run than that of config\.json"
    with pytest.raises(UserError, match=message):
        reader.PretrainedRun(str(run)).meta(20)
