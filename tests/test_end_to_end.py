"""Books in, results out, through the command line: both bodies, all tasks, one process and two, and every way of being interrupted."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import REPOSITORY

TASKS = (
    "cola",
    "mrpc",
    "stsb",
    "mnli",
    "rte",
)  # one of each kind: reading all the others is tested with their files
METRICS = {
    "cola": {"matthews"},
    "mrpc": {"f1", "accuracy"},
    "stsb": {"pearson", "spearman"},
}
VARIANT = {"transformer": "full", "lstm": "lstm"}


def metrics(workdir: Path) -> list[dict]:
    """The rows of metrics.jsonl that are whole."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("body", VARIANT)
def test_pretraining_leaves_a_whole_run(pretrained, body):
    run = pretrained(body)
    result = json.loads((run / "result.json").read_text())
    assert (result["trainer"], result["steps"], result["tokens"]) == ("pretrain", 20, 20 * 4 * 32)
    assert result["validation_perplexity"] == pytest.approx(math.exp(result["validation_loss"]))
    rows = metrics(run)
    assert [row["step"] for row in rows if "loss" in row] == [5, 10, 15, 20]
    assert [row["step"] for row in rows if "validation_loss" in row] == [10, 20]
    assert {"perplexity", "bits_per_character", "lr", "grad_norm", "tokens_per_s", "mfu"} < set(
        rows[0]
    )
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
def test_finetuning_every_kind_of_task(gpt1, finetuning, tmp_path, task, body):
    result = gpt1.result(f"finetune.py:{task},{VARIANT[body]}", tmp_path, finetuning(body))
    development = ["validation", "validation_mismatched"] if task == "mnli" else ["validation"]
    tests = ["test", "test_mismatched", "ax"] if task == "mnli" else ["test"]
    assert result["metrics"].keys() == set(development)
    for scores in result["metrics"].values():
        assert scores.keys() == METRICS.get(task, {"accuracy"})
        assert all(-1 <= score <= 1 for score in scores.values())
    assert {split: facts["rows"] for split, facts in result["data"]["splits"].items()} == (
        {"train": 12} | dict.fromkeys(development, 6) | dict.fromkeys(tests, 3)
    )
    record = json.loads((tmp_path / "data.json").read_text())
    assert record.pop("fingerprints").keys() == {*result["data"]["splits"], "tokenizer"}
    assert result["data"] == record and record["source"] == "files"
    for split, rows in (dict.fromkeys(development, 6) | dict.fromkeys(tests, 3)).items():
        header, *lines = (tmp_path / "predictions" / f"{split}.tsv").read_text().splitlines()
        assert header.startswith("index\tprediction\tlabel\tp(")
        assert [line.split("\t")[0] for line in lines] == [str(row) for row in range(rows)]
        probabilities = np.array([line.split("\t")[3:] for line in lines], float)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (result["best_step"], result["steps"]) == (3, 3)
    assert {"loss", "task_loss", "lm_loss"} < set(metrics(tmp_path)[0])


@pytest.mark.parametrize(
    ("task", "body"), [("race_middle", "transformer"), ("story_cloze_2016", "lstm")]
)
def test_finetuning_choices(gpt1, finetuning, choices, tmp_path, task, body):
    result = gpt1.result(
        f"finetune.py:{task},{VARIANT[body]}", tmp_path, finetuning(body) | {"data.path": choices}
    )
    rows = (
        {"train": 12, "validation": 6}
        if task == "race_middle"
        else {"train": 15, "validation": 3, "test": 3}
    )
    assert {split: facts["rows"] for split, facts in result["data"]["splits"].items()} == rows
    assert result["metrics"].keys() == rows.keys() - {"train"}
    header, *lines = (tmp_path / "predictions/validation.tsv").read_text().splitlines()
    answers = "ABCD" if task == "race_middle" else "12"
    assert header.split("\t") == [
        "index",
        "prediction",
        "label",
        *(f"p({answer})" for answer in answers),
    ]
    cells = [line.split("\t") for line in lines]
    np.testing.assert_allclose(
        np.array([row[3:] for row in cells], float).sum(axis=1), 1, atol=1e-5
    )
    right = np.mean([row[1] == row[2] for row in cells])
    assert result["metrics"]["validation"]["accuracy"] == pytest.approx(right)


