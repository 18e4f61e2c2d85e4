"""Test the curve of an experiment that varies a number: every step of it, and its trend."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.scores import Column, Condition, Scores
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.analysis.stats.intervals import Estimate, correct_family

NOTE = (
    "Each entry is the change of the score from one value to the next, in points. Holm's method "
    "corrects p and the intervals of the steps within each column. The trend is the slope of a "
    "straight line through all values, in points a step, with the values equally spaced. It is one "
    "test for each column, with a 95% interval. * marks p < 0.05."
)


class Curve(NamedTuple):
    """Hold the tests of one column.

    Attributes:
        column: the column.
        values: the values with a score.
        steps: the change from each value to the next, corrected as one family.
        trend: the slope; None if no seed has a run at each value.
    """

    column: Column
    values: Sequence[float]
    steps: Sequence[Estimate]
    trend: Estimate | None


def curves(scores: Scores) -> list[Curve]:
    """Return the tests of each column with at least three values.

    The curve is that of the full model, or of the only variant.
    """
    variants = list(dict.fromkeys(condition.variant for condition in scores.conditions))
    if len(scores.values) < 3 or ("full" not in variants and len(variants) > 1):
        return []
    variant = "full" if "full" in variants else variants[0]
    found = []
    for column in scores.columns:
        values = [
            value for value in scores.values if scores.runs(column, Condition(variant, value))
        ]
        if len(values) < 3:
            continue
        conditions = [Condition(variant, value) for value in values]
        differences = {
            later: step
            for earlier, later in itertools.pairwise(conditions)
            if (step := scores.difference(column, later, earlier))
        }
        trend = scores.trend(column, conditions)
        if trend:
            trend = correct_family({0: trend})[0]
        found.append(Curve(column, values, list(correct_family(differences).values()), trend))
    return found


def table(name: str, title: str, scores: Scores, tests: list[Curve]) -> Table:
    """Return a table with a row for each step and a column for each task."""
    setting = scores.setting
    labels = [formatting.value(value, setting) for value in scores.values]
    rows = []
    for pair, (first, last) in zip(
        itertools.pairwise(scores.values), itertools.pairwise(labels), strict=True
    ):
        rows.append(Row(f"{first} → {last}", [_step(curve, *pair) for curve in tests]))
    trends = [formatting.difference_cell(curve.trend) for curve in tests]
    rows.append(Row("trend, per step", trends))
    headers = [f"{curve.column.title}\n{paper.METRICS[curve.column.metric]}" for curve in tests]
    title = f"{title}: steps of the curve"
    return Table(f"{name}_steps", title, formatting.setting(setting), headers, rows, [NOTE])


def _step(curve: Curve, first: float, last: float) -> Cell:
    """Return the cell of a step; an absent one if a value between has no score."""
    for pair, step in zip(itertools.pairwise(curve.values), curve.steps, strict=True):
        if pair == (first, last):
            return formatting.difference_cell(step)
    return formatting.ABSENT


def sentences(scores: Scores, tests: list[Curve]) -> list[str]:
    """Return a sentence for each column on its trend."""
    found = []
    for curve in tests:
        if curve.trend is None:
            continue
        ends = curve.values[0], curve.values[-1]
        first, last = (formatting.value(value, scores.setting) for value in ends)
        where = formatting.at(f"{first} to {last}", scores.setting)
        signs = [step.mean > 0 for step in curve.steps if step.significant]
        found.append(
            f"{formatting.trend(curve.column.title, where, curve.trend)} Of its "
            f"{len(curve.steps)} steps, {sum(signs)} rise and {len(signs) - sum(signs)} fall "
            "significantly."
        )
    return found
