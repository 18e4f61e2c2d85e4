"""Report a selection on development data: the chosen value of each task, and its test scores.

The value with the best mean over seeds on the development split is chosen. A single run is reported
as the median of N runs, and as the run with the best development score of N.
"""

import statistics
from typing import Any

from gpt1_jax.analysis.report import formatting
from gpt1_jax.analysis.report.results import Experiment
from gpt1_jax.analysis.report.scores import Column, Condition, Scores, test_scores
from gpt1_jax.analysis.report.tables import Cell, Row, Table

NOTE = (
    "The value with the best mean development score is chosen for each task. “Best of n” is the "
    "score of the run whose development score is the best; its development score is an optimistic "
    "one, because it chose the run. A test score is shown if the labels of the test split are "
    "known to the run."
)


def table(name: str, title: str, experiment: Experiment) -> Table | None:
    """Return one row for each task; None if no value has a score.

    Args:
        name: the name of the experiment.
        title: its title.
        experiment: an experiment that varies one setting.
    """
    development = Scores(experiment)
    test = test_scores(experiment)
    rows = [_row(column, development, test) for column in development.columns]
    if not rows:
        return None
    columns = [
        f"chosen\n{formatting.setting(experiment.setting)}",
        "dev\nmean",
        "dev\nmedian",
        "dev\nbest of n",
        "test\nmean",
        "test\nmedian",
        "test\nbest of n",
    ]
    return Table(f"{name}_chosen", f"{title}: chosen values", "task", columns, rows, [NOTE])


def _row(column: Column, development: Scores, test: Scores) -> Row:
    means = {
        condition: estimate.mean
        for condition in development.conditions
        if (estimate := development.estimate(column, condition))
    }
    chosen = max(means, key=lambda condition: means[condition])
    seeds = development.seed_scores(column, chosen)
    best = max(seeds, key=lambda seed: seeds[seed])
    value: Any = chosen.value
    cells = [Cell(formatting.value(value, development.setting), "", value)]
    cells += _scores(column, chosen, development, best)
    test_column = next((entry for entry in test.columns if entry.task == column.task), None)
    cells += _scores(test_column, chosen, test, best) if test_column else [formatting.ABSENT] * 3
    return Row(column.title, cells)


def _scores(column: Column, chosen: Condition, scores: Scores, best: int) -> list[Cell]:
    """Return the mean, the median, and the score of the seed `best`."""
    seeds = scores.seed_scores(column, chosen)
    if not seeds:
        return [formatting.ABSENT] * 3
    single = formatting.number(seeds[best]) if best in seeds else formatting.ABSENT
    median = formatting.number(statistics.median(seeds.values()))
    return [formatting.score(scores.estimate(column, chosen)), median, single]
