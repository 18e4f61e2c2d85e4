"""Arrange the runs of an experiment as comparable scores, with their intervals and differences."""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gpt1_jax.analysis.report import paper
from gpt1_jax.analysis.report.results import FINISHED, Experiment, ExperimentPoint, FinetuningRun
from gpt1_jax.analysis.stats import bootstrap, intervals, significance
from gpt1_jax.analysis.stats.intervals import Difference, Estimate
from gpt1_jax.registry import TASKS

EXAMPLES = "data.examples"  # the setting that limits the training rows; 0 means all rows


class Column(NamedTuple):
    """Identify scores on the same data.

    Attributes:
        task: the name of the task.
        splits: the splits; the score is the mean over them.
        data: "", or a short hash if the runs have read other data than the task's first run.
    """

    task: str
    splits: tuple[str, ...]
    data: str = ""

    @property
    def title(self) -> str:
        """Return the header of the column."""
        return paper.task(self.task) + (f" ({self.data})" if self.data else "")

    @property
    def metric(self) -> str:
        """Return the paper's metric of the task."""
        return TASKS[self.task].metrics[0]


class Condition(NamedTuple):
    """Identify a variant and the value of the varied setting (None if no setting is varied)."""

    variant: str
    value: float | str | None = None


class Scores:
    """Hold the finished runs of an experiment by column and condition.

    Scores are fractions, as in metrics.py. They are None for a cell without a finished run.

    Runs that have read different data never share a column. In an experiment that varies the data
    (a setting `data.*`), the training rows may differ between values, but not within one value.

    Args:
        experiment: the experiment; its unfinished runs are ignored.
        splits: task -> the splits whose mean is the score; by default the development splits.

    Attributes:
        setting: the varied setting.
        columns: the columns, in the paper's order.
        conditions: the conditions with a finished run: variants in the paper's order, then by
            value.
        values: the numeric values of the conditions in increasing order. If the setting limits the
            labeled examples, 0 means all of them and comes last.
    """

    def __init__(self, experiment: Experiment, splits: Mapping[str, tuple[str, ...]] | None = None):
        self.setting = experiment.setting
        self._runs: dict[tuple[Column, Condition], dict[int, FinetuningRun]] = {}
        self._replicates = functools.cache(self._draw_replicates)
        data_versions = _DataVersions(self.setting)
        for point in experiment.points:
            evaluated = (splits or {}).get(point.task) or TASKS[point.task].validation
            if point.run.status != FINISHED or not set(evaluated) <= point.run.predictions.keys():
                continue
            column = Column(point.task, evaluated, data_versions.label(point, evaluated))
            condition = Condition(point.variant, point.value)
            self._runs.setdefault((column, condition), {})[point.seed] = point.run
        self.columns = sorted(
            {column for column, _ in self._runs},
            key=lambda column: (paper.order(column.task, paper.TASKS), column.data),
        )
        conditions = {condition for _, condition in self._runs}
        self.conditions = sorted(conditions, key=self._condition_order)
        numbers = {entry.value for entry in conditions if isinstance(entry.value, int | float)}
        self.values = sorted(numbers, key=self._value_order)

    def _value_order(self, value: float) -> float:
        return math.inf if value == 0 and self.setting == EXAMPLES else value

    def _condition_order(self, condition: Condition) -> tuple:
        is_number = isinstance(condition.value, int | float)
        number = self._value_order(condition.value) if is_number else 0
        variant = paper.order(condition.variant, paper.VARIANTS)
        return variant, is_number, number, str(condition.value)

    def position(self, column: Column, condition: Condition) -> float:
        """Return the position of a numeric value on an axis.

        For labeled examples this is the number of examples that the runs have read.
        """
        if self.setting != EXAMPLES:
            return condition.value
        run = next(iter(self.runs(column, condition).values()))
        return run.result["data"]["splits"]["train"]["rows"]

    def runs(self, column: Column, condition: Condition) -> dict[int, FinetuningRun]:
        """Return seed -> run; {} if no run has finished."""
        return dict(sorted(self._runs.get((column, condition), {}).items()))

    def seed_scores(self, column: Column, condition: Condition) -> dict[int, float]:
        """Return seed -> score."""
        scores = {}
        for seed, run in self.runs(column, condition).items():
            values = [run.result["metrics"][split][column.metric] for split in column.splits]
            scores[seed] = float(np.mean(values))
        return scores

    def estimate(self, column: Column, condition: Condition) -> Estimate | None:
        """Return the score of a cell."""
        scores = list(self.seed_scores(column, condition).values())
        return intervals.estimate(scores, self._replicates(column)[condition]) if scores else None

    def difference(self, column: Column, full: Condition, other: Condition) -> Difference | None:
        """Return the score of `full` minus the score of `other`."""
        full_estimate, other_estimate = (self.estimate(column, side) for side in (full, other))
        if full_estimate is None or other_estimate is None:
            return None
        replicates = self._replicates(column)
        return intervals.difference(
            full_estimate,
            other_estimate,
            replicates[full],
            replicates[other],
            self._mcnemar(column, full, other),
        )

    def shared_columns(self, conditions: Sequence[Condition]) -> list[Column]:
        """Return the columns in which all these conditions have a score."""
        return [
            column
            for column in self.columns
            if all((column, condition) in self._runs for condition in conditions)
        ]

    def average(self, columns: Sequence[Column], condition: Condition) -> Estimate | None:
        """Return the mean over columns in which the condition has a score; None without columns."""
        return self._average(columns, condition)[0] if columns else None

    def average_difference(
        self, columns: Sequence[Column], full: Condition, other: Condition
    ) -> Difference | None:
        """Return the mean of `full` over columns minus that of `other`; None without columns."""
        if not columns:
            return None
        full_estimate, full_replicates = self._average(columns, full)
        other_estimate, other_replicates = self._average(columns, other)
        return intervals.difference(
            full_estimate, other_estimate, full_replicates, other_replicates
        )

    def _average(
        self, columns: Sequence[Column], condition: Condition
    ) -> tuple[Estimate, np.ndarray]:
        replicates = [self._replicates(column)[condition] for column in columns]
        estimates = [self.estimate(column, condition) for column in columns]
        return intervals.average(estimates, replicates)

    def _draw_replicates(self, column: Column) -> dict[Condition, np.ndarray]:
        """Return the replicates [R] of each condition, paired by example; the mean over splits."""
        runs = {
            condition: self.runs(column, condition).values()
            for condition in self.conditions
            if (column, condition) in self._runs
        }
        # The names of the runs seed the draws, so that all experiments draw the same.
        names = {key: " ".join(run.name for run in runs[key]) for key in runs}
        means = dict.fromkeys(runs, 0.0)
        for split in column.splits:
            replicates = bootstrap.replicates(
                column.metric,
                self._labels(column, split),
                {names[key]: _stack_predictions(runs[key], split) for key in runs},
                seed=bootstrap.task_seed(column.task),
            )
            for key in runs:
                means[key] = means[key] + replicates[names[key]] / len(column.splits)
        return means

    def _labels(self, column: Column, split: str) -> np.ndarray:
        runs = next(runs for (key, _), runs in self._runs.items() if key == column)
        return next(iter(runs.values())).predictions[split].labels

    def _mcnemar(self, column: Column, full: Condition, other: Condition) -> tuple[float, ...]:
        """Return McNemar's p for each pair of runs on the column's first split."""
        if TASKS[column.task].bins:
            return ()
        split = column.splits[0]
        full_predictions, other_predictions = (
            {seed: run.predictions[split].values for seed, run in self.runs(column, side).items()}
            for side in (full, other)
        )
        return significance.mcnemar(
            self._labels(column, split), full_predictions, other_predictions
        )


