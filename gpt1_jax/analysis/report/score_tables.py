"""Make tables of scores and of differences from the scores of an experiment."""

from collections.abc import Sequence

from gpt1_jax.analysis.report import formatting, notes, paper
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.results import Experiment
from gpt1_jax.analysis.report.scores import Column, Condition, Scores, test_scores
from gpt1_jax.analysis.report.tables import Row, Table
from gpt1_jax.registry import TASKS

PAPER_ROW = "paper, GLUE test server"
AVERAGE = "Avg."


def table5(scores: Scores) -> list[Table]:
    """Return Table 5 in the paper's layout, with the paper's row under each of our rows.

    If a column is not on published data, the paper's rows have a table of their own.
    """
    shared = scores.shared_columns(scores.conditions)
    comparable = _is_published(scores)
    rows, published = [], []
    for condition in scores.conditions:
        row = _score_row(condition, scores, long=True)
        average = formatting.score(scores.average(shared, condition))
        rows.append(row._replace(cells=[average, *row.cells]))
        if paper.table5(condition.variant):
            line = _paper_row(condition.variant, scores.columns, shared)
            published.append(line._replace(name=row.name))
            if comparable:
                rows.append(line)
    paper_notes = notes.paper_notes(scores.columns)
    headers = [AVERAGE, *_headers(scores.columns)]
    table_notes = [
        notes.score_note(notes.SELECTION_SPLIT),
        notes.table5_average_note(shared, scores),
        *notes.pretraining_note(scores),
        *(paper_notes if comparable else ()),
        *notes.data_notes([scores]),
    ]
    ours = Table("table5", "Table 5: what each part is worth", "method", headers, rows, table_notes)
    if comparable or not published:
        return [ours]
    title = "Table 5 of the paper, on the published data"
    return [ours, Table("table5_paper", title, "method", headers, published, paper_notes)]


def table5_on_test(experiment: Experiment) -> list[Table]:
    """Return Table 5 on the test splits whose labels are known to the runs; [] without any."""
    scores = test_scores(experiment)
    if not scores.conditions:
        return []
    rows = [_score_row(condition, scores, long=True) for condition in scores.conditions]
    table_notes = [notes.score_note("the test split"), *notes.pretraining_note(scores)]
    headers = _headers(scores.columns)
    return [Table("table5_test", "Table 5: test splits", "method", headers, rows, table_notes)]


def _is_published(scores: Scores) -> bool:
    """Return False if a column that the paper may have is not on the published data."""
    return not any(
        False in scores.published(column) for column in scores.columns if not column.data
    )


def _paper_row(variant: str, columns: Sequence[Column], shared: Sequence[Column]) -> Row:
    """Return the paper's row of Table 5; its average is over the shared columns."""
    numbers = paper.table5(variant)
    average = None
    if not any(column.data for column in shared):
        average = paper.table5_average(variant, [column.task for column in shared])
    points = [None if column.data else numbers.get(column.task) for column in columns]
    return Row(PAPER_ROW, [formatting.paper_number(entry) for entry in (average, *points)], "paper")


def score_table(name: str, title: str, scores: Scores) -> Table:
    """Return a table with one row for each value and variant, and one column for each task."""
    rows = [_score_row(condition, scores) for condition in _by_value(scores)]
    table_notes = [
        notes.score_note("the development split"),
        *notes.pretraining_note(scores),
        *notes.data_notes([scores]),
    ]
    return Table(name, title, _corner(scores), _headers(scores.columns), rows, table_notes)


def differences(name: str, title: str, scores: Scores, differences: Differences) -> Table:
    """Return the table of full minus each variant.

    The table has a column of averages if several columns are shared by all conditions.
    """
    has_average = len(differences.shared) > 1
    pairs = list(dict.fromkeys((full, other) for full, other, _ in differences.single))
    order = _by_value(scores)
    rows = []
    for full, other in sorted(pairs, key=lambda pair: order.index(pair[1])):
        entries = [differences.single.get((full, other, column)) for column in scores.columns]
        if has_average:
            entries.insert(0, differences.average.get((full, other)))
        rows.append(
            Row(_row_name(other, scores), [formatting.difference_cell(entry) for entry in entries])
        )
    columns = _headers(scores.columns)
    table_notes = [notes.difference_note(differences), *notes.pretraining_note(scores)]
    if any(entry.seeds == 1 for entry in differences.single.values()):
        table_notes.append(notes.ONE_SEED)
    if has_average:
        columns.insert(0, AVERAGE)
        table_notes.append(notes.average_note(differences.shared))
    title = f"{title}: full minus variant"
    return Table(f"{name}_differences", title, "full minus", columns, rows, table_notes)


