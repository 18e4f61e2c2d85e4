"""Test finetuning updates against a separate float64 implementation.

Covered are both losses, clipping, the published Adam, weight decay and every quirk.
"""

import sys

import finetuning_reference as reference
import jax
import numpy as np
import pytest
from cli_fixtures import REPOSITORY
from flax.traverse_util import flatten_dict

from gpt1_jax.engine import devices, losses, optim, order, packing, step
from gpt1_jax.models.factory import init_params
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import classification, finetune_data
from gpt1_jax.trainers.optim_config import optim_config

sys.path.insert(0, str(REPOSITORY))
from configs import common
from configs import finetune as configs

UPDATES, STEPS, WARMUP, VOCABULARY, HEADS = 2, 8, 0.2, 9, 2
START, DELIMITER, EXTRACT = VOCABULARY, VOCABULARY + 1, VOCABULARY + 2
QUIRKS = common.QUIRKS + common.FINETUNING_QUIRKS
TASK_OF_FORMAT = {"pair": "rte", "similarity": "mrpc", "choice": "race"}
SETTINGS = {
    "clf_dropout": 0.0,
    "batch_size": 4,
    "optim.lr": 0.02,
    "optim.decay": 0.1,
    "optim.clip": 0.5,
}


def make_examples(task_format: str, random: np.random.Generator) -> list[list[list[int]]]:
    """Return the streams of four examples of unequal lengths."""

    def text():
        return random.integers(0, VOCABULARY, random.integers(1, 4)).tolist()

    examples = []
    for _ in range(4):
        pairs = [(text(), text())]
        if task_format == "similarity":
            pairs.append(pairs[0][::-1])
        if task_format == "choice":
            pairs += [(pairs[0][0], text()) for _ in range(3)]
        examples.append([[START, *first, DELIMITER, *second, EXTRACT] for first, second in pairs])
    return examples


def make_classifier(config, task, context: int):
    body = Transformer(
        VOCABULARY + 3,
        context,
        layers=1,
        width=4,
        heads=HEADS,
        ffn=6,
        embd_dropout=0.0,
        attn_dropout=0.0,
        resid_dropout=0.0,
    )
    return classification.classifier(task, body, regression=False, clf_dropout=config.clf_dropout)


def initial_params(model):
    """Return params without zeros or ones, in float32 so that both sides start from the same."""
    params = init_params(model, 0, np.zeros((1, 1, 1), np.int32), np.zeros((1, 1), np.int32))
    random = np.random.default_rng(5)

    def scatter(leaf):
        return (np.asarray(leaf) + 0.3 * random.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree.map(scatter, params)


def make_batch(config, task, examples, labels, seed: int):
    """Return the arrays of one update, with the examples in the order of the seed."""
    stream_weight = packing.stream_weights(
        examples,
        labels,
        per_sequence_mean=config.published.per_sequence_lm_mean,
        every_stream=config.published.lm_loss_on_wrong_answers or task.format != "choice",
    )
    data = packing.PackedExamples(
        examples,
        losses.soft_bins(labels, task.outputs),
        config.share_prefix and task.format == "choice",
        stream_weight,
    )
    return finetune_data.training_batch(0, data, 4, seed, config.optim.accumulate, config.pack_rows)


def train(config, task, examples, labels):
    """Return (initial params, params after the updates, loss of every update)."""
    model = make_classifier(
        config, task, max(len(stream) for example in examples for stream in example)
    )
    positions = config.published.softmax_positions
    settings = optim_config(config, optim.warmup_linear, STEPS, WARMUP)
    training = classification.programs(
        model, config.lm_coef, False, positions, settings, ()
    ).training
    params = initial_params(model)
    state = devices.replicate({"params": params, "opt_state": training.optimizer.init(params)})
    update_losses = []
    for seed, batch_labels in enumerate(labels):
        batch = make_batch(config, task, examples, batch_labels, seed)
        state, metrics = training.step(state, devices.split(batch), step.seed_and_step(0, seed))
        update_losses.append(float(metrics["loss"]))
    return params, jax.device_get(state["params"]), update_losses


def train_reference(config, task_format, params, examples, labels):
    """Return (params after the updates, loss of every update) of the float64 implementation."""
    published = {quirk: config.published[quirk] for quirk in QUIRKS}
    batches = []
    for seed, batch_labels in enumerate(labels):
        chosen = order.indices(0, size=4, batch_size=4, seed=seed)
        batch_examples = [examples[i] for i in chosen]
        batches.append(
            (batch_examples, batch_labels[chosen], task_format, HEADS, config.lm_coef, published)
        )
    return reference.train(
        params,
        batches,
        steps=STEPS,
        warmup=WARMUP,
        lr=config.optim.lr,
        decay=config.optim.decay,
        clip=config.optim.clip,
        published=published,
    )


def rows_without_gradient(name: str, task_format: str, length: int) -> slice:
    """Return the rows of a param that softmax ignores: the biases of keys and of a choice's head.

    Their gradient is 0 up to rounding, which Adam magnifies.
    """
    if name.endswith("c_attn/bias"):
        return slice(length // 3, 2 * length // 3)
    if name == "clf/bias" and task_format == "choice":
        return slice(0, length)
    return slice(0)


@pytest.mark.parametrize(
    ("task_format", "variant", "changes"),
    [
        *((task_format, "published", {}) for task_format in TASK_OF_FORMAT),
        ("choice", "modern", {}),
        *(
            ("pair", "published", {f"published.{quirk}": False})
            for quirk in common.QUIRKS
            if quirk != "table_dropout"
        ),
        ("choice", "published", {"published.per_sequence_lm_mean": False, "optim.accumulate": 2}),
        *(
            ("choice", "published", {f"published.{quirk}": False})
            for quirk in ("per_sequence_lm_mean", "lm_loss_on_wrong_answers")
        ),
        ("choice", "published", {"share_prefix": False, "published.per_sequence_lm_mean": False}),
        (
            "choice",
            "published",
            {"share_prefix": False, "published.lm_loss_on_wrong_answers": False},
        ),
    ],
)
def test_updates_equal_those_in_float64(parity, task_format, variant, changes):
    config = configs.get_config(f"{TASK_OF_FORMAT[task_format]},{variant}")
    config.update_from_flattened_dict(changes | SETTINGS)
    task, random = TASKS[config.task], np.random.default_rng(1)
    # All updates have the same examples, so there is one compilation; orders and labels differ.
    examples = make_examples(task_format, random)
    labels = random.integers(0, len(task.labels), (UPDATES, 4))

    initial, actual, actual_losses = train(config, task, examples, labels)
    initial = {
        name: leaf.astype(np.float64) for name, leaf in flatten_dict(initial, sep="/").items()
    }
    expected, expected_losses = train_reference(config, task_format, initial, examples, labels)
    parity(
        "two finetuning updates against float64, loss",
        np.abs(np.subtract(actual_losses, expected_losses)).max(),
        2e-6,
    )
    assert max(np.abs(expected[name] - initial[name]).max() for name in initial) > 0.005
    for name, leaf in flatten_dict(actual, sep="/").items():
        ignored = rows_without_gradient(name, task_format, len(leaf))
        errors = np.abs(np.delete(leaf - expected[name], ignored, axis=0))
        parity(
            "two finetuning updates against float64, params, which move by more than 0.005",
            errors.max(initial=0),
            2e-6,
        )