def _stack_predictions(runs, split: str) -> np.ndarray:
    """Return [S N], the predictions of each run."""
    return np.stack([run.predictions[split].values for run in runs])


def fingerprint(run: FinetuningRun, splits: Sequence[str]) -> str:
    """Return a short hash of the data that a run has read in these splits."""
    data = run.result["data"]["splits"]
    hashes = [(split, data[split]["sha256"]) for split in splits]
    return hashlib.sha256(str(hashes).encode()).hexdigest()[:8]


class _DataVersions:
    """Recognize runs that have read other data than the first run of their task.

    Args:
        setting: the varied setting. If it starts with "data.", the first run of each value is the
            reference for the training rows.
    """

    def __init__(self, setting: str):
        self._varies_data = setting.startswith("data.")
        self._evaluated, self._trained = {}, {}

    def label(self, point: ExperimentPoint, splits: Sequence[str]) -> str:
        """Return "" if the run has read the reference data, else a short hash of its data."""
        evaluation_splits = [*TASKS[point.task].validation, *splits]
        evaluated = fingerprint(point.run, evaluation_splits)
        trained = fingerprint(point.run, ["train"])
        key = point.task, point.value if self._varies_data else None
        if (
            self._evaluated.setdefault(point.task, evaluated) == evaluated
            and self._trained.setdefault(key, trained) == trained
        ):
            return ""
        return fingerprint(point.run, ["train", *evaluation_splits])
