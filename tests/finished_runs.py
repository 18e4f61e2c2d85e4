"""Write small, deterministic folders of finished runs, from which tests make reports."""

import hashlib
import json
import pathlib
import zlib
from collections.abc import Iterable

import numpy as np

from gpt1_jax.analysis.stats import metrics
from gpt1_jax.registry import TASKS
from gpt1_jax.storage import write_json

ROWS = 60
# Variant -> the probability of a correct prediction.
SKILL = {"full": 0.85, "no_aux_lm": 0.8, "lstm": 0.7, "no_pretraining": 0.1}
CONSTANT = -1  # as a skill: predict the same for every row


def write_lines(path: pathlib.Path, lines: Iterable[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_finetuning_run(
    folder: pathlib.Path,
    task: str,
    seed: int,
    skill: float,
    data: str = "",
    published: bool | None = True,
) -> None:
    """Write a finished run that predicts correctly with probability `skill`, or CONSTANT.

    Runs with different `data` have read different data.
    """
    entry, generator = TASKS[task], np.random.default_rng(zlib.crc32(folder.name.encode()))
    scores, rows = {}, {"train": 200}
    for split in (*entry.validation, *entry.test):
        labels, predictions = _predict(entry, skill, generator)
        hidden = split in entry.hidden
        path = folder / "predictions" / f"{split}.tsv"
        _write_predictions(path, entry, labels, predictions, hidden, skill == CONSTANT)
        rows[split] = ROWS
        if not hidden:
            scores[split] = metrics.score(entry.metrics, labels, predictions)
    splits = {
        split: {
            "rows": count,
            "published": published,
            "sha256": hashlib.sha256(f"{task} {split} {data}".encode()).hexdigest(),
        }
        for split, count in rows.items()
    }
    result = {
        "trainer": "finetune",
        "task": task,
        "seed": seed,
        "metrics": scores,
        "data": {"source": "files", "splits": splits},
        "seconds": 12.3,
        "device": "cpu",
    }
    write_json(folder / "result.json", result)
    write_json(folder / "config.json", {"trainer": "finetune", "lm_coef": 0.5, "epochs": 3})
    metric = entry.metrics[0]
    lines = [
        {"step": step, "task_loss": 1 / step, "train_accuracy": 0.9, "tokens_per_s": 1000.0}
        for step in (10, 20)
    ]
    lines.append({"step": 20, f"{entry.validation[0]}_{metric}": scores["validation"][metric]})
    write_lines(folder / "metrics.jsonl", lines)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3')  # the end of a process that died


def _predict(entry, skill: float, generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [ROWS] and predictions [ROWS], class ids or scores."""
    labels = np.arange(ROWS) % (51 if entry.bins else len(entry.labels))
    labels = labels / 10 if entry.bins else labels
    correct = generator.random(ROWS) < skill
    predictions = np.where(correct, labels, generator.permutation(labels))
    return labels, np.zeros(ROWS) if skill == CONSTANT else predictions


def _write_predictions(
    path: pathlib.Path, entry, labels, predictions, hidden: bool, uniform: bool
) -> None:
    """Write a table of predictions; `uniform` gives all classes the same probability."""

    def name(value) -> str:
        return f"{value:.4f}" if entry.bins else entry.labels[int(value)]

    classes = entry.outputs
    header = "\t".join(f"p({number})" for number in range(classes))
    lines = [f"index\tprediction\tlabel\t{header}"]
    for number, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
        if uniform:
            probabilities = np.full(classes, 1 / classes)
        else:
            near = np.maximum(0, 1 - np.abs(prediction - np.arange(classes)))
            probabilities = 0.3 / classes + 0.7 * near
        shown_label = "" if hidden else name(label)
        fields = [str(number), name(prediction), shown_label, *(f"{p:.6f}" for p in probabilities)]
        lines.append("\t".join(fields))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_pretraining_run(folder: pathlib.Path, body: str) -> None:
    """Write a finished pretraining run with samples."""
    model = {"name": body, "width": 128, "embd_dropout": 0.1}
    config = {"trainer": "pretrain", "model": model, "steps": 40, "data": {"corpus": "text"}}
    write_json(folder / "config.json", config)
    versions = {"gpt1_jax": "0.1.0", "jax": "0.10.2"}
    start = {"commit": "b" * 40, "versions": versions, "devices": {"kind": "cpu", "count": 1}}
    write_json(folder / "environment.json", {"starts": [start]})
    corpus = {"documents": 7, "characters": 7000, "tokens": 1750}
    write_json(folder / "data.json", {"splits": {"train": corpus}})
    result = {
        "trainer": "pretrain",
        "steps": 40,
        "tokens": 4321,
        "validation_loss": 3.25,
        "validation_perplexity": 25.79,
    }
    write_json(folder / "result.json", result)
    lines = [
        {"step": step, "loss": 9 - step / 10, "tokens_per_s": 500.0 + step, "mfu": 0.25}
        for step in (10, 20, 30, 40)
    ]
    lines += [{"step": step, "validation_loss": 8 - step / 10} for step in (20, 40)]
    write_lines(folder / "metrics.jsonl", lines)
    # Step 10 was written twice: a process died after it.
    samples = [{"step": step, "text": f"after {step} < updates & more"} for step in (10, 10, 40)]
    write_lines(folder / "samples.jsonl", samples)


def write_zero_shot_run(folder: pathlib.Path, body: str, gain: float) -> None:
    """Write a finished zero-shot run with three probes; the figure shows the first one only."""
    steps = (5, 50, 500)

    def probe(curve: str, chance: float, ceiling: float) -> dict:
        relative = {str(step): gain * number for number, step in enumerate(steps)}
        return {
            "curve": curve,
            "metric": "accuracy",
            "split": "validation",
            "rows": ROWS,
            "chance": chance,
            "ceiling": ceiling,
            "steps": {
                step: {"score": chance + value * (ceiling - chance), "relative": value}
                for step, value in relative.items()
            },
        }

    probes = {
        "sst2": probe("sentiment", 0.5, 0.932),
        "story_cloze_2016": probe("", 0.5, 0.776),
        "race": probe("", 0.25, 0.533),
    }
    result = {"trainer": "zero_shot", "body": body, "steps": steps, "probes": probes}
    write_json(folder / "result.json", result)


def point(variant: str, task: str, value, seed: int, cell: str) -> dict:
    """Return a point of an experiment as cells.json stores it; two pretraining runs of each."""
    body = "lstm" if variant == "lstm" else "transformer"
    origin = {"cell": cell, "pretraining": f"{body}_{seed % 2}"}
    return {"variant": variant, "task": task, "value": value, "seed": seed, **origin}


def write_ablations(root: pathlib.Path) -> pathlib.Path:
    """Write a whole ablation and return its folder.

    It holds Table 5, Tables 2 to 4, both panels of Figure 2, data sizes, and an experiment that the
    code does not know.
    """
    experiments = {
        "table5": {"setting": "", "points": _write_table5(root)},
        "main": {"setting": "", "points": _write_main(root)},
        "transfer": {"setting": "init.layers", "points": _write_transfer(root)},
        "data_size": {"setting": "data.examples", "points": _write_data_sizes(root)},
    }
    write_finetuning_run(root / "warm", "rte", 0, 0.9)
    unknown = [point("full", "rte", "warm & wet", 0, "warm")]
    experiments["a_new_idea"] = {"setting": "model.temperature", "points": unknown}
    elsewhere = root.parent / "exp_lstm"
    write_pretraining_run(elsewhere, "lstm")
    write_zero_shot_run(root / "zero_shot_lstm", "lstm", 0.2)
    for seed, gain in ((0, 0.4), (1, 0.3)):
        write_pretraining_run(root / f"pretrain_transformer_{seed}", "transformer")
        write_zero_shot_run(root / f"zero_shot_transformer_{seed}", "transformer", gain)
    # The LSTM as an earlier version wrote it.
    cells = {
        "experiments": experiments,
        "pretrain": {
            "transformer": {str(seed): f"pretrain_transformer_{seed}" for seed in (1, 0)},
            "lstm": str(elsewhere),
        },
        "zero_shot": {
            "transformer": {str(seed): f"zero_shot_transformer_{seed}" for seed in (0, 1)},
            "lstm": "zero_shot_lstm",
        },
    }
    write_json(root / "cells.json", cells)
    return root


def _write_table5(root: pathlib.Path) -> list[dict]:
    """Write Table 5 on four tasks.

    One run has failed, one is missing, one is unfinished, one has read other data, and one predicts
    the same for every row.
    """
    points = [
        point(variant, task, None, seed, f"{task}_{variant}_{seed}")
        for task in ("rte", "cola", "stsb", "mnli")
        for variant in SKILL
        for seed in (0, 1)
    ]
    for entry in points:
        skill = SKILL[entry["variant"]]
        write_finetuning_run(root / entry["cell"], entry["task"], entry["seed"], skill)
    write_finetuning_run(root / "cola_no_pretraining_1", "cola", 1, CONSTANT)
    write_finetuning_run(root / "rte_lstm_1", "rte", 1, 0.7, data="other", published=False)
    (root / "mnli_lstm_1" / "result.json").unlink()
    failure = {"error": "the loss is not finite\nat update 3", "time": 1.0}
    write_json(root / "mnli_lstm_1" / "failed.json", failure)
    (root / "stsb_lstm_0" / "result.json").unlink()
    return [*points, point("lstm", "stsb", None, 2, "never_begun")]


def _write_main(root: pathlib.Path) -> list[dict]:
    """Write the runs of Tables 2 to 4 that Table 5 does not have."""
    points = [point("full", "rte", None, seed, f"rte_full_{seed}") for seed in (0, 1)]
    for task in ("snli", "wnli"):
        write_finetuning_run(root / f"{task}_full_0", task, 0, 0.9)
        points.append(point("full", task, None, 0, f"{task}_full_0"))
    return points


def _write_transfer(root: pathlib.Path) -> list[dict]:
    points = []
    for layers in (-1, 0, 1, 2):
        for seed in (0, 1):
            cell = f"rte_{layers}_{seed}"
            write_finetuning_run(root / cell, "rte", seed, 0.5 + 0.15 * (layers + 1))
            points.append(point("full", "rte", layers, seed, cell))
    return points


def _write_data_sizes(root: pathlib.Path) -> list[dict]:
    points = []
    for size in (100, 1000, 0):  # 0: all of them
        for variant in ("full", "no_aux_lm"):
            cell = f"rte_{variant}_examples_{size}"
            write_finetuning_run(root / cell, "rte", 0, SKILL[variant])
            result = json.loads((root / cell / "result.json").read_text())
            result["data"]["splits"]["train"] |= {"sha256": f"first {size}", "rows": size or 2490}
            write_json(root / cell / "result.json", result)
            points.append(point(variant, "rte", size, 0, cell))
    return points
