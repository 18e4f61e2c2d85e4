"""Test exported folders: transformers computes the same from them."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hf_models import TOLERANCE, language_model, max_error, run_card, transformers

from gpt1_jax.datasets import sources
from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_heads, huggingface
from gpt1_jax.registry import TASKS
from gpt1_jax.runs import reader
from gpt1_jax.text import formats

FILES = [
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]


def test_pretrained_run_agrees(pretrained, tmp_path):
    assert huggingface.export_run(str(pretrained()), str(tmp_path / "out")) == FILES
    run = reader.open_saved(str(pretrained()), "--workdir")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    token_rows = run.tokenizer.vocab_size
    ids = np.random.default_rng(0).integers(0, token_rows, size=(3, 32))
    outputs = language_model(run.sizes, token_rows)(run.params(20), ids)
    assert max_error(outputs, model, ids)[0] <= TOLERANCE
    assert model.generate(do_sample=False, max_new_tokens=4)[0, 0] == run.tokenizer.newline


def test_export_is_reproducible(pretrained, tmp_path):
    for name in ("out", "again"):
        huggingface.export_run(str(pretrained()), str(tmp_path / name))
    for name in FILES:
        content = (tmp_path / "out" / name).read_bytes()
        assert content == (tmp_path / "again" / name).read_bytes(), name


def test_pretrained_run_round_trips(pretrained, tmp_path):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    result = huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    original = json.loads((pretrained() / "result.json").read_text())
    assert result["params_sha256"] == original["params_sha256"]
    assert result["origin"]["left_out"] == []
    back = reader.open_saved(str(tmp_path / "back"), "--workdir")
    run = reader.open_saved(str(pretrained()), "--workdir")
    # Not in the folder: no size of the model, and what every such model has.
    sizes = {**back.sizes, "attention": "auto", "learned_positions": True, "pre_norm": False}
    assert (sizes, back.tokenizer.fingerprint) == (run.sizes, run.tokenizer.fingerprint)


def test_head_agrees_with_the_runs_predictions(exported, glue, choices, parity):
    """The model card's code gives the probabilities and scores of predictions/validation.tsv."""
    config = json.loads((exported.folder / "config.json").read_text())
    assert config["architectures"] == [exported.kind.architecture]
    card = run_card(exported.folder)
    assert type(card["model"]).__name__ == exported.kind.architecture
    lines = (exported.workdir / "predictions/validation.tsv").read_text().splitlines()
    examples = read_examples(exported, glue, choices)
    assert len(lines) - 1 == len(examples) == 6
    for example, line in zip(examples, lines[1:], strict=True):
        index, prediction, _, *probabilities = line.split("\t")
        assert index == example.id
        if probabilities:
            theirs = card["probabilities"](*example.segments).numpy()
            error = np.abs(theirs - np.array(probabilities, float)).max()
            parity("exported finetuned runs: class probabilities", error, TOLERANCE)
        if exported.name in ("graded", "regression"):
            score = card["score"](*example.segments)
            np.testing.assert_allclose(score, float(prediction), atol=1e-4, rtol=0)


def test_pipeline_gives_the_runs_probabilities(exported, glue, choices, parity):
    if exported.name not in ("single", "pair"):
        pytest.skip("a pipeline takes one stream of an example")
    classify = transformers.pipeline(
        "text-classification", model=str(exported.folder), top_k=None, batch_size=3
    )
    table = (exported.workdir / "predictions/validation.tsv").read_text().splitlines()
    columns = table[0].split("\t")[3:]
    examples = read_examples(exported, glue, choices)
    texts = [dict(zip(("text", "text_pair"), row.segments, strict=False)) for row in examples]
    for line, classes in zip(table[1:], classify(texts), strict=True):
        theirs = {f"p({entry['label']})": entry["score"] for entry in classes}
        ours = np.array(line.split("\t")[3:], float)
        error = np.abs(ours - [theirs[column] for column in columns]).max()
        parity("exported finetuned runs: probabilities of the pipeline", error, TOLERANCE)


def test_pipeline_keeps_the_space_after_the_prompt(pretrained, tmp_path):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    generate = transformers.pipeline("text-generation", model=str(tmp_path / "out"))
    for prompt in ("the old", "\nthe old"):
        (answer,) = generate(prompt, max_new_tokens=6, do_sample=False)
        assert re.match(rf"{prompt} \S", answer["generated_text"])


def read_examples(exported, glue, choices) -> list:
    path = choices if exported.name == "choice" else glue
    task = TASKS[exported.kind.task]
    return sources.load(task, "validation", source="files", path=str(path), max_bad_rows=0).examples


def test_bias_of_the_similarity_head_is_not_zero(finetuned):
    """With a bias of 0 the comparison of predictions would not test that it is kept."""
    run = reader.open_saved(str(finetuned("similarity")), "--workdir")
    assert np.abs(run.params(run.step)["clf"]["bias"]).max() > 1e-3


