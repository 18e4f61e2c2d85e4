"""The parts of a report, each made of blocks: ("text", str), ("groups", [(title, [str])]), ("table", Table), ("pictures", [Figure]),
("names", (title, [str])), ("samples", (title, [{"step", "text"}]))."""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt1_jax.analysis.report import differences, figures, formatting, paper, score_tables, summary
from gpt1_jax.analysis.report.results import FINISHED, FinetuningRun, Folder, Results
from gpt1_jax.analysis.report.scores import Scores, fingerprint
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.registry import TASKS

TITLES = {
    "table5": "Table 5: ablations",
    "main": "Tables 2 to 4: the full model",
    "transfer": "Figure 2, left: layers transferred",
    "data_size": "How many labelled examples",
    "top": "The top of the network",
    "seeds": "Single seeds",
}
ZERO_SHOT = "Figure 2, right: zero-shot probes"
MILESTONES = 6  # samples shown of each body

Block = tuple[str, Any]


class Section(NamedTuple):
    """A part of the page; `name` is its anchor."""

    name: str
    title: str
    blocks: list[Block]


def every(results: Results) -> list[Section]:
    """The page from top to bottom: what was found first, then what it stands on."""
    experiments, words, measured = [], [], []
    for experiment in results.experiments:
        scores = Scores(experiment)
        found = differences.compare(scores)
        title = TITLES.get(experiment.name, experiment.name.replace("_", " ").capitalize())
        experiments.append(
            Section(experiment.name, title, _experiment(experiment, title, scores, found))
        )
        measured.append(scores)
        points = list(dict.fromkeys(summary.comparisons(scores, found) + summary.ends(scores)))
        words += [(title, points)] * bool(points)
    probed = _zero_shot(results)
    words += [(ZERO_SHOT, summary.zero_shot(results))] * bool(probed)
    leading = [section for section in experiments if section.name in ("table5", "main", "transfer")]
    others = [section for section in experiments if section not in leading]
    first = (
        [Section("findings", "What was found", _findings(results, words, measured))]
        if results.runs
        else []
    )
    return [
        *first,
        *leading,
        *probed,
        *others,
        *_learning(measured),
        *_pretraining(results),
        *_runs(results),
    ]


def _findings(
    results: Results, words: list[tuple[str, list[str]]], measured: Sequence[Scores]
) -> list[Block]:
    told, trouble = summary.runs(results)
    leading = sorted(
        measured, key=lambda scores: bool(scores.values)
    )  # what varies nothing beside the variant says it best
    first = next(filter(None, map(summary.headline, leading)), "No run has finished yet.")
    groups = [*words, ("Runs", [*filter(None, [summary.other_data(measured)]), *told])]
    blocks = [("text", first), ("groups", groups), *(("names", item) for item in trouble.items())]
    return blocks + [("notes", summary.HOW)] * bool(words)


def _experiment(
    experiment, title: str, scores: Scores, found: differences.Differences
) -> list[Block]:
    if not scores.conditions:
        return [("text", "No run of this experiment has finished.")]
    tables = score_tables.main_tables(experiment) if experiment.name == "main" else []
    if tables:
        return [("table", table) for table in tables]  # it has nothing to compare
    table = (
        score_tables.table5(scores)
        if experiment.name == "table5"
        else score_tables.cells(experiment.name, f"{title}: scores", scores)
    )
    blocks = [("table", table), ("pictures", figures.experiment(experiment.name, scores, found))]
    if experiment.name != "table5":
        blocks.reverse()
    return blocks + [
        ("table", score_tables.differences(experiment.name, title, scores, found))
    ] * bool(found.single)


def _zero_shot(results: Results) -> list[Section]:
    probes = {
        body: run.result["probes"]
        for body, run in results.zero_shot.items()
        if run.result.get("probes")
    }
    if not probes:
        return []
    return [
        Section(
            "zero_shot",
            ZERO_SHOT,
            [("pictures", figures.zero_shot(probes)), ("table", _raw(probes))],
        )
    ]


def _raw(probes: Mapping[str, Mapping]) -> Table:
    """Raw scores at every kept checkpoint, with what counts as 0 and as 1."""
    steps = sorted(
        {int(step) for own in probes.values() for probe in own.values() for step in probe["steps"]}
    )
    rows = []
    for body, own in probes.items():
        for task, probe in own.items():
            cells = [
                Cell(f"{probe['split']}, {probe['rows']:,}"),
                formatting.number(probe["chance"]),
                formatting.number(probe["ceiling"]),
            ]
            scored = {
                int(step): formatting.number(entry["score"])
                for step, entry in probe["steps"].items()
            }
            name = f"{paper.task(task)} {paper.METRICS.get(probe['metric'], probe['metric'])}, {paper.BODIES.get(body, body)}"
            rows.append(
                Row(name, [*cells, *(scored.get(step, formatting.ABSENT) for step in steps)])
            )
    notes = [
        "100 x the metric, after so many updates of pretraining. Relative performance is (score − chance) / (ceiling − chance). The paper "
        "does not print its ceilings; these are the configuration's."
    ]
    columns = ["split, rows", "chance", "ceiling", *(f"{step:,}" for step in steps)]
    return Table(
        "zero_shot",
        "Raw scores of the probes, by updates of pretraining",
        "probe",
        columns,
        rows,
        notes,
    )


def _learning(measured: Sequence[Scores]) -> list[Section]:
    """Of every task of the first experiment that has finished runs."""
    scores = next((scores for scores in measured if scores.columns), None)
    if scores is None:
        return []
    words = "Thick lines are means over seeds, thin ones single runs. The checkpoint with the best development score is the one that counts."
    pictures = [figures.learning(scores, column) for column in scores.columns]
    return [Section("learning", "Learning curves", [("text", words), ("pictures", pictures)])]


