"""Arrange the runs of an experiment as comparable scores, with their intervals and differences."""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gpt1_jax.analysis.report import paper
from gpt1_jax.analysis.report.results import Experiment, ExperimentPoint
from gpt1_jax.analysis.report.run_folders import FINISHED, FinetuningRun
from gpt1_jax.analysis.stats import intervals, metrics, two_way
from gpt1_jax.analysis.stats.degenerate import degenerate_reason
from gpt1_jax.analysis.stats.intervals import Estimate
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

    Scores are fractions, as in metrics.py. They are None without a finished run.

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
        self._pretrainings: dict[tuple[Column, Condition], dict[int, str]] = {}
        self._sample = functools.cache(self._measure)
        data_versions = _DataVersions(self.setting)
        for point in experiment.points:
            evaluated = (splits or {}).get(point.task) or TASKS[point.task].validation
            if point.run.status != FINISHED or not set(evaluated) <= point.run.predictions.keys():
                continue
            column = Column(point.task, evaluated, data_versions.label(point, evaluated))
            condition = Condition(point.variant, point.value)
            self._runs.setdefault((column, condition), {})[point.seed] = point.run
            origins = self._pretrainings.setdefault((column, condition), {})
            origins[point.seed] = point.pretraining
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
        value = condition.value
        is_number = isinstance(value, int | float)
        number = self._value_order(value) if isinstance(value, int | float) else 0
        variant = paper.order(condition.variant, paper.VARIANTS)
        return variant, is_number, number, str(condition.value)

    def position(self, column: Column, condition: Condition) -> float:
        """Return the position of a numeric value on an axis.

        For labeled examples this is the number of examples that the runs have read.
        """
        if self.setting != EXAMPLES:
            assert isinstance(condition.value, int | float)
            return condition.value
        run = next(iter(self.runs(column, condition).values()))
        return run.result["data"]["splits"]["train"]["rows"]

    def runs(self, column: Column, condition: Condition) -> dict[int, FinetuningRun]:
        """Return seed -> run; {} if no run has finished."""
        return dict(sorted(self._runs.get((column, condition), {}).items()))

    def published(self, column: Column) -> set[bool | None]:
        """Return the `published` entries of all data that the runs of a column have read.

        True is data of the published size, False other data; None if the size is not known.
        """
        runs = [run for entry in self.conditions for run in self.runs(column, entry).values()]
        return {
            run.result["data"]["splits"][split].get("published")
            for run in runs
            for split in ("train", *column.splits)
        }

    def seed_scores(self, column: Column, condition: Condition) -> dict[int, float]:
        """Return seed -> score."""
        scores = {}
        for seed, run in self.runs(column, condition).items():
            values = [run.result["metrics"][split][column.metric] for split in column.splits]
            scores[seed] = float(np.mean(values))
        return scores

    @property
    def pretrainings(self) -> int:
        """Return the smallest number of pretraining runs behind a score; 0 if it is not known."""
        counts = [len(set(origins.values())) for origins in self._pretrainings.values()]
        is_known = all(all(origins.values()) for origins in self._pretrainings.values())
        return min(counts, default=0) if is_known else 0

    @property
    def are_clustered(self) -> bool:
        """Return True if the seeds of a score share a few pretraining runs."""
        return any(
            1 < len(set(origins.values())) < len(origins) for origins in self._pretrainings.values()
        )

    def estimate(self, column: Column, condition: Condition) -> Estimate | None:
        """Return the score with its variance; None if no run has finished."""
        sample = self._sample(column, condition)
        return two_way.score(sample) if sample else None

    def difference(self, column: Column, full: Condition, other: Condition) -> Estimate | None:
        """Return the score of `full` minus the score of `other`; None if either has none."""
        one, two = self._sample(column, full), self._sample(column, other)
        return two_way.difference(one, two) if one and two else None

    def trend(self, column: Column, conditions: Sequence[Condition]) -> Estimate | None:
        """Return the slope of a straight line through the scores of conditions, per condition.

        The conditions count as equally spaced. Return None if one of them has no score, or if no
        seed is common to them.
        """
        found = [self._sample(column, condition) for condition in conditions]
        samples = [sample for sample in found if sample]
        positions = np.arange(len(conditions)) - (len(conditions) - 1) / 2
        weights = positions / np.sum(positions**2)
        return two_way.contrast(samples, weights.tolist()) if len(samples) == len(found) else None

    def shared_columns(self, conditions: Sequence[Condition]) -> list[Column]:
        """Return the columns in which all these conditions have a score."""
        return [
            column
            for column in self.columns
            if all((column, condition) in self._runs for condition in conditions)
        ]

    def average(self, columns: Sequence[Column], condition: Condition) -> Estimate | None:
        """Return the mean over columns in which the condition has a score; None without columns."""
        estimates = [self.estimate(column, condition) for column in columns]
        return intervals.average([found for found in estimates if found]) if columns else None

    def average_difference(
        self, columns: Sequence[Column], full: Condition, other: Condition
    ) -> Estimate | None:
        """Return the mean of `full` over columns minus that of `other`; None without columns."""
        estimates = [self.difference(column, full, other) for column in columns]
        return intervals.average([found for found in estimates if found]) if columns else None

    def _measure(self, column: Column, condition: Condition) -> two_way.Sample | None:
        """Return the values of all examples for every seed; None if no run has finished."""
        runs = self.runs(column, condition)
        if not runs:
            return None
        effects = []
        for split in column.splits:
            predictions = [run.predictions[split] for run in runs.values()]
            effects.append(
                metrics.example_effects(
                    column.metric,
                    predictions[0].labels,
                    np.stack([run.values for run in predictions]),
                )
            )
        scores = self.seed_scores(column, condition)
        values = two_way.values(list(scores.values()), effects)
        # By the seed of the pretraining run, which the conditions of an experiment share.
        origins = {
            seed: name.rpartition("_")[2]
            for seed, name in self._pretrainings[column, condition].items()
        }
        units = two_way.cluster_seeds(dict(zip(scores, values, strict=True)), origins)
        failed = sum(bool(degenerate(run)) for run in runs.values())
        return two_way.Sample(units, failed, metrics.limits(column.metric), len(runs))


def test_scores(experiment: Experiment) -> Scores:
    """Return the scores on the test splits whose labels are known to the runs."""
    points = tuple(point for point in experiment.points if TASKS[point.task].test)
    splits = {point.task: TASKS[point.task].test for point in points}
    return Scores(experiment._replace(points=points), splits)


def degenerate(run: FinetuningRun) -> str:
    """Return why a finished run has learned nothing, or "" if it has.

    Only the first development split counts.
    """
    if run.status != FINISHED:
        return ""
    split = TASKS[run.result["task"]].validation[0]
    return degenerate_reason(*run.predictions[split]) if split in run.predictions else ""


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
