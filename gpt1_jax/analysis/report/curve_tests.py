"""Test the curve of an experiment that varies a number: every step of it, and its trend."""

import itertools
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
        values: the conditions with a score, by value.
        steps: value -> the change to it from the value before, corrected as one family. A change
            is missing if no seed has a run at both.
        trend: the slope; None if no seed has a run at each value.
    """

    column: Column
    values: list[Condition]
    steps: dict[Condition, Estimate]
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
            Condition(variant, value)
            for value in scores.values
            if scores.runs(column, Condition(variant, value))
        ]
        if len(values) < 3:
            continue
        changes = {
            later: change
            for earlier, later in itertools.pairwise(values)
            if (change := scores.difference(column, later, earlier))
        }
        steps = correct_family(changes)
        trend = scores.trend(column, values)
        if trend:
            trend = correct_family({0: trend})[0]
        found.append(Curve(column, values, steps, trend))
    return found


def table(name: str, title: str, scores: Scores, tests: list[Curve]) -> Table:
    """Return a table with a row for each step and a column for each task."""
    setting = scores.setting
    labels = [formatting.value(value, setting) for value in scores.values]
    steps = zip(itertools.pairwise(labels), itertools.pairwise(scores.values), strict=True)
    rows = [
        Row(f"{first} → {last}", [_step(curve, *values) for curve in tests])
        for (first, last), values in steps
    ]
    trends = [formatting.difference_cell(curve.trend) for curve in tests]
    rows.append(Row("trend, per step", trends))
    headers = [f"{curve.column.title}\n{paper.METRICS[curve.column.metric]}" for curve in tests]
    title = f"{title}: steps of the curve"
    return Table(f"{name}_steps", title, formatting.setting(setting), headers, rows, [NOTE])


def _step(curve: Curve, first: float | str | None, last: float | str | None) -> Cell:
    """Return the cell of a step; an absent one if it was not measured."""
    for earlier, later in itertools.pairwise(curve.values):
        if (earlier.value, later.value) == (first, last) and later in curve.steps:
            return formatting.difference_cell(curve.steps[later])
    return formatting.ABSENT


def sentences(scores: Scores, tests: list[Curve]) -> list[str]:
    """Return a sentence for each column on its trend."""
    found = []
    for curve in tests:
        if curve.trend is None:
            continue
        first, last = (
            formatting.value(condition.value or 0, scores.setting)
            for condition in (curve.values[0], curve.values[-1])
        )
        where = formatting.at(f"{first} to {last}", scores.setting)
        found.append(formatting.trend(curve.column.title, where, curve.trend))
        steps = curve.steps.values()
        rising = sum(step.significant and step.mean > 0 for step in steps)
        falling = sum(step.significant and step.mean < 0 for step in steps)
        found[-1] += f" Of its {len(steps)} steps, {rising} rise and {falling} fall significantly."
    return found
