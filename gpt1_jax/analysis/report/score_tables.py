"""Tables of scores: an experiment's cells, the paper's rows under them, and the differences between full and the variants."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.results import Experiment
from gpt1_jax.analysis.report.scores import Column, Condition, Scores
from gpt1_jax.analysis.report.tables import Row, Table
from gpt1_jax.analysis.stats.intervals import Difference, corrected
from gpt1_jax.registry import TASKS

SERVER = "paper, GLUE test server"
AVERAGE = "Avg."
DEV = "the development split, by which the checkpoint was chosen, too"
LONG = {
    "matthews": "Matthews' correlation",
    "f1": "F1",
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
}


class Compared(NamedTuple):
    """Full minus other: in each column, and on average over the columns that all have; both corrected, as two families."""

    shared: list[Column]
    single: dict[tuple[Condition, Condition, Column], Difference]
    average: dict[tuple[Condition, Condition], Difference]


def compared(scores: Scores) -> Compared:
    """Every variant against full at the same value of the setting."""
    pairs = [
        (full, other)
        for full in scores.conditions
        for other in scores.conditions
        if full.variant == "full" != other.variant and full.value == other.value
    ]
    shared = scores.shared(
        sorted({condition for pair in pairs for condition in pair}, key=scores.conditions.index)
    )
    single = {
        (*pair, column): scores.difference(column, *pair)
        for pair in pairs
        for column in scores.columns
    }
    average = {pair: scores.average_difference(shared, *pair) for pair in pairs}
    found = lambda family: corrected(
        {key: difference for key, difference in family.items() if difference is not None}
    )
    return Compared(shared, found(single), found(average))


def table5(scores: Scores) -> Table:
    """In the paper's layout, the paper's row under each of ours."""
    shared = scores.shared(scores.conditions)
    rows = []
    for condition in scores.conditions:
        estimates = [
            formatting.score(scores.estimate(column, condition)) for column in scores.columns
        ]
        rows.append(
            Row(
                _named(condition, scores, long=True),
                [formatting.score(scores.average(shared, condition)), *estimates],
            )
        )
        numbers = paper.table5(condition.variant)
        if numbers:
            theirs = [
                formatting.published(None if column.data else numbers.get(column.task))
                for column in scores.columns
            ]
            average = (
                None
                if any(column.data for column in shared)
                else paper.table5_average(condition.variant, [column.task for column in shared])
            )
            rows.append(Row(SERVER, [formatting.published(average), *theirs], "paper"))
    notes = [
        formatting.ESTIMATES.format(split=DEV),
        _average_note(shared, scores),
        *_paper_notes(scores.columns),
        *data_notes([scores]),
    ]
    return Table(
        "table5",
        "Table 5: what each part is worth",
        "method",
        [AVERAGE, *_headed(scores.columns)],
        rows,
        notes,
    )


def cells(name: str, title: str, scores: Scores) -> Table:
    """Any other experiment: a row a value and variant, a column a task."""
    rows = [
        Row(
            _named(condition, scores),
            [formatting.score(scores.estimate(column, condition)) for column in scores.columns],
        )
        for condition in _by_value(scores)
    ]
    notes = [formatting.ESTIMATES.format(split="the development split"), *data_notes([scores])]
    return Table(name, title, _corner(scores), _headed(scores.columns), rows, notes)


def differences(name: str, title: str, scores: Scores, found: Compared) -> Table:
    """Full minus each variant; an average only where it is over several columns."""
    pairs = list(dict.fromkeys((full, other) for full, other, _ in found.single))
    averaged = len(found.shared) > 1
    rows = []
    for full, other in sorted(pairs, key=lambda pair: _by_value(scores).index(pair[1])):
        single = [
            formatting.gain(found.single.get((full, other, column))) for column in scores.columns
        ]
        rows.append(
            Row(
                _named(other, scores),
                [formatting.gain(found.average.get((full, other)))] * averaged + single,
            )
        )
    counts = {
        "single": formatting.count(len(found.single), "task difference"),
        "averages": formatting.count(len(found.average), "average"),
    }
    notes = [formatting.DIFFERENCES.format(**counts)]
    notes += [
        f"Avg. is over the columns that all rows have: {formatting.names(found.shared)}."
    ] * averaged
    columns = [AVERAGE] * averaged + _headed(scores.columns)
    return Table(
        f"{name}_differences", f"{title}: full minus variant", "full minus", columns, rows, notes
    )


def main_tables(experiment: Experiment) -> list[Table]:
    """Tables 2 to 4 as far as they were run, and the tasks that are in none of them."""
    tables = []
    for name, (title, columns) in paper.main_tables().items():
        columns = [column._replace(split=_evaluate_probe(experiment, column)) for column in columns]
        parts = [_only(experiment, column) for column in columns]
        rows = []
        for condition in dict.fromkeys(
            condition for part in parts for condition in part.conditions
        ):
            scored = [
                part.estimate(part.columns[0], condition) if part.columns else None
                for part in parts
            ]
            rows.append(
                Row(
                    _named(condition, parts[0], long=True),
                    [formatting.score(estimate) for estimate in scored],
                )
            )
        if not rows:
            continue
        rows.append(
            Row(
                "paper, test sets",
                [formatting.published(column.number) for column in columns],
                "paper",
            )
        )
        titles = [f"{column.column}\n{_split(column.split)}" for column in columns]
        notes = [
            formatting.ESTIMATES.format(split="the split that the column names"),
            *data_notes(parts),
        ]
        notes += [_QNLI] * ("QNLI\ndev" in titles)
        tables.append(Table(name, f"Table {name[-1]}: {title}", "method", titles, rows, notes))
    named = {column.task for _, columns in paper.main_tables().values() for column in columns}
    others = Scores(
        experiment._replace(
            points=tuple(point for point in experiment.points if point.task not in named)
        )
    )
    return tables + [
        cells("main_others", "Tasks that the paper's tables do not have", others)
    ] * bool(others.conditions)


def data_notes(every: Iterable[Scores]) -> list[str]:
    """Which columns are not of the published data, or of other data than their namesake."""
    kinds = {False: [], None: [], "": []}
    for scores in every:
        for column in scores.columns:
            facts = {
                run.result["data"]["splits"][split].get("published")
                for condition in scores.conditions
                for run in scores.runs(column, condition).values()
                for split in ("train", *column.splits)
            }
            for kind in (False, None):
                if kind in facts:
                    kinds[kind].append(column)
                    break
            kinds[""] += [column] * bool(column.data)
    texts = {
        False: "Not the published data, or a part of them: {}. The paper has nothing to compare these with.",
        None: "Whether these have the published size is not known: {}.",
        "": "Runs that have read other data than their task's first run stand in columns of their own, marked by a hash of the data: {}.",
    }
    return [
        texts[kind].format(", ".join(dict.fromkeys(column.title for column in columns)))
        for kind, columns in kinds.items()
        if columns
    ]


def _headed(columns: Sequence[Column]) -> list[str]:
    """Titles with the metric below."""
    return [f"{column.title}\n{paper.METRICS[column.metric]}" for column in columns]


def _named(condition: Condition, scores: Scores, long: bool = False) -> str:
    """A row's name: value first where one is varied, the variant where there is more than one."""
    names = paper.variant_of(condition.variant)
    variant = names.name if long else names.short
    if condition.value is None:
        return variant
    value = formatting.value(condition.value, scores.setting)
    return (
        f"{value}, {variant}"
        if len({condition.variant for condition in scores.conditions}) > 1
        else value
    )


