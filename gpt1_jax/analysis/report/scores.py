"""The runs of an experiment as scores that may stand beside each other, with their intervals and differences."""

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpt1_jax.analysis.report import paper
from gpt1_jax.analysis.report.results import FINISHED, Experiment, FinetuningRun
from gpt1_jax.analysis.stats import intervals
from gpt1_jax.analysis.stats.intervals import Difference, Estimate
from gpt1_jax.registry import TASKS

EXAMPLES = "data.examples"  # the setting that limits the training rows; 0 are all


class Column(NamedTuple):
    """Scores on the same data: a task, the splits whose mean counts, and a short hash where the task's first run has read other data."""

    task: str
    splits: tuple[str, ...]
    data: str = ""

    @property
    def title(self) -> str:
        return paper.task(self.task) + (f" ({self.data})" if self.data else "")

    @property
    def metric(self) -> str:
        """The paper's metric of the task."""
        return TASKS[self.task].metrics[0]


class Condition(NamedTuple):
    """What was done: a variant, and the value of the experiment's setting (None where nothing else is varied)."""

    variant: str
    value: float | str | None = None


class Scores:
    """Finished runs by column and condition. Scores are fractions, as in metrics.py; None where nothing has finished.

    Runs that have read different data never share a column. In an experiment that varies the data themselves (a setting `data.*`), the
    training rows may differ from value to value, never within one.

    Args:
        experiment: its finished runs count.
        splits: task -> the splits whose mean is the score; the task's development splits where it is not named.

    Attributes:
        columns: in the paper's order.
        conditions: those with a finished run; variants in the paper's order, then by value.
        values: of those, the numeric ones in their order: 0 labelled examples are all of them, and come last.
    """

    def __init__(self, experiment: Experiment, splits: dict[str, tuple[str, ...]] | None = None):
        self.setting, first, found = experiment.setting, {}, {}
        for point in experiment.points:
            scored = (splits or {}).get(point.task) or TASKS[point.task].validation
            if point.run.status != FINISHED or not set(scored) <= point.run.predictions.keys():
                continue
            column = Column(
                point.task,
                scored,
                _other_data(point.run, point.task, scored, first, self._group(point.value)),
            )
            runs = found.setdefault((column, Condition(point.variant, point.value)), {})
            runs[point.seed] = point.run
        self._runs: dict[tuple[Column, Condition], dict[int, FinetuningRun]] = found
        self._draws = functools.cache(self._replicates)
        self.columns = sorted(
            {column for column, _ in found},
            key=lambda column: (paper.order(column.task, paper.TASKS), column.data),
        )
        self.conditions = sorted({condition for _, condition in found}, key=self._order)
        numeric = {
            condition.value
            for condition in self.conditions
            if isinstance(condition.value, int | float)
        }
        self.values = sorted(numeric, key=self._rank)

    def _rank(self, value: float) -> float:
        return math.inf if value == 0 and self.setting == EXAMPLES else value

    def _order(self, condition: Condition) -> tuple:
        number = isinstance(condition.value, int | float)
        variant = paper.order(condition.variant, paper.VARIANTS)
        return (variant, number, self._rank(condition.value) if number else 0, str(condition.value))

    def position(self, column: Column, condition: Condition) -> float:
        """Where a numeric value stands on an axis: of labelled examples, how many the runs have had."""
        if self.setting != EXAMPLES:
            return condition.value
        return next(iter(self.runs(column, condition).values())).result["data"]["splits"]["train"][
            "rows"
        ]

    def _group(self, value) -> object:
        return value if self.setting.startswith("data.") else None

    def runs(self, column: Column, condition: Condition) -> dict[int, FinetuningRun]:
        """Seed -> run; {} where none has finished."""
        return dict(sorted(self._runs.get((column, condition), {}).items()))

    def single(self, column: Column, condition: Condition) -> dict[int, float]:
        """Seed -> its score."""
        mean = lambda run: float(
            np.mean([run.result["metrics"][split][column.metric] for split in column.splits])
        )
        return {seed: mean(run) for seed, run in self.runs(column, condition).items()}

    def estimate(self, column: Column, condition: Condition) -> Estimate | None:
        """The score of a cell."""
        scores = self.single(column, condition)
        return (
            intervals.estimate(list(scores.values()), self._draws(column)[condition])
            if scores
            else None
        )

    def difference(self, column: Column, full: Condition, other: Condition) -> Difference | None:
        """The score of `full` minus that of `other`."""
        ours, theirs = self.estimate(column, full), self.estimate(column, other)
        if ours is None or theirs is None:
            return None
        draws = self._draws(column)
        return intervals.difference(
            ours, theirs, draws[full], draws[other], self._mcnemar(column, full, other)
        )

    def shared(self, conditions: Sequence[Condition]) -> list[Column]:
        """The columns in which all these conditions have a score."""
        return [
            column
            for column in self.columns
            if all((column, condition) in self._runs for condition in conditions)
        ]

    def average(self, columns: Sequence[Column], condition: Condition) -> Estimate | None:
        """The mean over columns, all of which the condition has; None without columns."""
        return self._average(tuple(columns), condition)[0] if columns else None

    def average_difference(
        self, columns: Sequence[Column], full: Condition, other: Condition
    ) -> Difference | None:
        """The mean of `full` over columns minus that of `other`."""
        if not columns:
            return None
        (ours, our_draws), (theirs, their_draws) = (
            self._average(tuple(columns), condition) for condition in (full, other)
        )
        return intervals.difference(ours, theirs, our_draws, their_draws)

    def _average(self, columns: tuple[Column, ...], condition: Condition):
        draws = [self._draws(column)[condition] for column in columns]
        return intervals.average([self.estimate(column, condition) for column in columns], draws)

    def _replicates(self, column: Column) -> dict[Condition, np.ndarray]:
        """The replicates of every condition, paired by example; of several splits, their mean."""
        held = {
            condition: self.runs(column, condition)
            for condition in self.conditions
            if (column, condition) in self._runs
        }
        names = {
            condition: " ".join(run.name for run in runs.values())
            for condition, runs in held.items()
        }  # the same in all experiments
        total = dict.fromkeys(held, 0.0)
        for split in column.splits:
            answers = {
                names[key]: np.stack([run.predictions[split].answers for run in runs.values()])
                for key, runs in held.items()
            }
            drawn = intervals.replicates(
                column.metric,
                self._labels(column, split),
                answers,
                seed=intervals.task_seed(column.task),
            )
            total = {key: total[key] + drawn[names[key]] / len(column.splits) for key in held}
        return total

    def _labels(self, column: Column, split: str) -> np.ndarray:
        return next(
            run.predictions[split].labels
            for (own, _), runs in self._runs.items()
            if own == column
            for run in runs.values()
        )

    def _mcnemar(self, column: Column, full: Condition, other: Condition) -> tuple[float, ...]:
        """Of the column's first split."""
        if TASKS[column.task].bins:
            return ()
        split = column.splits[0]
        ours, theirs = (
            {
                seed: run.predictions[split].answers
                for seed, run in self.runs(column, condition).items()
            }
            for condition in (full, other)
        )
        return intervals.mcnemar(self._labels(column, split), ours, theirs)


def fingerprint(run: FinetuningRun, splits: Sequence[str]) -> str:
    """A short hash of what a run has read in these splits."""
    facts = run.result["data"]["splits"]
    return hashlib.sha256(
        str([(split, facts[split]["sha256"]) for split in splits]).encode()
    ).hexdigest()[:8]


def _other_data(
    run: FinetuningRun, task: str, scored: Sequence[str], first: dict, group: object
) -> str:
    """ "" if the run has read what the task's first one (in `first`, by task) has, else a short hash of what it has read."""
    judged = fingerprint(run, [*TASKS[task].validation, *scored])
    trained = fingerprint(run, ["train"])
    if (
        first.setdefault(task, judged) == judged
        and first.setdefault((task, group), trained) == trained
    ):
        return ""
    return fingerprint(run, ["train", *TASKS[task].validation, *scored])
