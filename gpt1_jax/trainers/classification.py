"""Build the classifier of a task: model, token streams, loss, compiled programs and predictions.

Finetuning trains the classifier; `predictor.py` applies it to new text.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import devices, losses, packing
from gpt1_jax.models import factory
from gpt1_jax.models.heads import Classifier
from gpt1_jax.text import bpe, formats
from gpt1_jax.trainers.fit import Training, training
from gpt1_jax.trainers.optim_config import OptimConfig


def classifier(task: Task, body: nn.Module, regression: bool, **dropout: Any) -> Classifier:
    """Return the task's head on `body`; `dropout` are the dropout arguments of `Classifier`."""
    outputs = 1 if task.format == "choice" or regression else task.outputs
    return Classifier(body, outputs, sum_streams=task.format == "similarity", **dropout)


def build(
    config: ConfigDict, task: Task, model: Mapping[str, Any], vocab_size: int, context: int
) -> Classifier:
    """Return the classifier of a finetuning run.

    Args:
        config: the configuration of the run, except for config.model.
        task: its task.
        model: the name and the sizes of the pretrained body.
        vocab_size: the number of token ids in pretraining.
        context: the positions of the classifier: as many as the longest example needs, as
            published.
    """
    sizes = {**model, "context": context}
    body = factory.make_body(
        sizes.pop("name"),
        vocab_size + len(bpe.SPECIALS),
        sizes,
        table_dropout=config.published.table_dropout,
    )
    return classifier(
        task,
        body,
        config.regression,
        clf_dropout=config.clf_dropout,
        shared_clf_dropout=config.published.shared_clf_dropout,
    )


def streams(
    task: Task,
    texts: Sequence[Sequence[str]],
    tokenizer: bpe.Tokenizer,
    context: int,
    positions: int | None = None,
) -> list[list[list[int]]]:
    """Return the token streams [N][C] of all examples, in the task's format.

    Args:
        task: the task.
        texts: the texts of every example.
        tokenizer: the tokenizer of the pretrained model.
        context: the context of the pretrained model. `formats.streams` cuts the texts by it.
        positions: the positions of the finetuned model, if it has fewer.
    """
    ids = tokenizer.encode([text for example in texts for text in example])
    examples = (ids[start : start + task.texts] for start in range(0, len(ids), task.texts))
    return [
        formats.streams(task.format, segments, tokenizer, context, len(task.labels), positions)
        for segments in examples
    ]


def task_metadata(task: Task) -> dict:
    """Return the JSON values that readers of a finetuned run need about its task."""
    return {
        "format": task.format,
        "labels": list(task.labels),
        "contexts": task.contexts,
        "bins": task.bins,
    }


class Programs(NamedTuple):
    """Hold the compiled programs of a model: its training, and the step of `predictor`."""

    training: Training
    predict: Callable


@functools.lru_cache(maxsize=32)
def programs(
    model: Classifier,
    lm_coef: float,
    regression: bool,
    softmax_positions: bool,
    optim_config: OptimConfig,
    frozen: tuple[tuple[str, int], ...],
) -> Programs:
    """Return the programs of a model.

    Runs that differ only in seed, data or initial params get the same programs, so that only the
    first of them compiles.

    Args:
        model: the classifier.
        lm_coef: the weight of the auxiliary LM loss.
        regression: predict a score instead of classes.
        softmax_positions: the softmax of the auxiliary LM loss runs over position rows too.
        optim_config: the settings of the optimizer.
        frozen: (slash-joined param name, number of first rows that are not trained); () for none.
    """
    compiled = training(loss(model, lm_coef, softmax_positions), optim_config, dict(frozen))
    return Programs(compiled, predictor(model, regression, optim_config.backend))


def loss(model: Classifier, lm_coef: float, softmax_positions: bool = True) -> Callable:
    """Return equation 5 of the paper as (params, batch, key) -> (loss, metrics).

    Args:
        model: the classifier.
        lm_coef: the weight of the auxiliary LM loss; 0 leaves out its logits too.
        softmax_positions: the softmax of the auxiliary LM loss runs over position rows too.
    """

    def objective(params, batch, key):
        scores, hidden, embedding = _apply(model, params, batch, train=True, rngs={"dropout": key})
        scores, label = scores.reshape(len(scores), -1), batch["label"]
        task_loss = losses.task(scores, label).mean()
        metrics = {"task_loss": task_loss}
        if label.ndim == 2:  # classes; with dropout, and before the update
            metrics["train_accuracy"] = losses.accuracy(scores, label)
        if lm_coef == 0:
            return task_loss, metrics
        rows = losses.softmax_rows(embedding, model.body.vocab_size, softmax_positions)
        lm_loss = _lm_loss(hidden, rows, batch)
        return task_loss + lm_coef * lm_loss, metrics | {"lm_loss": lm_loss}

    return objective


def _lm_loss(hidden: jax.Array, embedding: jax.Array, batch: Mapping) -> jax.Array:
    """Return the auxiliary LM loss: a mean over rows, weighted by stream_weight if there is one."""
    hidden, tokens, weights = (
        array.reshape(-1, *array.shape[2:]) for array in (hidden, batch["tokens"], batch["weights"])
    )
    return losses.mean_language_model(
        hidden[:, :-1],
        embedding,
        tokens[:, 1:],
        weights[:, 1:],
        max_targets=batch["max_targets"].value,
        stream_weight=batch["stream_weight"].ravel() if "stream_weight" in batch else None,
    )


def _apply(model: Classifier, params: Mapping, batch: Mapping, **options) -> Any:
    return model.apply(
        {"params": params},
        batch["tokens"],
        batch["extract"],
        segment_ids=batch.get("segment_ids"),  # only where streams share rows
        **options,
    )


def predictor(model: Classifier, regression: bool, backend: str) -> Callable:
    """Return the compiled step (params, batch, seed_and_step) -> [B K].

    The results are probabilities of the classes; for regression they are scores, K = 1.
    """

    def predict(params, batch, _):
        scores, _, _ = _apply(model, params, batch, train=False)
        scores = scores.reshape(len(scores), -1)
        return devices.gather(scores if regression else jax.nn.softmax(scores))

    return devices.parallelize(predict, backend=backend)


def predict(
    predict_step: Callable,
    params: Mapping,
    dataset: packing.PackedExamples,
    task: Task,
    regression: bool,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the model's (predictions [N], probabilities [N K]) of all examples.

    A prediction is the most probable class. For a graded task it is the expected score, and for
    regression the score itself; K is then 0.

    Args:
        predict_step: the compiled step of `predictor`.
        params: the params, on the devices.
        dataset: the examples.
        task: their task.
        regression: the model predicts a score instead of classes.
        batch_size: examples of the global batch.
    """
    outputs = np.zeros((len(dataset), 1 if regression else task.outputs), np.float32)
    for indices, batch in packing.evaluation_batches(dataset, batch_size):
        batch_outputs = predict_step(params, devices.split(batch), np.int32(0))
        outputs[indices] = jax.device_get(batch_outputs)[: len(indices)]
    if regression:
        return outputs[:, 0].clip(0, task.bins - 1), outputs[:, :0]
    if task.bins:
        return outputs @ np.arange(task.outputs), outputs
    return outputs.argmax(axis=1), outputs