def _pretraining(results: Results) -> list[Section]:
    """Loss, speed, what was read, and what the model wrote."""
    runs = {body: run for body, run in results.pretrain.items() if run.lines or run.result}
    if not results.pretrain:
        return []
    blocks = [("pictures", figures.pretraining(runs)), ("table", _facts(results.pretrain))]
    for body, run in runs.items():
        if run.samples:
            chosen = sorted(
                {round(place) for place in np.linspace(0, len(run.samples) - 1, MILESTONES)}
            )
            blocks.append(
                (
                    "samples",
                    (
                        f"What the {paper.BODIES.get(body, body)} wrote",
                        [run.samples[place] for place in chosen],
                    ),
                )
            )
    return [Section("pretraining", "Pretraining", blocks)]


def _facts(runs: Mapping[str, Folder]) -> Table:
    """A column a body."""
    facts = {
        "status": _status,
        "updates": lambda run: _count(run.lines[-1]["step"] if run.lines else None),
        "tokens seen": lambda run: _count(run.result.get("tokens")),
        "held-out loss, nats a token": lambda run: _decimal(run.result.get("validation_loss"), 2),
        "held-out perplexity": lambda run: _decimal(run.result.get("validation_perplexity"), 2),
        "held-out bits a character": lambda run: _decimal(
            run.result.get("validation_bits_per_character"), 3
        ),
        "tokens a second, median": lambda run: _count(_median(run, "tokens_per_s")),
        "model FLOP utilisation, median": lambda run: _decimal(_median(run, "mfu"), 3),
        "documents to train on": lambda run: _count(_read(run).get("documents")),
        "characters in them": lambda run: _count(_read(run).get("characters")),
        "tokens in them": lambda run: _count(_read(run).get("tokens")),
        "settings": _config,
    }
    rows = [Row(name, [fact(run) for run in runs.values()]) for name, fact in facts.items()]
    notes = [
        f"The paper reports a perplexity of {paper.numbers()['perplexity']} a token on BooksCorpus, with 40,000 merges; with another "
        "vocabulary or text it does not compare."
    ]
    return Table(
        "pretraining",
        "Pretraining runs",
        "",
        [paper.BODIES.get(body, body) for body in runs],
        rows,
        notes,
    )


def _read(run: Folder) -> Mapping[str, int]:
    """The training part of what was read, summed over the parts of a mixture."""
    total, about = collections.Counter(), run.json("data.json")
    for part in about.get("parts", {"": about}).values():
        total.update(part.get("splits", {}).get("train", {}))
    return total


def _runs(results: Results) -> list[Section]:
    """Every finetuning run, with what became of it."""
    if not results.runs:
        return []
    points = collections.defaultdict(list)
    for experiment in results.experiments:
        for point in experiment.points:
            value = (
                f" ({formatting.value(point.value, experiment.setting)})"
                if point.value is not None
                else ""
            )
            points[point.run.name].append((point, f"{experiment.name}{value}"))
    rows = [
        _run(run, points[name][0][0], [used for _, used in points[name]])
        for name, run in results.runs.items()
    ]
    columns = [
        "status",
        "task",
        "variant",
        "seed",
        "score",
        "data",
        "seconds",
        "device",
        "settings",
        "used in",
    ]
    notes = [
        "Score: 100 x the paper's metric on the first development split. Data: a hash of what was read to train and to choose by."
    ]
    return [
        Section(
            "runs",
            "Every run",
            [("table", Table("runs", "Finetuning runs", "folder", columns, rows, notes))],
        )
    ]


def _run(run: FinetuningRun, point, used: Sequence[str]) -> Row:
    score = data = formatting.ABSENT
    if run.status == FINISHED:
        task = TASKS[point.task]
        score = formatting.number(run.result["metrics"][task.validation[0]][task.metrics[0]])
        data = Cell(fingerprint(run, ["train", *task.validation]))
    device = Cell(str(run.result["device"])) if "device" in run.result else formatting.ABSENT
    seed = Cell(str(point.seed), "", point.seed)
    words = [
        _status(run, summary.degenerate(run)),
        Cell(paper.task(point.task)),
        Cell(paper.variant_of(point.variant).short),
        seed,
    ]
    return Row(
        run.name,
        [
            *words,
            score,
            data,
            _count(run.result.get("seconds")),
            device,
            _config(run),
            Cell(", ".join(dict.fromkeys(used))),
        ],
    )


def _status(run: Folder, reason: str = "") -> Cell:
    """What became of it; `reason`, why it has learnt nothing."""
    amiss = run.status != FINISHED or reason
    return Cell(
        ", ".join(filter(None, [run.status, reason])), run.error, style="flag" if amiss else ""
    )


def _config(run: Folder) -> Cell:
    """A relative link to a run's settings."""
    if not (run.path / "config.json").is_file():
        return formatting.ABSENT
    return Cell("config.json", link=(pathlib.PurePosixPath(run.link) / "config.json").as_posix())


def _median(run: Folder, name: str) -> float | None:
    _, values = run.curve(name)
    return float(np.median(values)) if len(values) else None


def _count(number: float | None) -> Cell:
    return formatting.ABSENT if number is None else Cell(f"{number:,.0f}", "", number)


def _decimal(number: float | None, places: int) -> Cell:
    return formatting.ABSENT if number is None else Cell(f"{number:.{places}f}", "", number)
