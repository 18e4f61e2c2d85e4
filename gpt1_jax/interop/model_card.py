"""The README.md of an exported run: what it is, how it is loaded, how it was trained, in what it differs from openai-gpt."""

import re
from typing import Any

from gpt1_jax import storage
from gpt1_jax.runs import reader
from gpt1_jax.runs.lifecycle import flatten

FOLDERS = re.compile(
    r"(?<![\w/])(?:~|\.{1,2})?/(?:[^/,\s]+/)*"
)  # but not the owner of a data set on the hub
PIPELINES = {
    "OpenAIGPTLMHeadModel": "text-generation",
    "OpenAIGPTForSequenceClassification": "text-classification",
    "OpenAIGPTDoubleHeadsModel": "multiple-choice",
}


def text(run: reader.SavedRun, parameters: int, architecture: str) -> str:
    """The whole card. Its Python runs as it stands, but for the folder's name.

    Args:
        parameters: how many numbers the model has.
        architecture: the class of transformers that the folder is for.
    """
    sizes = run.sizes
    made = (
        "finetuned"
        if isinstance(run, reader.FinetunedRun)
        else "imported"
        if _origin(run)
        else "pretrained"
    )
    body = f"{sizes['layers']} blocks of width {sizes['width']}, {sizes['heads']} heads, {sizes['context']} positions"
    sections = [
        f"---\nlibrary_name: transformers\npipeline_tag: {PIPELINES[architecture]}\ntags:\n- openai-gpt\n- gpt1\n- jax\n---",
        f"# {run.workdir.resolve().name}",
        f"A GPT-1 decoder ({body}; {parameters:,} parameters), {made} in JAX by gpt1_jax, after Radford et al. 2018. {_training(run)}",
        "## How to load it",
        *(
            [_generation(run)]
            if architecture == "OpenAIGPTLMHeadModel"
            else _classification(run, architecture)
        ),
        "## What differs from openai-gpt",
        _differences(run, architecture),
        "## How it was made",
        _facts(run),
    ]
    return "\n\n".join(sections) + "\n"


def labels(run: reader.FinetunedRun, outputs: int) -> list[str]:
    """A name for each of the head's outputs."""
    if run.config["regression"]:
        return ["score"]
    return run.streams["labels"] or [str(score) for score in range(outputs)]


def _training(run: reader.SavedRun) -> str:
    """What was learnt and how well, in sentences."""
    if isinstance(run, reader.FinetunedRun):
        init = run.result["init"]
        start = (
            f"From update {init['step']} of a pretraining run, {init['layers']} transferred blocks"
            if init["layers"] >= 0
            else "From scratch"
        )
        facts = f"{start}, finetuned on {run.task}, update {run.step} of {run.result['steps']}."
        scores = [
            f"{split} {name} {value:.4g}"
            for split, values in run.result["metrics"].items()
            for name, value in values.items()
        ]  # of the best update
        return facts + (
            f" Scores: {', '.join(scores)}."
            if scores and run.step == run.result["best_step"]
            else ""
        )
    if origin := _origin(run):
        return f"Its weights come from elsewhere ({origin['format']}) and were not trained here."
    windows = f"{run.config['batch_size']} windows of {run.sizes['context']} tokens"
    facts = f"Trained on the corpus {run.config['data']['corpus']} {_shown(run.config['data']['path'])}, {run.step} updates of {windows}."
    result = _result(run)
    if run.step != result.get("steps") or "validation_perplexity" not in result:
        return facts
    perplexity, bits = result["validation_perplexity"], result["validation_bits_per_character"]
    return (
        facts
        + f" Perplexity on held-out documents: {perplexity:.4g} a token, or {bits:.4g} bits a character."
    )


def _result(run: reader.SavedRun) -> dict[str, Any]:
    path = run.workdir / "result.json"
    return storage.read_json(path, missing={})


LOADING = """\
import torch
from transformers import AutoTokenizer, {name}

folder = "."  # this folder, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {name}.from_pretrained(folder).eval()
"""


def _code(*parts: str) -> str:
    return "```python\n" + "\n".join(parts) + "```"


def _generation(run: reader.SavedRun) -> str:
    opening, tokenizer = "", run.tokenizer
    if tokenizer.newline is not None:
        opening = (
            "A text, and each of its paragraphs, begins after a newline: open a prompt with one. The newline's token is the model's "
            "`bos_token_id`, and no special token of the tokenizer, which would drop it in decoding. lm-eval wants "
            f"`prefix_token_id={tokenizer.newline}` among its model_args, and the newline at the beginning of a task's text. "
        )
    writing = (
        f'prompt = tokenizer("{opening and chr(92) + "n"}the old house", return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]))\n"
    )
    room = f"No token ends a text. Prompt and answer have room for {run.sizes['context']} tokens together."
    return f"{_code(LOADING.format(name='AutoModelForCausalLM'), writing)}\n\n{opening}{room}"


