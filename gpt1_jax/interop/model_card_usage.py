"""Write the section of a model card that shows how to load the model, with Python code."""

from gpt1_jax.runs import reader

LOADING = """\
import torch
from transformers import {imports}

folder = "."  # this folder, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {architecture}.from_pretrained(folder).eval()
"""
GENERATION = """\
from transformers import pipeline

folder = "."  # this folder, or its name on the hub
generator = pipeline("text-generation", model=folder)
print(generator("{prompt}", max_new_tokens=20, do_sample=False)[0]["generated_text"])
"""
CLASSIFIER = """
classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
print(classifier({example}))
"""
SEGMENT = """
special_tokens = ["_start_", "_delimiter_", "_classify_"]
start, delimiter, extract = tokenizer.convert_tokens_to_ids(special_tokens)


def segment(text):
    text = text.strip()
    ids = tokenizer(text, split_special_tokens=True, add_special_tokens=False).input_ids
    return ids[:{segment_limit}]
"""
SINGLE = """

@torch.no_grad()
def probabilities(text):
    stream = [start, *segment(text), extract]
    return model(torch.tensor([stream])).logits[0].softmax(-1)
"""
LOGITS = """

@torch.no_grad()
def logits(first, second):
    stream = [start, *segment(first), delimiter, *segment(second), extract]
    return model(torch.tensor([stream])).logits[0]
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
def probabilities(*texts):  # texts of the context ({contexts}), then the answers
    ids = [segment(text) for text in texts]
    context, answers = ids[:{contexts}], ids[{contexts}:]
    longest = max(map(len, answers))
    context[0] = context[0][: {stream_limit} - sum(map(len, context[1:])) - longest]
    logits = []
    for answer in answers:
        stream = [start, *sum(context, []), delimiter, *answer, extract]
        output = model(torch.tensor([[stream]]), mc_token_ids=torch.tensor([[len(stream) - 1]]))
        logits.append(output.mc_logits[0])
    return torch.cat(logits).softmax(-1)
"""
STREAMS = {
    "single": "`_start_ text _classify_`",
    "pair": "`_start_ first _delimiter_ second _classify_`",
    "similarity": "`_start_ first _delimiter_ second _classify_`, and the same with first and "
    "second exchanged",
    "choice": "`_start_ context _delimiter_ answer _classify_`, once for each answer",
}

EXAMPLES = {
    "single": '"the old house"',
    "pair": '{"text": "the old house", "text_pair": "a house"}',
    "similarity": '{"text": "the old house", "text_pair": "a house"}',
}
SEQUENCE = "OpenAIGPTForSequenceClassification"


def _code_block(*parts: str) -> str:
    return "```python\n" + "".join(parts) + "```"


def generation(run: reader.SavedRun) -> str:
    """Return code that generates text, and the rules for prompts."""
    prompt, rule = "the old house", ""
    if run.tokenizer.newline is not None:
        prompt = r"\nthe old house"
        rule = (
            "A text and each of its paragraphs begin after a newline, so begin a prompt with a "
            "newline. The newline's token is the model's `bos_token_id`. It is not a special "
            "token of the tokenizer, because decoding would drop it. For lm-eval, add "
            f"`prefix_token_id={run.tokenizer.newline}` to its model_args, and begin a task's "
            "text with the newline. "
        )
    code = _code_block(GENERATION.format(prompt=prompt))
    return (
        f"{code}\n\n{rule}No token ends a text. Prompt and answer together can have "
        f"{run.sizes['context']} tokens. A decoded text begins with the space that separates it "
        "from a prompt."
    )


def classification(run: reader.FinetunedRun, architecture: str) -> str:
    """Return code that predicts with the run's head, and the form of the input.

    Args:
        run: the exported run.
        architecture: the class of transformers that loads the folder.
    """
    task = run.streams
    segment_limit = task["context"] // 2 - 2  # see text/formats.py
    code = "".join((SEGMENT, *_functions(run))).format(
        segment_limit=segment_limit,
        stream_limit=task["context"] - 3,  # without the three special tokens
        contexts=task["contexts"],
        bins=task["bins"],
    )
    classifies = architecture == SEQUENCE
    sentences = [
        f"The input is {STREAMS[task['format']]}. The tokenizer adds the special tokens, to one "
        "text or to two, unless you give `add_special_tokens=False`.",
        "White space at the ends of a text is removed, and each text keeps its first "
        f"{segment_limit} tokens.",
        f"The model has {run.sizes['context']} positions, as many as the longest example of the "
        "data needed.",
    ]
    if task["labels"]:
        labels = ", ".join(task["labels"])
        sentences.append(f"The probabilities are those of {labels}, in this order.")
    sentences.append(
        "`AutoModelForCausalLM` loads the same folder as a language model, without the head: then "
        "give `add_special_tokens=False`."
    )
    if classifies:
        same = "gives the same" if task["format"] != "similarity" else "takes one order alone"
        sentences.append(
            f"The pipeline {same}, but it keeps newlines at the ends of a text. For texts that are "
            f"longer than the model, give it `truncation=True`."
        )
        code += CLASSIFIER.format(example=EXAMPLES[task["format"]])
    imports = f"AutoTokenizer, {architecture}" + ", pipeline" * classifies
    block = _code_block(LOADING.format(imports=imports, architecture=architecture), code)
    return f"{block}\n\n{' '.join(sentences)}"


def _functions(run: reader.FinetunedRun) -> list[str]:
    """Return the templates of the functions that predict in the task's format."""
    task = run.streams
    if task["format"] == "similarity":
        if run.config["regression"]:
            return [LOGITS, REGRESSION]
        return [LOGITS, SIMILARITY, GRADED] if task["bins"] else [LOGITS, SIMILARITY]
    return {"single": [SINGLE], "pair": [LOGITS, PAIR], "choice": [CHOICE]}[task["format"]]
