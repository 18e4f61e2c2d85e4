"""Compare a shared prefix with separate streams: scores, both losses, gradients and whole runs."""

import json

import jax
import numpy as np
import pytest

from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import packing
from gpt1_jax.models.factory import init_params
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS, TASKS
from gpt1_jax.trainers import classification

SIZES = {
    "transformer": dict(layers=2, width=16, heads=2, ffn=32, attn_dropout=0.0),
    "lstm": dict(width=16, units=24),
}


def make_streams(count: int) -> list[list[list[int]]]:
    """Return examples with a context of 1 to 30 tokens and three answers of 1 to 6 tokens."""
    random = np.random.default_rng(3)
    draw = lambda stop: random.integers(0, 40, random.integers(1, stop)).tolist()
    contexts = [[50, *draw(30), 51] for _ in range(count)]
    return [[[*context, *draw(7), 52] for _ in range(3)] for context in contexts]


@pytest.mark.parametrize("body", SIZES)
def test_losses_scores_and_gradients_equal_those_of_separate_streams(body):
    streams, labels = make_streams(6), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    separate, shared = (
        packing.PackedExamples(streams, labels, share_prefix=share) for share in (False, True)
    )
    # The embedding has one dropout mask a step and the classifier one an example, so both stay on.
    sizes = {"context": separate.longest, "resid_dropout": 0.0, **SIZES[body]}
    model = Classifier(MODELS[body](53, **sizes), outputs=1)
    batches = [packing.with_max_targets(data[range(6)], 1) for data in (separate, shared)]
    assert batches[1]["tokens"].size < 0.7 * batches[0]["tokens"].size
    # The logits are packed.
    assert all(batch["max_targets"].value < batch["tokens"].size for batch in batches)
    params = init_params(model, 0, batches[0]["tokens"], batches[0]["extract"])
    # Initial params give almost uniform attention; larger ones do not.
    params = jax.tree.map(lambda leaf: leaf * 4, params)

    def evaluate(batch):
        loss = jax.value_and_grad(classification.loss(model, 0.5), has_aux=True)
        segments = {"segment_ids": batch["segment_ids"]} if "segment_ids" in batch else {}
        inputs = batch["tokens"], batch["extract"]
        scores, _, _ = model.apply({"params": params}, *inputs, train=False, **segments)
        return loss(params, batch, jax.random.key(1)), scores

    (expected, expected_scores), (found, scores) = (jax.jit(evaluate)(batch) for batch in batches)
    assert float(expected[0][0]) == pytest.approx(float(found[0][0]), rel=1e-5)
    compare = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    jax.tree.map(compare, expected, found)
    compare(expected_scores, scores)
    assert np.ptp(expected_scores, axis=1).min() > 1e-4  # the answers differ


@pytest.fixture
def endings(tmp_path, monkeypatch, books):
    """Register the task "endings" (choose one of three endings of a story). Return its folder."""
    texts = ("story", "first", "second", "third")
    task = Task(
        name="endings",
        format="choice",
        labels=("1", "2", "3"),
        metrics=("accuracy",),
        files=(Tsv(folder="endings", segments=texts, label="answer"),),
    )
    list(TASKS)  # load the registry first; it would replace the new entry otherwise
    monkeypatch.setitem(TASKS._entries, "endings", task)
    words = (books / "book_0.txt").read_text().split()
    random = np.random.default_rng(5)
    draw = lambda stop: " ".join(random.choice(words, size=random.integers(1, stop)))
    (tmp_path / "endings").mkdir()
    for name, count in (("train.tsv", 12), ("dev.tsv", 6)):
        lines = [(*texts, "answer")]
        for row in range(count):
            lines.append((draw(6), draw(4), draw(4), draw(4), str(row % 3 + 1)))
        (tmp_path / "endings" / name).write_text("".join("\t".join(line) + "\n" for line in lines))
    return tmp_path


def read_losses(run) -> list[list[float]]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    names = ("loss", "task_loss", "lm_loss", "grad_norm")
    return [[row[name] for name in names] for row in rows if "loss" in row]


def read_probabilities(run) -> list[list[float]]:
    lines = (run / "predictions/validation.tsv").read_text().splitlines()[1:]
    return [[float(cell) for cell in line.split("\t")[3:]] for line in lines]


def test_run_equals_a_run_with_separate_streams(gpt1, finetuning, endings, tmp_path):
    settings = finetuning("lstm") | {
        "task": "endings",
        "data.path": endings,
        "model.resid_dropout": 0.0,
    }
    runs = {share: tmp_path / f"run_{share}" for share in (True, False)}
    results = [
        gpt1.result("finetune.py:sst2,lstm", run, settings | {"share_prefix": share})
        for share, run in runs.items()
    ]
    losses = [read_losses(run) for run in runs.values()]
    probabilities = [read_probabilities(run) for run in runs.values()]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(*probabilities, atol=1e-5)
    assert len(losses[0]) == 3 and np.shape(probabilities) == (2, 6, 3)
    # Sums have another order, so the option has an effect.
    assert results[0]["params_sha256"] != results[1]["params_sha256"]
