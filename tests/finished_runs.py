"""A folder of results as the ablation leaves it, written by a small deterministic hand: what reports are made from."""

import hashlib
import json
import pathlib
import zlib
from collections.abc import Mapping

import numpy as np

from gpt1_jax.analysis.stats import metrics
from gpt1_jax.registry import TASKS

ROWS = 60
# How often a variant's answer is the right one.
SKILL = {"full": 0.85, "no_aux_lm": 0.8, "lstm": 0.7, "no_pretraining": 0.1}


def write_json(path: pathlib.Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def finetuned(
    folder: pathlib.Path,
    task: str,
    seed: int,
    skill: float,
    data: str = "",
    published: bool | None = True,
) -> None:
    """A finished run that answers rightly with probability `skill`; -1 stands for the same answer to every row."""
    entry, draws = TASKS[task], np.random.default_rng(zlib.crc32(folder.name.encode()))
    scores, splits = {}, {"train": ("train", 200)}
    for split in (*entry.validation, *entry.test):
        hidden = split in entry.hidden
        labels = np.arange(ROWS) % (51 if entry.bins else len(entry.labels))
        labels = labels / 10 if entry.bins else labels
        answers = np.where(draws.random(ROWS) < skill, labels, draws.permutation(labels))
        answers = np.zeros(ROWS) if skill == -1 else answers
        name = (
            (lambda value: f"{value:.4f}")
            if entry.bins
            else (lambda value: entry.labels[int(value)])
        )
        lines = [
            "index\tprediction\tlabel\t"
            + "\t".join(f"p({number})" for number in range(entry.outputs))
        ]
        for number, (answer, label) in enumerate(zip(answers, labels, strict=True)):
            near = np.maximum(0, 1 - np.abs(answer - np.arange(entry.outputs)))
            chances = (
                np.full(entry.outputs, 1 / entry.outputs)
                if skill == -1
                else 0.3 / entry.outputs + 0.7 * near
            )
            row = [
                str(number),
                name(answer),
                "" if hidden else name(label),
                *(f"{chance:.6f}" for chance in chances),
            ]
            lines.append("\t".join(row))
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        (folder / "predictions" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
        splits[split] = (split, ROWS)
        if not hidden:
            scores[split] = metrics.score(entry.metrics, labels, answers)
    facts = {
        split: {
            "rows": rows,
            "published": published,
            "sha256": hashlib.sha256(f"{task} {name} {data}".encode()).hexdigest(),
        }
        for split, (name, rows) in splits.items()
    }
    result = {
        "trainer": "finetune",
        "task": task,
        "seed": seed,
        "metrics": scores,
        "data": {"source": "files", "splits": facts},
    }
    write_json(folder / "result.json", result | {"seconds": 12.3, "device": "cpu"})
    write_json(folder / "config.json", {"trainer": "finetune"})
    first = f"{entry.validation[0]}_{entry.metrics[0]}"
    lines = [{"step": step, "task_loss": 1 / step, "tokens_per_s": 1000.0} for step in (10, 20)] + [
        {"step": 20, first: scores["validation"][entry.metrics[0]]}
    ]
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3'
    )


def pretrained(folder: pathlib.Path, body: str) -> None:
    """A finished pretraining run with samples."""
    write_json(folder / "config.json", {"trainer": "pretrain", "model": {"name": body}})
    write_json(
        folder / "data.json",
        {"splits": {"train": {"documents": 7, "characters": 7000, "tokens": 1750}}},
    )
    write_json(
        folder / "result.json",
        {
            "trainer": "pretrain",
            "steps": 40,
            "tokens": 4321,
            "validation_loss": 3.25,
            "validation_perplexity": 25.79,
        },
    )
    lines = [
        {"step": step, "loss": 9 - step / 10, "tokens_per_s": 500.0 + step, "mfu": 0.25}
        for step in (10, 20, 30, 40)
    ]
    lines += [{"step": step, "validation_loss": 8 - step / 10} for step in (20, 40)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = [{"step": step, "text": f"after {step} < updates & more"} for step in (10, 10, 40)]
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))