def main_tables(experiment: Experiment) -> list[Table]:
    """Return Tables 2 to 4 as far as they were run, and a table of the tasks in none of them."""
    tables, paper_tasks = [], set()
    for name, (title, columns) in paper.main_tables().items():
        tables += _main_table(name, title, columns, experiment)
        paper_tasks |= {column.task for column in columns}
    points = tuple(point for point in experiment.points if point.task not in paper_tasks)
    others = Scores(experiment._replace(points=points))
    if others.conditions:
        title = "Tasks that the paper's tables do not have"
        tables.append(score_table("main_others", title, others))
    return tables


def _main_table(
    name: str, title: str, columns: Sequence[paper.Published], experiment: Experiment
) -> list[Table]:
    """Return one of Tables 2 to 4, with the paper's row; [] if no run of it has finished.

    If a column is not on published data, the paper's row has a table of its own.
    """
    splits = [_evaluated_split(experiment, column) for column in columns]
    parts = [
        _scores_on(experiment, column.task, split)
        for column, split in zip(columns, splits, strict=True)
    ]
    rows = []
    for condition in dict.fromkeys(condition for part in parts for condition in part.conditions):
        estimates = [
            part.estimate(part.columns[0], condition) if part.columns else None for part in parts
        ]
        row_name = _row_name(condition, parts[0], long=True)
        rows.append(Row(row_name, [formatting.score(estimate) for estimate in estimates]))
    if not rows:
        return []
    numbers = [formatting.paper_number(column.number) for column in columns]
    paper_row = Row("paper, test sets", numbers, "paper")
    comparable = all(map(_is_published, parts))
    if comparable:
        rows.append(paper_row)
    headers = [
        f"{column.column}\n{_split_name(split)}"
        for column, split in zip(columns, splits, strict=True)
    ]
    table_notes = [notes.score_note("the split that the column names"), *notes.data_notes(parts)]
    if "QNLI\ndev" in headers:
        table_notes.append(notes.QNLI)
    tables = [Table(name, f"Table {name[-1]}: {title}", "method", headers, rows, table_notes)]
    if not comparable:
        title = f"Table {name[-1]} of the paper, on the published data"
        names = [column.column for column in columns]
        tables.append(Table(f"{name}_paper", title, "method", names, [paper_row]))
    return tables


def _scores_on(experiment: Experiment, task: str, split: str) -> Scores:
    """Return the scores of one task on one split."""
    points = tuple(point for point in experiment.points if point.task == task)
    return Scores(experiment._replace(points=points), {task: (split,)})


def _evaluated_split(experiment: Experiment, column: paper.Published) -> str:
    """Return the split that is nearest to the paper's.

    Return the first development split if no run has predicted that split.
    """
    for point in experiment.points:
        if point.task == column.task and column.split in point.run.predictions:
            return column.split
    return TASKS[column.task].validation[0]


def _split_name(split: str) -> str:
    return "dev" if split in ("validation", "validation_mismatched") else split


def _headers(columns: Sequence[Column]) -> list[str]:
    """Return the titles of the columns with the metric below."""
    return [f"{column.title}\n{paper.METRICS[column.metric]}" for column in columns]


def _score_row(condition: Condition, scores: Scores, long: bool = False) -> Row:
    estimates = [scores.estimate(column, condition) for column in scores.columns]
    name = _row_name(condition, scores, long)
    return Row(name, [formatting.score(estimate) for estimate in estimates])


def _row_name(condition: Condition, scores: Scores, long: bool = False) -> str:
    """Return the value of the setting if one is varied, and the variant if there are several."""
    variant = paper.variant_of(condition.variant)
    variant_name = variant.name if long else variant.short
    if condition.value is None:
        return variant_name
    value = formatting.value(condition.value, scores.setting)
    return f"{value}, {variant_name}" if _has_several_variants(scores) else value


def _corner(scores: Scores) -> str:
    """Return the header of the rows' names."""
    if not scores.setting:
        return "variant"
    setting = formatting.setting(scores.setting)
    return f"{setting}, variant" if _has_several_variants(scores) else setting


def _has_several_variants(scores: Scores) -> bool:
    return len({condition.variant for condition in scores.conditions}) > 1


def _by_value(scores: Scores) -> list[Condition]:
    """Return the conditions by increasing value; conditions without a numeric value come first."""
    return sorted(
        scores.conditions,
        key=lambda condition: (
            scores.values.index(condition.value) if condition.value in scores.values else -1
        ),
    )