def test_graded_task_as_regression(gpt1, finetuning, tmp_path):
    result = gpt1.result("finetune.py:stsb", tmp_path, finetuning() | {"regression": True})
    assert result["metrics"]["validation"].keys() == {"pearson", "spearman"}
    header, *lines = (tmp_path / "predictions/validation.tsv").read_text().splitlines()
    assert header == "index\tprediction\tlabel"
    assert all(0 <= float(line.split("\t")[1]) <= 5 for line in lines)
    epoch = [row["task_loss"] for row in metrics(tmp_path) if "task_loss" in row]
    assert np.mean(epoch) == pytest.approx(np.mean(np.square([0, 1.5, 3.25, 5])), abs=1), (
        "next to nothing is learnt in one epoch"
    )


@pytest.mark.parametrize(
    ("layers", "fates"),
    [
        (
            -1,
            {"tokens": "fresh", "positions": "fresh", "h0": "fresh", "h1": "fresh", "clf": "fresh"},
        ),
        (
            0,
            {
                "tokens": "restored",
                "positions": "restored",
                "h0": "fresh",
                "h1": "fresh",
                "clf": "fresh",
            },
        ),
        (
            1,
            {
                "tokens": "restored",
                "positions": "restored",
                "h0": "restored",
                "h1": "fresh",
                "clf": "fresh",
            },
        ),
    ],
)
def test_transfer_of_the_first_layers(gpt1, finetuning, tmp_path, layers, fates):
    result = gpt1.result("finetune.py:sst2", tmp_path, finetuning() | {"init.layers": layers})
    assert (result["init"]["layers"], result["init"]["step"]) == (layers, 20)
    printed = re.findall(
        r"^  (\w+) +(restored|fresh)", (tmp_path / "log.txt").read_text(), re.MULTILINE
    )
    assert dict(printed) == fates


def test_finetuning_without_the_auxiliary_loss_never_forms_it(gpt1, finetuning, tmp_path):
    gpt1.result("finetune.py:sst2,no_aux_lm", tmp_path, finetuning())
    assert "lm_loss" not in metrics(tmp_path)[0]


def test_finished_run_answers_at_once(gpt1, pretraining, pretrained):
    run = pretrained()
    before = (run / "result.json").read_bytes(), (run / "metrics.jsonl").read_bytes()
    begin = time.perf_counter()
    ended = gpt1.run(*gpt1.command("pretrain.py:tiny", run, pretraining()))
    assert time.perf_counter() - begin < 1
    assert ended.code == 0 and f"finished before: {run}/result.json" in ended.out
    assert ((run / "result.json").read_bytes(), (run / "metrics.jsonl").read_bytes()) == before


def test_default_folder_is_named_after_config_and_time(
    gpt1, pretraining, pretrained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config, _, *settings = gpt1.command("pretrain.py:tiny,transformer", "", pretraining())
    assert gpt1.run(config, *settings).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"exp_pretrain_tiny_transformer_\d{8}-\d{6}", run.name)
    assert sha256(run) == sha256(pretrained())  # and the same command gives the same params


# A run that lasts long enough to be interrupted: some seconds, most of them in evaluation and in saving.
LONG = {"steps": 900, "checkpoint.every": 100, "checkpoint.keep": 3, "eval.every": 20}


def sha256(run: Path) -> str:
    return json.loads((run / "result.json").read_text())["params_sha256"]


