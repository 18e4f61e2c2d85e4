"""What runs left on the disk, for reports: read as it is, finished or not, and never judged here.

A folder of the ablation factory has `cells.json`: experiments, each a list of points (variant, task, value of the setting that is
varied, seed) with the folder of the run that measured it. Two experiments may share a run. Any of the folders may be missing, half
done, or hold `failed.json`.
"""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

FINISHED, FAILED, UNFINISHED, MISSING = "finished", "failed", "unfinished", "missing"


class Predictions(NamedTuple):
    """One split as a run answered it: labels [N] and answers [N], class ids or scores, and the classes' probabilities [N K]."""

    labels: np.ndarray
    answers: np.ndarray
    probabilities: np.ndarray


class Folder:
    """A run's folder, whatever is in it.

    Attributes:
        name: its path below the workdir, "." for the workdir itself; or that of a run elsewhere.
        path: where it is.
        link: the same, as seen from the workdir.
        status: finished, failed (it says why, or a file is damaged), unfinished (begun, no result) or missing.
        error: of a failed one, why, in one line.
        result: its result.json; {} without one.
    """

    def __init__(self, workdir: pathlib.Path, name: str):
        below = (workdir / name).exists() or not pathlib.Path(name).is_dir()
        self.name, self.path = name, workdir / name if below else pathlib.Path(name)
        self.link = pathlib.Path(os.path.relpath(self.path, workdir)).as_posix()
        self.error, self.result = "", {}
        failed, name = {}, "result.json"
        try:
            self.result = storage.read_json(self.path / name, missing={})
            name = "failed.json"
            failed = storage.read_json(self.path / name, missing={})
        except UserError:  # without the path: the report's bytes do not depend on where it lies
            failed = {"error": f"{name} is damaged"}
        if failed and not self.result:
            self.error = " ".join(str(failed.get("error", "")).split()) or "no reason is given"
        self.status = (
            FAILED
            if self.error
            else FINISHED
            if self.result
            else UNFINISHED
            if self.path.is_dir()
            else MISSING
        )

    @functools.cached_property
    def lines(self) -> list[dict]:
        """The logged numbers, in the order of the updates; [] without any. Half a line, of a run that is writing, is left out."""
        return storage.read_json_lines(self.path / "metrics.jsonl")

    @functools.cached_property
    def samples(self) -> list[dict]:
        """Texts that the model wrote at some updates, {"step", "text"} each: one an update, though a start that died wrote it, too."""
        return list(
            {
                line["step"]: line for line in storage.read_json_lines(self.path / "samples.jsonl")
            }.values()
        )

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The updates at which the number `name` was logged, and its values."""
        points = [(line["step"], line[name]) for line in self.lines if name in line]
        return np.array([step for step, _ in points]), np.array(
            [value for _, value in points], float
        )

    def json(self, name: str) -> dict:
        """The content of one of its JSON files; {} where it is missing or damaged."""
        with contextlib.suppress(UserError):
            return storage.read_json(self.path / name, missing={})
        return {}


class FinetuningRun(Folder):
    """The folder of a run that was finetuned, with how it answered each split that has labels; failed where that cannot be read."""

    def __init__(self, workdir: pathlib.Path, name: str):
        super().__init__(workdir, name)
        self.predictions = {}
        try:
            self.predictions = {
                split: self._predictions(split) for split in self.result.get("metrics", {})
            }
        except UserError as error:
            self.status, self.error = FAILED, str(error)

    def _predictions(self, split: str) -> Predictions:
        file, task = self.path / "predictions" / f"{split}.tsv", TASKS[self.result["task"]]
        number = (
            float
            if task.bins
            else {label: place for place, label in enumerate(task.labels)}.__getitem__
        )
        try:
            rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[1:]]
            labels, answers = (np.array([number(row[place]) for row in rows]) for place in (2, 1))
            found = Predictions(labels, answers, np.array([row[3:] for row in rows], float))
        except FileNotFoundError:
            raise UserError(f"predictions/{split}.tsv is missing") from None
        except (KeyError, ValueError, IndexError):
            raise UserError(
                f"predictions/{split}.tsv is no table of predictions for {task.name}"
            ) from None
        expected = self.result["data"]["splits"][split]["rows"]
        if len(rows) != expected:
            raise UserError(f"predictions/{split}.tsv has {len(rows)} rows, the split {expected}")
        return found


class Point(NamedTuple):
    """One run of an experiment; `value` is what the experiment's setting was (None where nothing is varied but the variant)."""

    variant: str
    task: str
    value: float | str | None
    seed: int
    run: FinetuningRun


class Experiment(NamedTuple):
    """`setting` is the dotted name of what is varied, "" for nothing but the variant."""

    name: str
    setting: str
    points: tuple[Point, ...]


class Results(NamedTuple):
    """A folder of the factory: its experiments, each run once by name, and the runs of every body."""

    workdir: pathlib.Path
    experiments: tuple[Experiment, ...]
    runs: dict[str, FinetuningRun]
    pretrain: dict[str, Folder]
    zero_shot: dict[str, Folder]


def read(workdir: pathlib.Path) -> Results:
    """The results below `workdir`, a folder of the factory or of one pretraining run; UserError for any other."""
    plan = storage.read_json(workdir / "cells.json", missing=None)
    config = storage.read_json(workdir / "config.json", missing={})
    if plan is None:
        if config.get("trainer") != "pretrain":
            raise UserError(
                f"{workdir}: has no cells.json and is no pretraining run; name the folder of an ablation or of a pretraining run"
            )
        return Results(workdir, (), {}, {config["model"]["name"]: Folder(workdir, ".")}, {})
    run = functools.cache(lambda name: FinetuningRun(workdir, name))
    try:
        experiments = tuple(
            Experiment(
                name, about["setting"], tuple(_point(point, run) for point in about["points"])
            )
            for name, about in plan["experiments"].items()
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{workdir / 'cells.json'}: is not as the ablation writes it ({error}); run the ablation again"
        ) from None
    runs = {point.run.name: point.run for experiment in experiments for point in experiment.points}
    bodies = (
        {body: Folder(workdir, name) for body, name in plan.get(kind, {}).items()}
        for kind in ("pretrain", "zero_shot")
    )
    return Results(workdir, experiments, runs, *bodies)


def _point(point: Mapping, run: Callable) -> Point:
    return Point(point["variant"], point["task"], point["value"], point["seed"], run(point["cell"]))
