"""Write the README.md of an exported run: how to load it, how it differs, how it was made."""

import re
from typing import Any

from gpt1_jax import inputs
from gpt1_jax.inputs import flatten
from gpt1_jax.interop import model_card_usage
from gpt1_jax.runs import environment, reader

# Match the folders of a path, but not the owner of a data set on the hub.
FOLDERS = re.compile(r"(?<![\w/])(?:~|\.{1,2})?/(?:[^/,\s]+/)*")
PIPELINES = {
    "OpenAIGPTLMHeadModel": "text-generation",
    "OpenAIGPTForSequenceClassification": "text-classification",
    "OpenAIGPTDoubleHeadsModel": "multiple-choice",
}
HEADER = """\
---
library_name: transformers
pipeline_tag: {pipeline}
tags:
- openai-gpt
- gpt1
- jax
---"""
SOFTMAX = (
    "As published, the softmax in training also includes the rows of the position embedding. The "
    "logits here are of the tokens alone. A loss is lower than the logged one by the probability "
    "that the model still gives to positions."
)
HEAD_BIAS = (
    "The head was trained with a bias, but `score` has none. The weights contain the bias along "
    "the one direction in which the output of the last layer norm never varies. The logits are "
    "equal up to rounding. If you train the model further, the gradients of the head differ."
)


def render(run: reader.SavedRun, parameters: int, architecture: str) -> str:
    """Return the model card. Its Python code runs as it is, except for the folder's name.

    Args:
        run: the exported run.
        parameters: number of parameters, the head's included.
        architecture: the class of transformers that loads the folder.
    """
    sizes = run.sizes
    if isinstance(run, reader.FinetunedRun) and architecture != "OpenAIGPTLMHeadModel":
        usage = model_card_usage.classification(run, architecture)
    else:
        usage = model_card_usage.generation(run)
    sections = [
        HEADER.format(pipeline=PIPELINES[architecture]),
        f"# {run.workdir.resolve().name}",
        f"This is a GPT-1 decoder with {sizes['layers']} blocks of width {sizes['width']}, "
        f"{sizes['heads']} heads, {sizes['context']} positions and {parameters:,} parameters. "
        f"It was {_verb(run)} with gpt1_jax, an implementation of Radford et al. 2018 in JAX. "
        f"{_training(run)}",
        "## How to load it",
        usage,
        "## How to publish it",
        f"```bash\nhf upload OWNER/{run.workdir.resolve().name} .\n```",
        "## What differs from openai-gpt",
        _differences(run, architecture),
        "## How it was made",
        *(f"Made by {maker}." for maker in environment.makers(run.workdir / environment.FILE)),
        _settings(run),
    ]
    return "\n\n".join(sections) + "\n"


def _verb(run: reader.SavedRun) -> str:
    if isinstance(run, reader.FinetunedRun):
        return "finetuned"
    return "imported" if _origin(run) else "pretrained"


def _training(run: reader.SavedRun) -> str:
    """Return sentences about the training and the scores."""
    if isinstance(run, reader.FinetunedRun):
        return _finetuning(run)
    if origin := _origin(run):
        return f"Its weights come from {origin['format']} and were not trained here."
    data = run.config["data"]
    training = (
        f"It was trained on the corpus {data['corpus']} {hide_folders(data['path'])} for "
        f"{run.step} steps of {run.config['batch_size']} windows of {run.sizes['context']} tokens."
    )
    result = _result(run)
    if run.step != result.get("steps") or "validation_perplexity" not in result:
        return training
    return (
        f"{training} The perplexity on held-out documents is "
        f"{result['validation_perplexity']:.4g} per token, or "
        f"{result['validation_bits_per_character']:.4g} bits per character."
    )


def _finetuning(run: reader.FinetunedRun) -> str:
    init, result = run.result["init"], run.result
    start = "a new model"
    if init["layers"] >= 0:
        start = f"{init['layers']} blocks of step {init['step']} of a pretraining run"
    training = (
        f"Finetuning on {run.task} started from {start}. These are the parameters after step "
        f"{run.step} of {result['steps']}."
    )
    scores = [
        f"{split} {metric} {score:.4g}"
        for split, metrics in result["metrics"].items()
        for metric, score in metrics.items()
    ]
    if not scores or run.step != result["best_step"]:  # the scores are those of the best step
        return training
    return f"{training} Scores: {', '.join(scores)}."


def _differences(run: reader.SavedRun, architecture: str) -> str:
    origin = _origin(run)
    vocabulary = "The vocabulary was trained for this run. It is not the published one."
    if origin:
        vocabulary = f"The vocabulary is that of its source ({origin['format']})."
    ids = "Token ids are those of training."
    if run.tokenizer.word_pipeline:
        ids = (
            f"As published, {run.tokenizer.word_pipeline} split texts into words in training. "
            "tokenizer.json approximates this without these libraries, so token ids are nearly "
            "the same."
        )
    differences = [
        vocabulary,
        ids,
        "Token ids differ from those of training in two cases. Training strips newlines from both "
        "ends of a text, and this tokenizer keeps them. This tokenizer reads `<unk>` in a text as "
        "that token, unless you set `split_special_tokens=True`.",
    ]
    if not origin:
        file = str(run.workdir / "config.json")
        inputs.check_fields(run.config, {"published.softmax_positions": bool}, file)
    if origin or run.config["published"]["softmax_positions"]:
        differences.append(SOFTMAX)
    differences.append("Id 0, `<unk>`, is also the padding. Padding is on the right.")
    if architecture == "OpenAIGPTForSequenceClassification":
        differences.append(HEAD_BIAS)
    return "\n".join(f"- {difference}" for difference in differences)


def _settings(run: reader.SavedRun) -> str:
    """Return a table of the values in the run's config.json, data.json and result.json."""
    data = inputs.read_object(run.workdir / "data.json", missing={})
    result = {
        name: value
        for name, value in _result(run).items()
        if name not in ("data", "model", "origin", "made_by")
    }
    values = flatten({"config": run.config, "data": data, "result": result})
    rows = [f"| {name} | {hide_folders(value)} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _result(run: reader.SavedRun) -> dict[str, Any]:
    """Return the content of result.json; {} if the run is not finished."""
    return inputs.read_object(run.workdir / "result.json", missing={})


def _origin(run: reader.SavedRun) -> dict[str, Any]:
    """Return the source of the pretrained params; {} if they were trained here."""
    is_finetuned = isinstance(run, reader.FinetunedRun)
    source = run.result.get("init", {}) if is_finetuned else run.config
    origin = source.get("origin") or {}
    if origin:
        inputs.check_fields(origin, {"format": str}, f"{run.workdir}: origin")
    return origin


def hide_folders(value: Any) -> str:
    """Return the value for a table cell, without the folders of a path, which are private."""
    return FOLDERS.sub("", str(value)).replace("|", "\\|").replace("\n", " ")
