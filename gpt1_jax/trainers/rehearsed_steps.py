"""Describe the training step of a run by shapes alone, so that it can be compiled but not run."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gpt1_jax import inputs
from gpt1_jax.datasets.task import Task
from gpt1_jax.engine import optim, order, packing, transfer
from gpt1_jax.models import factory, fused_attention
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import bpe
from gpt1_jax.trainers import classification, finetune_data, flops, language_model
from gpt1_jax.trainers.optim_config import OptimConfig, optim_config
from gpt1_jax.trainers.pretrained import body_sizes

PAPER_VOCAB_SIZE = 40_478  # of a finetuning run without a pretraining run


class RehearsedStep(NamedTuple):
    """Hold what a training step consists of.

    Attributes:
        loss: (params, batch, key) -> (loss, metrics) of one device's rows.
        optim_config: the settings of the optimizer.
        frozen: slash-joined param name -> number of first rows that are not trained.
        params: the shapes of the params.
        batch: the number of parts of the global batch -> the shapes of the batch.
        rows: the examples of the global batch.
        flops: the floating-point operations of the step, on all devices together.
        steps: the steps of the run.
        description: the shape of the batch and its origin.
    """

    loss: Callable
    optim_config: OptimConfig
    params: Mapping
    batch: Callable[[int], Mapping[str, Any]]
    rows: int
    flops: float
    steps: int
    description: str
    frozen: Mapping[str, int] = MappingProxyType({})


def pretraining(config: ConfigDict) -> RehearsedStep:
    """Return the step of a pretraining run. Read at most the file config.tokenizer.path."""
    path, vocab_size = config.tokenizer.path, config.tokenizer.vocab_size
    if path:
        vocab_size = bpe.load(inputs.path("config.tokenizer.path", path)).vocab_size
    sizes = _on_target(config.model.to_dict())
    model, loss, settings = language_model.objective(config, sizes, vocab_size)
    context, rows = config.model.context, config.batch_size
    tokens = jax.ShapeDtypeStruct((rows, context + 1), np.int32)
    operations = model.body.flops(context) + flops.softmax_flops(model.body)
    return RehearsedStep(
        loss,
        settings,
        factory.param_shapes(model, np.zeros((1, context), np.int32)),
        lambda parts: {"tokens": tokens},
        rows,
        float(flops.TRAINING_PASSES) * rows * context * operations,
        config.steps,
        f"{rows} x {context} tokens, vocabulary {vocab_size:,} (config.batch_size, "
        f"config.model.context, config.tokenizer.{'path' if path else 'vocab_size'})",
    )


def _on_target(model: dict[str, Any]) -> dict[str, Any]:
    """Return the name and the sizes of a body, with the attention that a target selects.

    config.model.attention=auto looks at this machine. All targets have the fused kernels.
    """
    has_kernels = "heads" in model and fused_attention.is_supported(model["width"], model["heads"])
    if has_kernels and {"attention": "auto", **model}["attention"] == "auto":
        return {**model, "attention": "fused"}
    return model


class _Source(NamedTuple):
    """Hold what finetuning takes from pretraining: its model, vocabulary and tokenizer."""

    model: dict[str, Any]
    vocab_size: int
    tokenizer: bpe.Tokenizer | None  # None without a pretraining run


class _Batches(NamedTuple):
    """Hold the training examples, those of the largest batch, and the longest stream of the run."""

    train: packing.PackedExamples
    indices: Sequence[int] | np.ndarray
    context: int
    steps: int
    origin: str


def finetuning(config: ConfigDict) -> RehearsedStep:
    """Return the step of a finetuning run on its largest batch.

    With config.init.path and config.data.path, the batch is that of the run. Without one of them,
    all examples have the typical length of the task. Without config.init.path, the sizes are those
    of the paper.

    Raises:
        UserError: the task, the pretraining run or the data does not fit the config.
    """
    task, source = finetune_data.find_task(config.task, config.regression), _source(config)
    batches = _batches(config, task, source)
    classifier = classification.build(
        config, task, source.model, source.vocab_size, batches.context
    )
    tokens, extract = np.zeros((1, 1, 1), np.int32), np.zeros((1, 1), np.int32)
    params = factory.param_shapes(classifier, tokens, extract)
    warmup = config.optim.warmup_fraction
    settings = optim_config(config, optim.warmup_linear, batches.steps, warmup)

    def shapes(parts):
        batch = finetune_data.batch_of(batches.indices, batches.train, parts, config.pack_rows)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)

    parts, rows, length = shapes(1)["tokens"].shape
    logits = 2 * classifier.body.width * source.vocab_size if config.lm_coef else 0
    operations = flops.TRAINING_PASSES * (classifier.body.flops(length) + logits)
    return RehearsedStep(
        classification.loss(classifier, config.lm_coef, config.published.softmax_positions),
        settings,
        params,
        shapes,
        config.batch_size,
        float(operations) * parts * rows * length,
        batches.steps,
        f"{config.batch_size} examples in {parts * rows} rows of {length} tokens, vocabulary "
        f"{source.vocab_size:,} ({batches.origin})",
        _frozen(config, source, params) if config.init.frozen else {},
    )


def _source(config: ConfigDict) -> _Source:
    """Return what the run takes from pretraining; without config.init.path, the paper's sizes."""
    model = config.model.to_dict()
    name = model["name"]
    if config.init.path:
        run = PretrainedRun(config.init.path)
        sizes = {"name": name, **body_sizes(run, model)}
        return _Source(_on_target(sizes), run.tokenizer.vocab_size, run.tokenizer)
    given = {size: value for size, value in model.items() if value is not None}
    return _Source(_on_target(factory.default_sizes(name) | given), PAPER_VOCAB_SIZE, None)


