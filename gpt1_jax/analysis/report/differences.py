"""Compare the full model with every variant of an experiment."""

from collections.abc import Hashable, Mapping
from typing import NamedTuple

from gpt1_jax.analysis.report.scores import Column, Condition, Scores
from gpt1_jax.analysis.stats.intervals import Estimate, correct_family


class Differences(NamedTuple):
    """Hold the differences full minus variant.

    `single` and `average` are two families, each corrected by Holm's method: the averages tell if a
    change of the model matters, the columns where.

    Attributes:
        shared: the columns in which all compared conditions have a score.
        single: (full, variant, column) -> the difference in one column.
        average: (full, variant) -> the difference of the averages over the shared columns. With one
            shared column it is the difference in this column, from `single`.
    """

    shared: list[Column]
    single: dict[tuple[Condition, Condition, Column], Estimate]
    average: dict[tuple[Condition, Condition], Estimate]


def compare(scores: Scores) -> Differences:
    """Return the differences between full and every variant at the same value of the setting."""
    pairs = [
        (full, other)
        for full in scores.conditions
        for other in scores.conditions
        if full.variant == "full" and other.variant != "full" and full.value == other.value
    ]
    compared = {condition for pair in pairs for condition in pair}
    shared = scores.shared_columns([entry for entry in scores.conditions if entry in compared])
    single = _correct_known(
        {
            (*pair, column): scores.difference(column, *pair)
            for pair in pairs
            for column in scores.columns
        }
    )
    if len(shared) == 1:
        average = {pair: single[*pair, shared[0]] for pair in pairs}
    else:
        average = _correct_known({pair: scores.average_difference(shared, *pair) for pair in pairs})
    return Differences(shared, single, average)


def _correct_known(family: Mapping[Hashable, Estimate | None]) -> dict:
    """Return the differences that exist, corrected as one family."""
    return correct_family({key: entry for key, entry in family.items() if entry is not None})
