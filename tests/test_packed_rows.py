"""Compare examples that share rows with examples in rows of their own: losses, gradients, runs."""

import json
import shutil

import jax
import numpy as np
import pytest

from gpt1_jax.engine import packing
from gpt1_jax.models.factory import init_params
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS
from gpt1_jax.trainers import classification, finetune_data

SIZES = {
    "transformer": dict(layers=2, width=16, heads=2, ffn=32, attn_dropout=0.0),
    "lstm": dict(width=16, units=24),
}


def make_examples(count: int, streams: int, weighted: bool) -> packing.PackedExamples:
    """Return examples with streams of 2 to 30 tokens; half of the weighted streams weigh 0."""
    random = np.random.default_rng(3)
    draw = lambda: random.integers(0, 40, random.integers(0, 29)).tolist()
    examples = [[[50, *draw(), 52] for _ in range(streams)] for _ in range(count)]
    labels = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    weights = [[float(number % 2) for number in range(streams)]] * count if weighted else None
    return packing.PackedExamples(examples, labels, stream_weight=weights)


@pytest.mark.parametrize("body", SIZES)
@pytest.mark.parametrize(("streams", "weighted"), [(1, False), (2, False), (2, True)])
def test_losses_and_gradients_equal_those_of_separate_rows(body, streams, weighted):
    data = make_examples(8, streams, weighted)
    batches = [finetune_data.batch_of(range(8), data, 1, pack) for pack in (False, True)]
    assert batches[1]["tokens"].size < 0.8 * batches[0]["tokens"].size
    # The embedding has one dropout mask a step and the classifier one an example, so both stay on.
    sizes = {"context": data.longest, "resid_dropout": 0.0, **SIZES[body]}
    model = Classifier(MODELS[body](53, **sizes), outputs=2, sum_streams=streams == 2)
    params = init_params(model, 0, batches[0]["tokens"], batches[0]["extract"])
    # Initial params give almost uniform attention; larger ones do not.
    params = jax.tree.map(lambda leaf: leaf * 4, params)
    loss = jax.jit(jax.value_and_grad(classification.loss(model, 0.5), has_aux=True))
    expected, found = (loss(params, batch, jax.random.key(1)) for batch in batches)
    compare = lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    jax.tree.map(compare, expected, found)


def test_runs_equal_those_with_separate_rows(gpt1, finetuning, glue, tmp_path):
    shutil.copytree(glue / "CoLA", tmp_path / "CoLA")
    train = tmp_path / "CoLA/train.tsv"
    lines = train.read_text().splitlines()
    lines[0] += 3 * (" " + lines[0].split("\t")[3])  # a long text among short ones
    train.write_text("\n".join(lines) + "\n")
    dropout = ("clf_dropout", "model.embd_dropout", "model.attn_dropout", "model.resid_dropout")
    common = finetuning() | dict.fromkeys(dropout, 0.0) | {"optim.accumulate": 2, "batch_size": 12}
    common |= {"data.path": tmp_path, "epochs": 3}  # the first update has learning rate 0
    rows, params = [], set()
    for pack in (False, True):
        result = gpt1.result("finetune.py:cola", tmp_path / str(pack), common | {"pack_rows": pack})
        params.add(result["params_sha256"])
        lines = (tmp_path / str(pack) / "metrics.jsonl").read_text().splitlines()
        rows.append([json.loads(line) for line in lines])
    names = ("loss", "task_loss", "lm_loss", "grad_norm", "train_accuracy")
    separate, packed = ([[row.get(name, 0) for name in names] for row in run] for run in rows)
    np.testing.assert_allclose(separate, packed, rtol=1e-4)
    assert len(params) == 2, "sums have another order, so the option has an effect"
