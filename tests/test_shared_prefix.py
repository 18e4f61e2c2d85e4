"""A choice whose context is run once gives what streams of their own give: scores, both losses, gradients, whole runs."""

import json

import jax
import numpy as np
import pytest

from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import packing
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS, TASKS
from gpt1_jax.trainers import classification
from gpt1_jax.trainers.fit import fresh_params

SIZES = {
    "transformer": dict(layers=2, width=16, heads=2, ffn=32, attn_dropout=0.0),
    "lstm": dict(width=16, units=24),
}


def examples(count: int) -> list[list[list[int]]]:
    """Contexts of 1 to 30 tokens, three answers of 1 to 6 to each."""
    random = np.random.default_rng(3)
    draw = lambda most: random.integers(0, 40, random.integers(1, most)).tolist()
    contexts = [[50, *draw(30), 51] for _ in range(count)]
    return [[[*context, *draw(7), 52] for _ in range(3)] for context in contexts]


@pytest.mark.parametrize("body", SIZES)
def test_losses_scores_and_gradients_are_those_of_the_streams(body):
    streams, labels = examples(6), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    apart, shared = (
        packing.PackedExamples(streams, labels, share_prefix=share) for share in (False, True)
    )
    # The table's dropout is one mask a step and the classifier's one an example, so they need not be off.
    model = Classifier(
        MODELS[body](53, context=apart.longest, resid_dropout=0.0, **SIZES[body]), outputs=1
    )
    batches = [packing.with_max_targets(data[range(6)], 1) for data in (apart, shared)]
    assert batches[1]["tokens"].size < 0.7 * batches[0]["tokens"].size
    assert all(
        batch["max_targets"].value < batch["tokens"].size for batch in batches
    )  # the logits are packed
    params = fresh_params(model, 0, batches[0]["tokens"], batches[0]["extract"])
    params = jax.tree.map(
        lambda leaf: leaf * 4, params
    )  # far from the start, where attention is all but even

    def evaluated(batch):
        loss = jax.value_and_grad(classification.loss(model, 0.5), has_aux=True)(
            params, batch, jax.random.key(1)
        )
        place = {"segment_ids": batch["segment_ids"]} if "segment_ids" in batch else {}
        return loss, model.apply(
            {"params": params}, batch["tokens"], batch["extract"], train=False, **place
        )[0]

    (plain, scores), (once, others) = (jax.jit(evaluated)(batch) for batch in batches)
    assert float(plain[0][0]) == pytest.approx(float(once[0][0]), rel=1e-5)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), plain, once
    )
    np.testing.assert_allclose(scores, others, rtol=1e-4, atol=1e-5)
    assert np.ptp(scores, axis=1).min() > 1e-4  # the answers do differ


@pytest.fixture
def endings(tmp_path, monkeypatch, books):
    """The folder of a task in which one of three endings fits a story; the task is registered as "endings"."""
    texts = ("story", "first", "second", "third")
    layout = Tsv(folder="endings", segments=texts, label="answer")
    task = Task(
        name="endings",
        format="choice",
        labels=("1", "2", "3"),
        metrics=("accuracy",),
        files=(layout,),
    )
    list(TASKS)  # fills the registry, which the entry would be no part of otherwise
    monkeypatch.setitem(TASKS._entries, "endings", task)
    words = (books / "book_0.txt").read_text().split()
    random = np.random.default_rng(5)
    draw = lambda count: " ".join(random.choice(words, size=count))
    (tmp_path / "endings").mkdir()
    for name, count in (("train.tsv", 12), ("dev.tsv", 6)):
        lines = [(*texts, "answer")]
        lines += [
            (
                draw(random.integers(1, 6)),
                *(draw(random.integers(1, 4)) for _ in range(3)),
                str(row % 3 + 1),
            )
            for row in range(count)
        ]
        (tmp_path / "endings" / name).write_text("".join("\t".join(line) + "\n" for line in lines))
    return tmp_path


def test_a_run_with_the_option_goes_as_one_without(gpt1, finetuning, endings, tmp_path):
    settings = finetuning("lstm") | {
        "task": "endings",
        "data.path": endings,
        "model.resid_dropout": 0.0,
    }
    results, logs, probabilities = [], [], []
    for share in (True, False):
        run = tmp_path / f"run_{share}"
        results.append(
            gpt1.result("finetune.py:sst2,lstm", run, settings | {"share_prefix": share})
        )
        rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        logs.append(
            [
                [row[name] for name in ("loss", "task_loss", "lm_loss", "grad_norm")]
                for row in rows
                if "loss" in row
            ]
        )
        lines = (run / "predictions/validation.tsv").read_text().splitlines()[1:]
        probabilities.append([[float(cell) for cell in line.split("\t")[3:]] for line in lines])
    np.testing.assert_allclose(*logs, rtol=1e-4)
    np.testing.assert_allclose(*probabilities, atol=1e-5)
    assert len(logs[0]) == 3 and np.shape(probabilities) == (2, 6, 3)
    assert (
        results[0]["params_sha256"] != results[1]["params_sha256"]
    )  # other sums: the option does something
