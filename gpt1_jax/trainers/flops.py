"""Estimate the floating-point operations of runs."""

import functools
import math
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.analysis.report import paper
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.task import Task, WordCount
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.registry import TASKS

TOKENS_PER_WORD = 1.3  # of a large BPE on English; a smaller BPE gives more tokens
TRAINING_PASSES = 3  # the cost of a training step in forward passes


class _SplitSize(NamedTuple):
    """Describe the size of one split: its rows, and the mean length of an example."""

    rows: int
    words: WordCount


def body_model(pretraining: ConfigDict, run: ConfigDict | None = None):
    """Return the body that a pretraining configuration describes; `run` may set other sizes."""
    sizes = pretraining.model.to_dict()
    if run is not None and "model" in run:
        sizes |= {name: size for name, size in run.model.to_dict().items() if size is not None}
    return factory.make_body(sizes.pop("name"), pretraining.tokenizer.vocab_size, sizes)


def softmax_flops(body) -> int:
    """Return the operations of the language model's logits for one token."""
    return 2 * body.width * body.vocab_size


def run_flops(config: ConfigDict, pretraining: ConfigDict, run: ConfigDict) -> float:
    """Return the floating-point operations of a run.

    Args:
        config: configuration of the ablation.
        pretraining: configuration of the pretraining run that the run is, or starts from.
        run: configuration of the run.
    """
    body = body_model(pretraining, run)
    if run.trainer == "pretrain":
        tokens = run.steps * run.batch_size * body.context
        return float(TRAINING_PASSES) * tokens * (body.flops(body.context) + softmax_flops(body))
    if run.trainer == "zero_shot":
        checkpoints = len(paper.zero_shot_steps(pretraining.steps))
        return _probe_flops(config, body, run) * checkpoints
    return _finetuning_flops(config, body, run)


def _probe_flops(config: ConfigDict, body, run: ConfigDict) -> float:
    """Return the operations of all probes of one checkpoint."""
    limit = run.data.examples or (config.world.dev if config.world.words else 0)
    total = 0.0
    for name in run.tasks or [name for name in TASKS if TASKS[name].probe]:
        task = TASKS[name]
        # With a threshold, an example is one stream. Otherwise each answer is a stream.
        choices = 1 if task.probe.threshold else len(task.labels)
        for split in task.probe_splits:
            rows, words = _split_size(task, split, run.data, limit)
            length = min(_tokens(words.context + words.answer), body.context)
            total += float(rows * choices * length * (body.flops(length) + softmax_flops(body)))
    return total


def _finetuning_flops(config: ConfigDict, body, run: ConfigDict) -> float:
    """Return the operations of a finetuning run with all its evaluations."""
    task, world = TASKS[run.task], config.world

    def forward(split: str, limit: int, logits: int = 0) -> float:
        rows, words = _split_size(task, split, run.data, limit)
        streams, length = stream_shape(task, words, body.context, run.share_prefix)
        return float(rows * streams * length * (body.flops(length) + logits))

    train_limit = run.data.examples or (world.train if world.words else 0)
    limit = world.dev if world.words else 0
    logits = softmax_flops(body) if run.lm_coef else 0
    training = TRAINING_PASSES * run.epochs * forward("train", train_limit, logits)
    validation = sum(forward(split, limit) for split in task.validation)
    test = sum(forward(split, limit) for split in task.test) if run.data.test else 0.0
    return training + (run.epochs + 1) * validation + test


def _split_size(task: Task, split: str, data: ConfigDict, limit: int) -> _SplitSize:
    """Return the size of a split, at most `limit` rows unless 0. Download nothing."""
    size = _read_split(task.name, split, data.source, data.path) if data.path else None
    size = size or _SplitSize(task.sizes.get(split, 0), task.typical_words)
    return size._replace(rows=min(size.rows, limit)) if limit else size


@functools.lru_cache(maxsize=128)
def _read_split(name: str, split: str, source: str, path: str) -> _SplitSize | None:
    """Return the size of a split in the folder `path`; None if the split cannot be read."""
    task = TASKS[name]
    try:
        examples = sources.load(
            task, split, source=source, path=path, max_bad_rows=1_000, log_line=lambda line: None
        ).examples
    except UserError:
        return None
    words = np.array(
        [[len(text.split()) for text in example.segments] for example in examples[:1_000]], float
    )
    contexts = task.contexts if task.format == "choice" else task.texts
    answer = words[:, contexts:].mean() if task.format == "choice" else 0.0
    return _SplitSize(len(examples), WordCount(words[:, :contexts].sum(axis=1).mean(), answer))


def stream_shape(task: Task, words: WordCount, context: int, share_prefix: bool) -> tuple[int, int]:
    """Return the rows of one example and the tokens of one row."""
    if task.format == "choice" and share_prefix:
        return 1, _tokens(words.context + len(task.labels) * words.answer)
    streams = {"choice": len(task.labels), "similarity": 2}.get(task.format, 1)
    return streams, min(_tokens(words.context + words.answer), context)


def _tokens(words: float) -> int:
    """Return the estimated tokens of a stream, with its three special tokens."""
    return math.ceil(words * TOKENS_PER_WORD) + 3