def _batches(config: ConfigDict, task: Task, source: _Source) -> _Batches:
    """Return the examples of the run, or examples of typical length."""
    rows = config.batch_size
    if source.tokenizer is not None and config.data.path:
        examples, _ = finetune_data.read_splits(config.data, task, config.seed, lambda line: None)
        context = source.model["context"]
        packed = finetune_data.pack(config, task, examples, source.tokenizer, context)
        train, longest = packed["train"], max(split.longest for split in packed.values())
        steps = order.updates_per_epoch(len(train), rows) * config.epochs
        indices = _largest_batch(train, rows, steps, config.seed)
        return _Batches(train, indices, longest, steps, "the largest batch of the run")
    streams = _typical_streams(task, source.model["context"], config.share_prefix)
    packed = finetune_data.pack_streams(config, task, [0] * rows, [streams] * rows)
    examples = min(task.sizes["train"], config.data.examples or task.sizes["train"])
    steps = order.updates_per_epoch(examples, rows) * config.epochs
    origin = f"the typical length of {task.name}; config.init.path and config.data.path give the "
    return _Batches(packed, range(rows), packed.longest, steps, origin + "largest batch of a run")


def _largest_batch(train: packing.PackedExamples, rows: int, steps: int, seed: int) -> np.ndarray:
    """Return the examples of the batch with the longest rows; among those, with most tokens."""
    lengths = np.array([train.length(index) for index in range(len(train))])

    def size(indices):
        return train.padded_length(indices.tolist()), lengths[indices].sum()

    batches = (
        order.indices(step, size=len(train), batch_size=rows, seed=seed) for step in range(steps)
    )
    return max(batches, key=size)


def _typical_streams(task: Task, context: int, share_prefix: bool) -> list[list[int]]:
    """Return the streams of an example of typical length, padded as in a batch; ids from 1 on."""
    words = task.typical_words
    _, length = flops.stream_shape(task, words, context, share_prefix)
    length = next((padded for padded in packing.LENGTHS if padded >= length), length)
    if task.format != "choice":
        return [[1] * min(length, context)] * (2 if task.format == "similarity" else 1)
    answer = math.ceil(words.answer * flops.TOKENS_PER_WORD)
    # A shared prefix is stored once, but its last token opens the rest of every stream.
    rest = len(task.labels) * (answer + 1) - 1 if share_prefix else answer
    shared = max(min(length - rest, context - answer), 1)
    return [[1] * shared + [2 + number] * answer for number in range(len(task.labels))]


def _frozen(config: ConfigDict, source: _Source, params: Mapping) -> dict[str, int]:
    """Return the number of rows of each param that would come from the checkpoint."""
    sizes = dict(source.model)
    body = factory.make_body(sizes.pop("name"), source.vocab_size, sizes)
    inputs = np.zeros((1, body.context), np.int32)
    stored = flatten_dict(factory.param_shapes(LanguageModel(body), inputs), sep="/")
    layers = body.layers if config.init.layers is None else config.init.layers
    transferred = transfer.transferred_names(list(stored), layers)
    return {
        name: min(leaf.shape[0], stored[name].shape[0]) if name in transferred else 0
        for name, leaf in flatten_dict(params, sep="/").items()
    }
