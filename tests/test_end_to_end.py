"""Run pretraining and finetuning through the command line: both bodies, all kinds of tasks."""

import json
import math
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from cli_fixtures import REPOSITORY, read_metrics

# One task of each kind; the tests of the readers cover the files of the others.
TASKS = ("cola", "mrpc", "stsb", "mnli", "rte")
METRICS = {
    "cola": {"matthews"},
    "mrpc": {"f1", "accuracy"},
    "stsb": {"pearson", "spearman"},
}
VARIANT = {"transformer": "full", "lstm": "lstm"}


def read_predictions(path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a predictions file."""
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return header, rows


def assert_probabilities_sum_to_one(rows: list[list[str]]) -> None:
    """Assert that the cells from the fourth on are a distribution in every row."""
    probabilities = np.array([row[3:] for row in rows], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("body", VARIANT)
def test_pretraining_writes_a_complete_run(pretrained, body):
    run = pretrained(body)
    result = json.loads((run / "result.json").read_text())
    assert (result["trainer"], result["steps"], result["tokens"]) == ("pretrain", 20, 20 * 4 * 32)
    assert result["validation_perplexity"] == pytest.approx(math.exp(result["validation_loss"]))
    rows = read_metrics(run)
    assert [row["step"] for row in rows if "loss" in row] == [5, 10, 15, 20]
    assert [row["step"] for row in rows if "validation_loss" in row] == [10, 20]
    names = {"perplexity", "bits_per_character", "lr", "grad_norm", "tokens_per_s"}
    assert names < set(rows[0])
    assert ("mfu" in rows[0]) == (jax.default_backend() != "cpu")
    assert any((run / "tb").iterdir())
    assert "finished" in (run / "log.txt").read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["10", "20"]
    assert {"config.json", "data.json", "tokenizer.json"} < {path.name for path in run.iterdir()}


@pytest.mark.parametrize(
    ("task", "body"),
    [
        *((task, "transformer") for task in TASKS),
        ("cola", "lstm"),
        ("stsb", "lstm"),
        ("mnli", "lstm"),
    ],
)
def test_finetuning_writes_a_complete_run(gpt1, finetuning, tmp_path, task, body):
    result = gpt1.result(f"finetune.py:{task},{VARIANT[body]}", tmp_path, finetuning(body))
    mnli = task == "mnli"
    development = ["validation", "validation_mismatched"] if mnli else ["validation"]
    tests = ["test", "test_mismatched", "ax"] if mnli else ["test"]
    assert result["metrics"].keys() == set(development)
    for scores in result["metrics"].values():
        assert scores.keys() == METRICS.get(task, {"accuracy"})
        assert all(-1 <= score <= 1 for score in scores.values())

    predicted = dict.fromkeys(development, 6) | dict.fromkeys(tests, 3)
    splits = result["data"]["splits"]
    assert {split: record["rows"] for split, record in splits.items()} == {"train": 12} | predicted
    record = json.loads((tmp_path / "data.json").read_text())
    assert record.pop("fingerprints").keys() == {*splits, "tokenizer", "pretrained params"}
    assert record.pop("init") == {"step": result["init"]["step"]}
    assert result["data"] == record and record["source"] == "files"
    for split, count in predicted.items():
        header, rows = read_predictions(tmp_path / "predictions" / f"{split}.tsv")
        assert header[:3] == ["index", "prediction", "label"] and header[3].startswith("p(")
        assert [row[0] for row in rows] == [str(number) for number in range(count)]
        assert_probabilities_sum_to_one(rows)
    assert (result["best_step"], result["steps"]) == (3, 3)
    first = read_metrics(tmp_path)[0]
    assert {"loss", "task_loss", "lm_loss"} < set(first) and 0 <= first["train_accuracy"] <= 1


@pytest.mark.parametrize(
    ("task", "body", "splits", "answers"),
    [
        ("race_middle", "transformer", {"train": 12, "validation": 6}, "ABCD"),
        ("story_cloze_2016", "lstm", {"train": 15, "validation": 3, "test": 3}, "12"),
    ],
)
def test_finetuning_on_choices(gpt1, finetuning, choices, tmp_path, task, body, splits, answers):
    settings = finetuning(body) | {"data.path": choices}
    result = gpt1.result(f"finetune.py:{task},{VARIANT[body]}", tmp_path, settings)
    records = result["data"]["splits"]
    assert {split: record["rows"] for split, record in records.items()} == splits
    assert result["metrics"].keys() == splits.keys() - {"train"}
    header, rows = read_predictions(tmp_path / "predictions/validation.tsv")
    assert header == ["index", "prediction", "label", *(f"p({answer})" for answer in answers)]
    assert_probabilities_sum_to_one(rows)
    accuracy = np.mean([row[1] == row[2] for row in rows])
    assert result["metrics"]["validation"]["accuracy"] == pytest.approx(accuracy)


def test_graded_task_as_regression(gpt1, finetuning, tmp_path):
    result = gpt1.result("finetune.py:stsb", tmp_path, finetuning() | {"regression": True})
    assert result["metrics"]["validation"].keys() == {"pearson", "spearman"}
    header, rows = read_predictions(tmp_path / "predictions/validation.tsv")
    assert header == ["index", "prediction", "label"]
    assert all(0 <= float(row[1]) <= 5 for row in rows)
    # The model learns almost nothing in one epoch, so it still predicts scores near 0.
    losses = [row["task_loss"] for row in read_metrics(tmp_path) if "task_loss" in row]
    assert np.mean(losses) == pytest.approx(np.mean(np.square([0, 1.5, 3.25, 5])), abs=1)


@pytest.mark.parametrize(("layers", "restored"), [(-1, 0), (0, 2), (1, 3)])
def test_transfer_restores_the_first_layers(gpt1, finetuning, tmp_path, layers, restored):
    result = gpt1.result("finetune.py:sst2", tmp_path, finetuning() | {"init.layers": layers})
    assert (result["init"]["layers"], result["init"]["step"]) == (layers, 20)
    log = (tmp_path / "log.txt").read_text()
    status = dict(re.findall(r"^  (\w+) +(restored|fresh)", log, re.MULTILINE))
    parts = ["tokens", "positions", "h0", "h1", "clf"]
    assert status == dict.fromkeys(parts[:restored], "restored") | dict.fromkeys(
        parts[restored:], "fresh"
    )


def test_without_auxiliary_loss_its_metric_is_absent(gpt1, finetuning, tmp_path):
    gpt1.result("finetune.py:sst2,no_aux_lm", tmp_path, finetuning())
    assert "lm_loss" not in read_metrics(tmp_path)[0]


def test_finished_run_is_not_repeated(gpt1, pretraining, pretrained):
    run = pretrained()
    files = [run / "result.json", run / "metrics.jsonl"]
    before = [file.read_bytes() for file in files]
    completed = gpt1.run(*gpt1.command("pretrain.py:tiny", run, pretraining()))
    assert completed.code == 0 and f"finished before: {run}/result.json" in completed.out
    assert [file.read_bytes() for file in files] == before


def test_default_workdir_and_equal_params_for_equal_commands(
    gpt1, pretraining, pretrained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    values = pretraining() | {"data.cache": "~/cache"}
    config, _, *settings = gpt1.command("pretrain.py:tiny,transformer", "", values)
    assert gpt1.run(config, *settings).code == 0
    assert {path.name for path in (tmp_path / "home/cache").iterdir()} > {"tokenizers", "tokens"}
    assert {path.name for path in tmp_path.iterdir()} == {"home", "runs"}
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"exp_pretrain_tiny_transformer_\d{8}-\d{6}", run.name)
    results = [json.loads((path / "result.json").read_text()) for path in (run, pretrained())]
    assert results[0]["params_sha256"] == results[1]["params_sha256"]


def test_two_processes_give_the_loss_of_one(gpt1, pretraining, tmp_path):
    dropout = ("model.embd_dropout", "model.attn_dropout", "model.resid_dropout")
    settings = pretraining() | dict.fromkeys(dropout, 0.0)
    expected = gpt1.result("pretrain.py:tiny", tmp_path / "one", settings)
    command = gpt1.command("pretrain.py:tiny", tmp_path / "two", settings)
    completed = subprocess.run(
        ["bash", REPOSITORY / "launch/local_multi.sh", "2", *command],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert completed.returncode == 0, completed.stderr
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name) if "loss" in row]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    result = json.loads((tmp_path / "two/result.json").read_text())
    assert result["validation_loss"] == pytest.approx(expected["validation_loss"], abs=1e-5)
