"""Build the tables of single runs: zero-shot probes, pretraining runs and finetuning runs."""

import collections
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.fields import COUNTS, DATA
from gpt1_jax.analysis.report.results import (
    FINISHED,
    ExperimentPoint,
    FinetuningRun,
    Folder,
    Results,
)
from gpt1_jax.analysis.report.scores import degenerate, fingerprint
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.registry import TASKS


def zero_shot(probes: Mapping[str, Mapping[str, Mapping]]) -> Table:
    """Return the raw scores of the probes at every checkpoint, with their chance and their ceiling.

    Args:
        probes: body -> task -> the result of its probe.
    """
    results = [
        (body, task, probe) for body, tasks in probes.items() for task, probe in tasks.items()
    ]
    steps = sorted({int(step) for _, _, probe in results for step in probe["steps"]})
    rows = []
    for body, task, probe in results:
        metric = paper.METRICS.get(probe["metric"], probe["metric"])
        cells = [
            Cell(f"{probe['split']}, {probe['rows']:,}"),
            formatting.number(probe["chance"]),
            formatting.number(probe["ceiling"]),
        ]
        for step in steps:
            entry = probe["steps"].get(str(step))
            cells.append(formatting.number(entry["score"]) if entry else formatting.ABSENT)
        rows.append(Row(f"{paper.task(task)} {metric}, {paper.BODIES.get(body, body)}", cells))
    note = (
        "100 x the metric after the given number of pretraining steps. Relative performance is "
        "(score − chance) / (ceiling − chance). The paper does not print its ceilings. These are "
        "the ceilings of the configuration."
    )
    columns = ["split, rows", "chance", "ceiling", *(f"{step:,}" for step in steps)]
    title = "Raw scores of the probes by pretraining steps"
    return Table("zero_shot", title, "probe", columns, rows, [note])


def pretraining(runs: Mapping[str, Folder]) -> Table:
    """Return the facts about the pretraining runs, with a column for each body."""
    facts = [_pretraining_facts(run) for run in runs.values()]
    rows = [Row(name, [cells[name] for cells in facts]) for name in facts[0]]
    note = (
        f"The paper reports a perplexity of {paper.numbers()['perplexity']} per token on "
        "BooksCorpus with 40,000 merges. Perplexities on other text or with another vocabulary are "
        "not comparable with it."
    )
    columns = [paper.BODIES.get(body, body) for body in runs]
    return Table("pretraining", "Pretraining runs", "", columns, rows, [note])


def _pretraining_facts(run: Folder) -> dict[str, Cell]:
    """Return the cells of one pretraining run by the names of their rows."""
    result, corpus = run.result, _training_corpus(run)
    return {
        "status": _status(run),
        "steps": _integer(run.lines[-1]["step"] if run.lines else None),
        "tokens processed": _integer(result.get("tokens")),
        "held-out loss, nats per token": _decimal(result.get("validation_loss"), 2),
        "held-out perplexity": _decimal(result.get("validation_perplexity"), 2),
        "held-out bits per character": _decimal(result.get("validation_bits_per_character"), 3),
        "tokens per second, median": _integer(_median(run, "tokens_per_s")),
        "model FLOP utilization, median": _decimal(_median(run, "mfu"), 3),
        "training documents": _integer(corpus.get("documents")),
        "training characters": _integer(corpus.get("characters")),
        "training tokens": _integer(corpus.get("tokens")),
        "config": _config_link(run),
    }


def _training_corpus(run: Folder) -> Mapping[str, int]:
    """Return the counts of the training split, summed over the corpora of a mixture."""
    total, data = collections.Counter(), run.json("data.json", DATA)
    for corpus in data.get("parts", {"": data}).values():
        counts = corpus.get("splits", {}).get("train", {})
        total.update({name: counts[name] for name in COUNTS if name in counts})
    return total


def finetuning(results: Results) -> Table:
    """Return one row for every finetuning run, with its status and the experiments that use it."""
    points, uses = {}, collections.defaultdict(list)
    for experiment in results.experiments:
        for point in experiment.points:
            use = experiment.name
            if point.value is not None:
                use += f" ({formatting.value(point.value, experiment.setting)})"
            points.setdefault(point.run.name, point)
            uses[point.run.name].append(use)
    rows = [_finetuning_row(run, points[name], uses[name]) for name, run in results.runs.items()]
    columns = ["status", "task", "variant", "seed", "score", "data", "seconds", "device"]
    columns += ["config", "used in"]
    note = (
        "Score: 100 x the paper's metric on the first development split. Data: a hash of the "
        "training split and the development splits."
    )
    return Table("runs", "Finetuning runs", "folder", columns, rows, [note])


def _finetuning_row(run: FinetuningRun, point: ExperimentPoint, uses: Sequence[str]) -> Row:
    score = data = device = formatting.ABSENT
    if run.status == FINISHED:
        task = TASKS[point.task]
        score = formatting.number(run.result["metrics"][task.validation[0]][task.metrics[0]])
        data = Cell(fingerprint(run, ["train", *task.validation]))
    if "device" in run.result:
        device = Cell(str(run.result["device"]))
    cells = [
        _status(run, degenerate(run)),
        Cell(paper.task(point.task)),
        Cell(paper.variant_of(point.variant).short),
        Cell(str(point.seed), "", point.seed),
        score,
        data,
        _integer(run.result.get("seconds")),
        device,
        _config_link(run),
        Cell(", ".join(dict.fromkeys(uses))),
    ]
    return Row(run.name, cells)


def _status(run: Folder, problem: str = "") -> Cell:
    """Return the status of a run. `problem` says why a finished run has learned nothing."""
    text = ", ".join(filter(None, [run.status, problem]))
    return Cell(text, run.error, style="" if text == FINISHED else "flag")


def _config_link(run: Folder) -> Cell:
    """Return a relative link to the config.json of a run below the workdir."""
    if not (run.path / "config.json").is_file():
        return formatting.ABSENT
    link = (pathlib.PurePosixPath(run.link) / "config.json").as_posix() if run.link else ""
    return Cell("config.json", link=link)


def _median(run: Folder, name: str) -> float | None:
    _, values = run.curve(name)
    return float(np.median(values)) if len(values) else None


def _integer(number: float | None) -> Cell:
    return formatting.ABSENT if number is None else Cell(f"{number:,.0f}", "", number)


def _decimal(number: float | None, digits: int) -> Cell:
    return formatting.ABSENT if number is None else Cell(f"{number:.{digits}f}", "", number)