SEGMENT = """\
start, delimiter, extract = tokenizer.convert_tokens_to_ids(["_start_", "_delimiter_", "_classify_"])


def segment(text):
    return tokenizer(text.strip(), split_special_tokens=True).input_ids[:{most}]

"""
SINGLE = """
@torch.no_grad()
def probabilities(text):
    return model(torch.tensor([[start, *segment(text), extract]])).logits[0].softmax(-1)
"""
LOGITS = """
@torch.no_grad()
def logits(first, second):
    return model(torch.tensor([[start, *segment(first), delimiter, *segment(second), extract]])).logits[0]

"""
PAIR = """
def probabilities(first, second):
    return logits(first, second).softmax(-1)
"""
SIMILARITY = """
def probabilities(first, second):  # the logits of both orders are added
    return (logits(first, second) + logits(second, first)).softmax(-1)
"""
GRADED = """

def score(first, second):
    return probabilities(first, second) @ torch.arange({bins}.0)
"""
REGRESSION = """
def score(first, second):  # the outputs of both orders are added
    return (logits(first, second) + logits(second, first))[0].clip(0, {bins} - 1)
"""
CHOICE = """
@torch.no_grad()
def probabilities(*texts):  # {contexts} of the context, then the answers
    ids = [segment(text) for text in texts]
    context, answers = ids[:{contexts}], ids[{contexts}:]
    context[0] = context[0][: {room} - sum(map(len, context[1:])) - max(map(len, answers))]
    streams = [[start, *sum(context, []), delimiter, *answer, extract] for answer in answers]
    outputs = [model(torch.tensor([[ids]]), mc_token_ids=torch.tensor([[len(ids) - 1]])) for ids in streams]
    return torch.cat([output.mc_logits[0] for output in outputs]).softmax(-1)
"""
SHAPES = {
    "single": "`_start_ text _classify_`",
    "pair": "`_start_ first _delimiter_ second _classify_`",
    "similarity": "`_start_ first _delimiter_ second _classify_` and the same with first and second exchanged",
    "choice": "`_start_ context _delimiter_ answer _classify_`, once for each answer",
}


def _classification(run: reader.FinetunedRun, architecture: str) -> list[str]:
    task = run.streams
    filled = {"most": task["context"] // 2 - 2, "max_targets": task["context"] - 3, **task}
    if task["format"] == "similarity":
        parts = (
            [LOGITS, REGRESSION]
            if run.config["regression"]
            else [LOGITS, SIMILARITY, GRADED if task["bins"] else ""]
        )
    else:
        parts = {"single": [SINGLE], "pair": [LOGITS, PAIR], "choice": [CHOICE]}[task["format"]]
    code = "".join(part.format(**filled) for part in (SEGMENT, *parts))
    named = (
        f" Probabilities are those of {', '.join(task['labels'])}, in this order."
        if task["labels"]
        else ""
    )
    return [
        _code(LOADING.format(name=architecture), code),
        f"The input is {SHAPES[task['format']]}; written as text, the tokenizer reads the marks, too. Texts are stripped of white space "
        f"at their ends, and each keeps its first {filled['most']} tokens. There are {run.sizes['context']} positions, which the longest "
        f"example of the data needed.{named} `AutoModelForCausalLM` loads the same folder as the language model inside.",
    ]


SOFTMAX = (
    "As published, the softmax in training runs over the rows of positions, too. Logits here are of the tokens alone: a loss comes out "
    "lower than the one that was logged, by what the model still gives to positions."
)


def _origin(run: reader.SavedRun) -> dict[str, Any]:
    """Where the pretrained params were taken from; {} where they were trained here."""
    return (run.result["init"] if isinstance(run, reader.FinetunedRun) else run.config).get(
        "origin", {}
    )


def _differences(run: reader.SavedRun, architecture: str) -> str:
    origin = _origin(run)
    whose = (
        f"that of its source ({origin['format']})"
        if origin
        else "the run's own, not the published one"
    )
    same = "Ids are those of training"
    if run.tokenizer.word_pipeline:
        same = f"Texts became words by {run.tokenizer.word_pipeline}, as published; tokenizer.json comes near without them. Ids are nearly the same"
    lines = [
        f"The vocabulary is {whose}. {same}, but that a newline at either end of a text stays, which training strips, and that `<unk>` in "
        "a text is read as that token, unless `split_special_tokens=True`.",
        *([SOFTMAX] if origin or run.config["published"]["softmax_positions"] else []),
        "Id 0, `<unk>`, also pads, on the right.",
    ]
    if architecture == "OpenAIGPTForSequenceClassification":
        lines.append(
            "The head was trained with a bias, and `score` has none: the bias is in its weights, along the one direction in which the "
            "states of the last layer norm do not vary. Logits are equal up to rounding; trained further, it learns with other gradients."
        )
    return "\n".join(f"- {line}" for line in lines)


def _facts(run: reader.SavedRun) -> str:
    """Every setting and number of the run's three files, as a table."""
    result = {
        name: value
        for name, value in _result(run).items()
        if name not in ("data", "model", "origin")
    }
    data = run.workdir / "data.json"
    files = {"config": run.config, "data": storage.read_json(data, missing={}), "result": result}
    rows = [f"| {name} | {_shown(value)} |" for name, value in flatten(files).items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _shown(value: Any) -> str:
    """A value in a table; of each folder on somebody's machine the last part."""
    return FOLDERS.sub("", str(value)).replace("|", "\\|").replace("\n", " ")