def stop(process: subprocess.Popen, run: Path, step: int, number: signal.Signals) -> int:
    """Sends the signal once the run has logged update `step`; gives the exit code."""
    deadline = time.monotonic() + 120
    while not any(row["step"] >= step for row in metrics(run)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


@pytest.fixture(scope="module")
def undisturbed(gpt1, pretraining, tmp_path_factory) -> str:
    """The fingerprint of the long pretraining run when it is left alone."""
    return gpt1.result(
        "pretrain.py:tiny", tmp_path_factory.mktemp("undisturbed"), pretraining() | LONG
    )["params_sha256"]


def test_killed_pretraining_ends_as_one_left_alone(gpt1, pretraining, undisturbed, tmp_path):
    settings, step = pretraining() | LONG, random.randrange(110, 600)
    code = stop(
        gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path, settings)),
        tmp_path,
        step,
        signal.SIGKILL,
    )
    assert code == -signal.SIGKILL and not (tmp_path / "result.json").exists()
    assert gpt1.result("pretrain.py:tiny", tmp_path, settings)["params_sha256"] == undisturbed, (
        f"killed after update {step}"
    )
    assert "goes on from update" in (tmp_path / "log.txt").read_text()
    logged = [row["step"] for row in metrics(tmp_path) if "loss" in row]
    assert logged == sorted(set(logged)) and logged[-1] == 900


def test_killed_finetuning_ends_as_one_left_alone(gpt1, finetuning, tmp_path):
    settings, step = finetuning() | {"epochs": 16, "checkpoint.every": 2}, random.randrange(5, 40)
    alone = gpt1.result("finetune.py:sst2", tmp_path / "alone", settings)
    run = tmp_path / "killed"
    code = stop(
        gpt1.start(*gpt1.command("finetune.py:sst2", run, settings)), run, step, signal.SIGKILL
    )
    assert code == -signal.SIGKILL and not (run / "result.json").exists()
    resumed = gpt1.result("finetune.py:sst2", run, settings)
    assert {**resumed, "seconds": 0} == {**alone, "seconds": 0}, f"killed after update {step}"
    assert (run / "predictions/test.tsv").read_bytes() == (
        tmp_path / "alone/predictions/test.tsv"
    ).read_bytes()


def test_terminated_run_saves_that_very_update(gpt1, pretraining, undisturbed, tmp_path):
    settings = pretraining() | LONG | {"checkpoint.every": 2000}
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path, settings))
    assert stop(process, tmp_path, 60, signal.SIGTERM) == 143
    (saved,) = (int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert (
        60 <= saved < 900 and saved - metrics(tmp_path)[-1]["step"] < 5
    )  # no update was done after the last line of the log
    assert gpt1.result("pretrain.py:tiny", tmp_path, settings)["params_sha256"] == undisturbed
    assert f"goes on from update {saved}\n" in (tmp_path / "log.txt").read_text()


def test_run_that_blows_up_stops_and_saves_nothing_of_it(gpt1, pretraining, tmp_path):
    from gpt1_jax.engine import checkpoint

    settings = pretraining() | {"optim.lr": 1e30, "checkpoint.every": 1, "checkpoint.keep": 20}
    ended = gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path, settings))
    assert ended.code == 2
    (update,) = map(
        int,
        re.findall(
            r"^gpt1_jax: update (\d+): (?:loss|grad_norm) is (?:nan|inf); lower config.optim.lr",
            ended.err,
        ),
    )
    steps = checkpoint.steps(tmp_path)
    assert steps and steps[-1] < update
    for step in steps:
        params = checkpoint.read_params(tmp_path, step, checkpoint.param_names(tmp_path, step))
        assert all(np.isfinite(array).all() for array in params.values()), step


def test_two_processes_get_the_loss_of_one(gpt1, pretraining, tmp_path):
    settings = pretraining() | {
        "model.embd_dropout": 0.0,
        "model.attn_dropout": 0.0,
        "model.resid_dropout": 0.0,
    }
    one = gpt1.result("pretrain.py:tiny", tmp_path / "one", settings)
    two = subprocess.run(
        [
            "bash",
            REPOSITORY / "launch/local_multi.sh",
            "2",
            *gpt1.command("pretrain.py:tiny", tmp_path / "two", settings),
        ],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert two.returncode == 0, two.stderr
    losses = [
        [row["loss"] for row in metrics(tmp_path / name) if "loss" in row]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    result = json.loads((tmp_path / "two/result.json").read_text())
    assert result["validation_loss"] == pytest.approx(one["validation_loss"], abs=1e-5)
