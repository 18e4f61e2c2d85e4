"""A task's classifier, as finetuning trains it and labelling uses it: its model, its examples as streams, its step, its answers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np

from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import devices, losses, packing
from gpt1_jax.models.heads import Classifier
from gpt1_jax.text import bpe, formats
from gpt1_jax.trainers.fit import OptimConfig, Training, predicted, training


def classifier(
    task: Task, body: nn.Module, regression: bool, **dropout: float | bool
) -> Classifier:
    """The task's head on `body`; `dropout` is that of `Classifier`."""
    outputs = 1 if task.format == "choice" or regression else task.outputs
    return Classifier(body, outputs, sum_streams=task.format == "similarity", **dropout)


def streams(
    task: Task,
    texts: Sequence[Sequence[str]],
    tokenizer: bpe.Tokenizer,
    context: int,
    positions: int | None = None,
) -> list[list[list[int]]]:
    """The streams of every example, [N][C] lists of ids, from its texts, in the task's format.

    Args:
        context, positions: of the pretrained model, and of the finetuned one; each text keeps what `formats.streams` says.
    """
    ids = tokenizer.encode([text for example in texts for text in example])
    examples = (ids[start : start + task.texts] for start in range(0, len(ids), task.texts))
    return [
        formats.streams(task.format, segments, tokenizer, context, len(task.labels), positions)
        for segments in examples
    ]


def task_metadata(task: Task) -> dict:
    """What readers of a run must know of its task: JSON values."""
    return {
        "format": task.format,
        "labels": list(task.labels),
        "contexts": task.contexts,
        "bins": task.bins,
    }


def _apply(model: Classifier, params: Mapping, batch: Mapping, **options):
    """The model's forward pass over a batch, whichever way its streams are laid down."""
    return model.apply(
        {"params": params},
        batch["tokens"],
        batch["extract"],
        segment_ids=batch.get("segment_ids"),
        **options,
    )


class Programs(NamedTuple):
    """What is compiled for a model: its training, and `predictor`'s step."""

    training: Training
    predict: Callable


@functools.lru_cache(maxsize=32)
def programs(
    model: Classifier,
    lm_coef: float,
    regression: bool,
    positions: bool,
    recipe: OptimConfig,
    frozen: tuple[tuple[str, int], ...],
) -> Programs:
    """The programs, the same ones for runs that differ in seed, data or start alone: the second such run compiles nothing.

    Args:
        positions: the auxiliary loss's softmax runs over position rows, too.
        frozen: how many first rows of each param stay as they are, by name; () for none.
    """
    step = training(loss(model, lm_coef, positions), recipe, dict(frozen))
    return Programs(step, predictor(model, regression, recipe.backend))


def loss(model: Classifier, lm_coef: float, positions: bool = True) -> Callable:
    """Equation 5 of the paper; without the auxiliary loss its logits are never formed."""

    def objective(params, batch, key):
        scores, hidden, table = _apply(model, params, batch, train=True, rngs={"dropout": key})
        task_loss = losses.task(scores.reshape(len(scores), -1), batch["label"]).mean()
        if lm_coef == 0:
            return task_loss, {"task_loss": task_loss}
        rows = lambda array: array.reshape(-1, *array.shape[2:])
        table = predicted(model, table, positions)
        targets, weights = rows(batch["tokens"])[:, 1:], rows(batch["weights"])[:, 1:]
        each = losses.language_model(
            rows(hidden)[:, :-1], table, targets, weights, max_targets=batch["max_targets"].value
        )
        lm_loss = (
            each * batch["stream_weight"].ravel() if "stream_weight" in batch else each
        ).mean()
        return task_loss + lm_coef * lm_loss, {"task_loss": task_loss, "lm_loss": lm_loss}

    return objective


def predictor(model: Classifier, regression: bool, backend: str) -> Callable:
    """predict(params, batch, moment) -> [B K]: probabilities of the classes, or the score of regression."""

    def predict(params, batch, _):
        scores, _, _ = _apply(model, params, batch, train=False)
        scores = scores.reshape(len(scores), -1)
        return devices.gather(scores if regression else jax.nn.softmax(scores))

    return devices.parallelise(predict, backend=backend)


def predict(
    predict: Callable,
    params: Mapping,
    dataset: packing.PackedExamples,
    task: Task,
    regression: bool,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What a model says of every example: (answers [N], probabilities [N K]); K is 0 for regression.

    An answer is the most probable class, or of a graded task the expected score.
    """
    found = np.zeros((len(dataset), 1 if regression else task.outputs), np.float32)
    for chosen, batch in packing.evaluation_batches(dataset, batch_size):
        found[chosen] = jax.device_get(predict(params, devices.split(batch), np.int32(0)))[
            : len(chosen)
        ]
    if regression:
        return found[:, 0].clip(0, task.bins - 1), found[:, :0]
    return found @ np.arange(task.outputs) if task.bins else found.argmax(axis=1), found