def test_labels_are_those_of_the_predictions(exported):
    if exported.name not in ("single", "pair", "similarity"):
        pytest.skip("the classes have no names")
    labels = transformers.AutoConfig.from_pretrained(exported.folder).id2label
    table = (exported.workdir / "predictions/validation.tsv").read_text()
    columns = table.splitlines()[0].split("\t")
    assert [f"p({labels[number]})" for number in range(2)] == columns[3:]


def test_special_tokens_in_a_text_give_the_stream(exported, glue, choices):
    run = reader.open_saved(str(exported.workdir), "--workdir")
    template = exported.kind.template
    texts = read_examples(exported, glue, choices)[0].segments[: template.count("{}")]
    segments, context = run.tokenizer.encode(texts), run.streams["context"]
    stream, *_ = formats.streams(run.streams["format"], segments, run.tokenizer, context, answers=1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported.folder)
    assert tokenizer(template.format(*texts), add_special_tokens=False).input_ids == stream
    if template.count("{}") < 3:
        assert tokenizer(*texts).input_ids == stream


def test_finetuned_run_is_also_a_language_model(exported):
    run = reader.open_saved(str(exported.workdir), "--workdir")
    params = run.params(run.step)
    params.pop("clf")
    token_rows = run.tokenizer.vocab_size + 3
    ids = np.random.default_rng(0).integers(0, token_rows, size=(2, run.sizes["context"]))
    outputs = language_model(run.sizes, token_rows)(params, ids)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported.folder).eval()
    assert max_error(outputs, model, ids)[0] <= TOLERANCE


def test_weights_replace_the_bias():
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.02, (768, 3)).astype(np.float32)
    bias = np.array([0.3, -0.2, 0.05], np.float32)
    scale = random.normal(1, 0.1, 768).astype(np.float32)
    shift = random.normal(0, 0.1, 768).astype(np.float32)
    weight, error = hf_heads.fold_bias(kernel, bias, scale, shift)
    assert weight.dtype == np.float32 and error <= TOLERANCE
    weight, error = hf_heads.fold_bias(kernel, 0 * bias, scale, shift)
    np.testing.assert_array_equal(weight, kernel.T)
    assert error <= TOLERANCE
    # Without a shift no direction of the states is constant, and with a small one it is too weak.
    assert hf_heads.fold_bias(kernel, bias, scale, 0 * shift)[1] == np.inf
    assert hf_heads.fold_bias(kernel, bias, scale, 1e-7 * shift)[1] > TOLERANCE
    one_zero = scale * (np.arange(768) > 0)
    assert hf_heads.fold_bias(kernel, bias, one_zero, shift)[1] == np.inf


def test_bias_that_weights_cannot_replace_is_refused(finetuned, tmp_path, monkeypatch):
    monkeypatch.setattr(hf_heads, "TOLERANCE", 0.0)
    message = (
        "^--workdir: .* has a head with a bias, OpenAIGPTForSequenceClassification has none, and "
        "the weights cannot replace it .* give --lm to leave the head out$"
    )
    with pytest.raises(UserError, match=message):
        huggingface.export_run(str(finetuned("pair")), str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_lstm_is_refused(pretrained, tmp_path):
    message = "^--workdir: .* is a run of the lstm, which transformers does not have"
    with pytest.raises(UserError, match=message):
        huggingface.export_run(str(pretrained("lstm")), str(tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_option_of_another_model_is_refused(pretrained, tmp_path):
    run = shutil.copytree(pretrained(), tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["model"]["pre_norm"] = True
    (run / "config.json").write_text(json.dumps(config))
    message = r"^--workdir: .*/run has model\.pre_norm=True, but openai-gpt has only False"
    with pytest.raises(UserError, match=message):
        huggingface.export_run(str(run), str(tmp_path / "out"))


OUTPUTS = {
    "full": "^--output: .*full exists and is not an empty folder; name another",
    "": "^--output: is missing",
    "full/file/out": "^--output: .*/out cannot be written .*; name another folder",
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_bad_output_is_refused(pretrained, tmp_path, output):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    target = str(tmp_path / output) if output else ""
    with pytest.raises(UserError, match=OUTPUTS[output]):
        huggingface.export_run(str(pretrained()), target)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def run_command(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gpt1_jax.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_export_command_prints_the_files(pretrained, tmp_path):
    (tmp_path / "out").mkdir()
    ended = run_command("export", f"--workdir={pretrained()}", f"--output={tmp_path}/out")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{tmp_path}/out: README.md, config.json")


def test_import_command_refuses_a_missing_folder(tmp_path):
    ended = run_command("import", "--source=nowhere", f"--workdir={tmp_path}/run")
    assert ended.returncode == 2
    assert ended.stderr == (
        "gpt1_jax: --source: 'nowhere' is not a folder; name one with config.json and "
        "model.safetensors\n"
    )