def probed(folder: pathlib.Path, body: str, gain: float) -> None:
    """A finished zero-shot run with two probes, one of them outside the figure."""
    steps = (5, 50, 500)
    probe = lambda curve, metric, chance, ceiling: {
        **{
            "curve": curve,
            "metric": metric,
            "split": "validation",
            "rows": ROWS,
            "chance": chance,
            "ceiling": ceiling,
        },
        "steps": {
            str(step): {
                "score": chance + gain * place * (ceiling - chance),
                "relative": gain * place,
            }
            for place, step in enumerate(steps)
        },
    }
    probes = {
        "sst2": probe("sentiment", "accuracy", 0.5, 0.932),
        "story_cloze_2016": probe("", "accuracy", 0.5, 0.776),
    }
    write_json(
        folder / "result.json",
        {"trainer": "zero_shot", "body": body, "steps": steps, "probes": probes},
    )


def point(variant: str, task: str, value, seed: int, cell: str) -> dict:
    return {"variant": variant, "task": task, "value": value, "seed": seed, "cell": cell}


def ablations(root: pathlib.Path) -> pathlib.Path:
    """The whole: Table 5 on four tasks with a failed, a missing and a half-done run, one on other data and one that always answers the
    same; tables 2 to 4, both panels of Figure 2, data sizes, and an experiment of which nothing is known."""
    experiments: dict[str, Mapping] = {}

    def experiment(name: str, setting: str, points: list[dict]) -> None:
        experiments[name] = {"setting": setting, "points": points}

    table5 = [
        point(variant, task, None, seed, f"{task}_{variant}_{seed}")
        for task in ("rte", "cola", "stsb", "mnli")
        for variant in SKILL
        for seed in (0, 1)
    ]
    for entry in table5:
        finetuned(root / entry["cell"], entry["task"], entry["seed"], SKILL[entry["variant"]])
    finetuned(root / "cola_no_pretraining_1", "cola", 1, -1)
    finetuned(root / "rte_lstm_1", "rte", 1, 0.7, data="other", published=False)
    (root / "mnli_lstm_1" / "result.json").unlink()
    write_json(
        root / "mnli_lstm_1" / "failed.json",
        {"error": "the loss is not finite\nat update 3", "time": 1.0},
    )
    (root / "stsb_lstm_0" / "result.json").unlink()
    experiment("table5", "", [*table5, point("lstm", "stsb", None, 2, "never_begun")])
    main = [point("full", "rte", None, seed, f"rte_full_{seed}") for seed in (0, 1)]
    for task in ("snli", "wnli"):
        finetuned(root / f"{task}_full_0", task, 0, 0.9)
        main.append(point("full", task, None, 0, f"{task}_full_0"))
    experiment("main", "", main)

    transfer = []
    for layers in (-1, 0, 1, 2):
        for seed in (0, 1):
            cell = f"rte_{layers}_{seed}"
            finetuned(root / cell, "rte", seed, 0.5 + 0.15 * (layers + 1))
            transfer.append(point("full", "rte", layers, seed, cell))
    experiment("transfer", "init.layers", transfer)

    sizes = []
    for size in (100, 1000, 0):  # 0: all of them
        for variant in ("full", "no_aux_lm"):
            cell = f"rte_{variant}_examples_{size}"
            finetuned(root / cell, "rte", 0, SKILL[variant])
            result = json.loads((root / cell / "result.json").read_text())
            result["data"]["splits"]["train"] |= {"sha256": f"first {size}", "rows": size or 2490}
            write_json(root / cell / "result.json", result)
            sizes.append(point(variant, "rte", size, 0, cell))
    experiment("data_size", "data.examples", sizes)

    finetuned(root / "warm", "rte", 0, 0.9)
    experiment("a_new_idea", "model.temperature", [point("full", "rte", "warm & wet", 0, "warm")])
    elsewhere = root.parent / "exp_lstm"
    for body, gain, folder in (
        ("transformer", 0.4, root / "pretrain_transformer"),
        ("lstm", 0.2, elsewhere),
    ):
        pretrained(folder, body)
        probed(root / f"zero_shot_{body}", body, gain)
    bodies = {"pretrain": {"transformer": "pretrain_transformer", "lstm": str(elsewhere)}}
    bodies["zero_shot"] = {body: f"zero_shot_{body}" for body in ("transformer", "lstm")}
    write_json(root / "cells.json", {"experiments": experiments, **bodies})
    return root
