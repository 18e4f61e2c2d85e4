"""Build the tables of single runs: zero-shot probes, pretraining runs and finetuning runs."""

import collections
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.fields import COUNTS, DATA
from gpt1_jax.analysis.report.results import ExperimentPoint, Results
from gpt1_jax.analysis.report.run_folders import FINISHED, FinetuningRun, Folder
from gpt1_jax.analysis.report.scores import degenerate, fingerprint
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.registry import TASKS


def zero_shot(probes: Mapping[str, Mapping[str, Mapping[str, Mapping]]]) -> Table:
    """Return the raw scores of the probes at every checkpoint, with their chance and their ceiling.

    A pretraining with several runs has a row for each of them below the row of their means.

    Args:
        probes: name of the pretraining -> seed -> task -> the result of its probe.
    """
    results = {}  # (name of the pretraining, task) -> seed -> probe
    for name, runs in probes.items():
        for seed, tasks in runs.items():
            for task, probe in tasks.items():
                results.setdefault((name, task), {})[seed] = probe
    found = [probe for runs in results.values() for probe in runs.values()]
    steps = sorted({int(step) for probe in found for step in probe["steps"]})
    rows, flaws = [], {}
    for (name, task), runs in results.items():
        title = f"{paper.task(task)} {_metric(runs)}, {paper.pretraining(name)}"
        if flaw := _ceiling_flaw(task, runs):
            flaws[paper.task(task)] = flaw
        rows.append(_probe_row(title, list(runs.values()), steps, bool(flaw)))
        if len(runs) > 1:
            rows[-1] = rows[-1]._replace(name=f"{title}, mean of {len(runs)}")
            rows += [
                _probe_row(f"{title} {seed}", [runs[seed]], steps, bool(flaw)) for seed in runs
            ]
    table_notes = [
        "100 x the metric after the given number of pretraining steps. Relative performance is "
        "(score − chance) / (ceiling − chance). The paper does not print its ceilings. These are "
        "the ceilings of the configuration."
    ]
    if flaws:
        reasons = "; ".join(f"{task}: {flaw}" for task, flaw in flaws.items())
        table_notes.append(f"† is not the score of a single model in a source. {reasons}.")
    if len(found) > len(results):
        table_notes.append(
            "Brackets, and the bands of the figure, reach from the lowest pretraining run to the "
            "highest. They are no confidence intervals."
        )
    columns = ["split, rows", "chance", "ceiling", *(f"{step:,}" for step in steps)]
    title = "Raw scores of the probes by pretraining steps"
    return Table("zero_shot", title, "probe", columns, rows, table_notes)


def _metric(runs: Mapping[str, Mapping]) -> str:
    metric = next(iter(runs.values()))["metric"]
    return paper.METRICS.get(metric) or metric


def _ceiling_flaw(task: str, runs: Mapping[str, Mapping]) -> str:
    """Return what is wrong with the ceiling of the runs; "" for a ceiling of the user."""
    probe = TASKS[task].probe if task in tuple(TASKS) else None
    if probe is None or any(run["ceiling"] != probe.ceiling for run in runs.values()):
        return ""
    return probe.ceiling_note


def _probe_row(
    title: str, probes: Sequence[Mapping], steps: Sequence[int], flawed_ceiling: bool
) -> Row:
    """Return the scores of one probe, means over the given runs; mark a flawed ceiling."""
    first = probes[0]
    ceiling = formatting.number(first["ceiling"])
    if flawed_ceiling:
        ceiling = ceiling._replace(text=f"{ceiling.text}†")
    cells = [
        Cell(f"{first['split']}, {first['rows']:,}"),
        formatting.number(first["chance"]),
        ceiling,
    ]
    for step in map(str, steps):
        scores = [probe["steps"][step]["score"] for probe in probes if step in probe["steps"]]
        cells.append(formatting.mean_and_range(scores))
    return Row(title, cells)


def pretraining(pretrainings: Mapping[str, Mapping[str, Folder]]) -> Table:
    """Return the facts about the pretraining runs, with a column for each run."""
    facts = {}
    for name, runs in pretrainings.items():
        for seed, run in runs.items():
            title = paper.pretraining(name) + (f" {seed}" if len(runs) > 1 else "")
            facts[title] = _pretraining_facts(run)
    names = next(iter(facts.values()))
    rows = [Row(name, [cells[name] for cells in facts.values()]) for name in names]
    note = (
        f"The paper reports a perplexity of {paper.numbers()['perplexity']} per token on "
        "BooksCorpus with 40,000 merges. Perplexities on other text or with another vocabulary are "
        "not comparable with it."
    )
    return Table("pretraining", "Pretraining runs", "", list(facts), rows, [note])


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