def _corner(scores: Scores) -> str:
    several = len({condition.variant for condition in scores.conditions}) > 1
    return ", ".join(
        [formatting.setting(scores.setting)] * bool(scores.setting)
        + ["variant"] * (several or not scores.setting)
    )


def _by_value(scores: Scores) -> list[Condition]:
    """The conditions in the order of their values; within a value, and where values are no numbers, as they were."""
    return sorted(
        scores.conditions,
        key=lambda condition: (
            scores.values.index(condition.value) if condition.value in scores.values else -1
        ),
    )


def _average_note(shared: Sequence[Column], scores: Scores) -> str:
    left = [column for column in scores.columns if column not in shared]
    text = f"Avg. is over the columns that all rows have: {formatting.names(shared)}."
    text += f" Left out: {formatting.names(left)}." * bool(left)
    return f"{text} The paper's is given where it has all of these, over the same."


_QNLI = (
    "The paper's QNLI (88.1) is version 1, which is no longer distributed; ours is version 2, where the BERT paper (Table 1) gives 87.4 "
    "for the paper's model."
)


def _paper_notes(columns: Sequence[Column]) -> list[str]:
    """What keeps ours and the paper's apart."""
    tasks = {column.task for column in columns}
    notes = [
        "The paper's rows are single runs, judged on hidden test sets by the GLUE server. They stand here for orientation: dev and test do "
        "not compare, and no difference between ours and the paper's is computed."
    ]
    metrics = [
        f"{column.title} {LONG[column.metric]}"
        for column in columns
        if column.metric != "accuracy" and not column.data
    ]
    if metrics:
        notes.append(f"Metrics are the paper's: {', '.join(metrics)}, else accuracy.")
    if "mnli" in tasks:
        notes.append(
            "MNLI is the mean of its matched and mismatched sets, as the paper's 81.8 is of 82.1 and 81.4."
        )
    return notes + [_QNLI] * ("qnli" in tasks)


def _only(experiment: Experiment, column: paper.Published) -> Scores:
    points = tuple(point for point in experiment.points if point.task == column.task)
    return Scores(experiment._replace(points=points), {column.task: (column.split,)})


def _evaluate_probe(experiment: Experiment, column: paper.Published) -> str:
    """The split that is nearest to the paper's, or the first development split where no run has answered that."""
    answered = any(
        column.split in point.run.predictions
        for point in experiment.points
        if point.task == column.task
    )
    return column.split if answered else TASKS[column.task].validation[0]


def _split(name: str) -> str:
    return {"validation": "dev", "validation_mismatched": "dev"}.get(name, name)
