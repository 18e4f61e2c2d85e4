"""Whole finetuning updates equal their second writing in float64: both losses, clipping, the published Adam, decay, and every quirk."""

import sys

import finetuning_reference as reference
import jax
import numpy as np
import pytest
from cli_fixtures import REPOSITORY
from flax.traverse_util import flatten_dict

from gpt1_jax.engine import devices, losses, optim, order, packing, step
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import classification, finetune_data
from gpt1_jax.trainers.fit import fresh_params, recipe

sys.path.insert(0, str(REPOSITORY))
from configs import common
from configs import finetune as configs

UPDATES, STEPS, WARMUP, WORDS, HEADS = 2, 8, 0.2, 9, 2
START, DELIMITER, EXTRACT = WORDS, WORDS + 1, WORDS + 2
QUIRKS = common.QUIRKS + common.FINETUNING_QUIRKS
TRAINED = {"pair": "rte", "similarity": "mrpc", "choice": "race"}


def examples(kind: str, random: np.random.Generator) -> list[list[list[int]]]:
    """Four examples of unequal lengths in the format."""
    words = lambda most: random.integers(0, WORDS, random.integers(1, most + 1)).tolist()
    made = []
    for _ in range(4):
        pairs = [(words(3), words(3))]
        if kind == "similarity":
            pairs.append(pairs[0][::-1])
        if kind == "choice":
            pairs += [(pairs[0][0], words(3)) for _ in range(3)]
        made.append([[START, *first, DELIMITER, *second, EXTRACT] for first, second in pairs])
    return made


def scattered(params):
    """Params of which every number matters; float32 values, so that both sides start from the same."""
    random = np.random.default_rng(5)
    return jax.tree.map(
        lambda leaf: (np.asarray(leaf) + 0.3 * random.standard_normal(leaf.shape)).astype(
            np.float32
        ),
        params,
    )


@pytest.mark.parametrize(
    ("kind", "picks", "changes"),
    [
        *((kind, "published", {}) for kind in TRAINED),
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
def test_updates_equal_those_in_float64(parity, kind, picks, changes):
    config = configs.get_config(f"{TRAINED[kind]},{picks}")
    config.update_from_flattened_dict(
        changes
        | {
            "clf_dropout": 0.0,
            "batch_size": 4,
            "optim.lr": 0.02,
            "optim.decay": 0.1,
            "optim.clip": 0.5,
        }
    )
    task, random = TASKS[config.task], np.random.default_rng(1)
    streams = [
        examples(kind, random)
    ] * UPDATES  # one shape, one compilation; each update has an order and labels of its own
    answers = random.integers(0, len(task.labels), (UPDATES, 4))

    longest = max(len(stream) for batch in streams for example in batch for stream in example)
    body = Transformer(
        WORDS + 3,
        longest,
        layers=1,
        width=4,
        heads=HEADS,
        ffn=6,
        embd_dropout=0.0,
        attn_dropout=0.0,
        resid_dropout=0.0,
    )
    model = classification.classifier(task, body, regression=False, clf_dropout=config.clf_dropout)
    rules = recipe(config, optim.warmup_linear, STEPS, WARMUP)
    trained = classification.programs(
        model, config.lm_coef, False, config.published.softmax_positions, rules, ()
    ).training
    params = scattered(
        fresh_params(model, 0, np.zeros((1, 1, 1), np.int32), np.zeros((1, 1), np.int32))
    )

    state = devices.replicate({"params": params, "opt_state": trained.optimizer.init(params)})
    measured = []
    for number, (own, labels) in enumerate(zip(streams, answers, strict=True)):
        stream_weight = finetune_data.stream_weights(
            task,
            own,
            labels,
            config.published.per_sequence_lm_mean,
            config.published.lm_loss_on_wrong_answers,
        )
        share_prefix = config.share_prefix and kind == "choice"
        data = packing.PackedExamples(
            own, losses.soft_bins(labels, task.outputs), share_prefix, stream_weight
        )
        batch = finetune_data.training_batch(0, data, 4, number, config.optim.accumulate)
        chosen = order.indices(0, size=4, batch_size=4, seed=number)
        streams[number], answers[number] = [own[i] for i in chosen], labels[chosen]
        state, metrics = trained.step(state, devices.split(batch), step.seed_and_step(0, number))
        measured.append(float(metrics["loss"]))

    exact = {name: leaf.astype(np.float64) for name, leaf in flatten_dict(params, sep="/").items()}
    published = {quirk: config.published[quirk] for quirk in QUIRKS}
    batches = [
        (own, labels, kind, HEADS, config.lm_coef, published)
        for own, labels in zip(streams, answers, strict=True)
    ]
    settings = dict(
        steps=STEPS,
        warmup=WARMUP,
        lr=config.optim.lr,
        decay=config.optim.decay,
        clip=config.optim.clip,
    )
    expected, told = reference.train(exact, batches, **settings, published=published)
    parity(
        "two finetuning updates against float64, loss",
        np.abs(np.subtract(measured, told)).max(),
        2e-6,
    )
    assert max(np.abs(expected[name] - exact[name]).max() for name in exact) > 0.005
    for name, leaf in flatten_dict(jax.device_get(state["params"]), sep="/").items():
        apart = np.abs(
            np.delete(leaf - expected[name], _without_gradient(name, kind, len(leaf)), axis=0)
        )
        parity(
            "two finetuning updates against float64, params, which move by more than 0.005",
            apart.max(initial=0),
            2e-6,
        )


def _without_gradient(name: str, kind: str, length: int) -> slice:
    """What softmax does not see: its gradient is 0 but for rounding, which Adam magnifies. The bias of keys, and of a choice's head."""
    if name.endswith("c_attn/bias"):
        return slice(length // 3, 2 * length // 3)
    return slice(length if name == "clf/bias" and kind == "choice" else 0)
