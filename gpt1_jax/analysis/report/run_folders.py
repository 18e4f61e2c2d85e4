"""Read the folder of a run for reports, whether the run has finished or not."""

import contextlib
import functools
import os
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gpt1_jax import inputs, storage
from gpt1_jax.analysis.report.fields import FINETUNING, PRETRAINING
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS
from gpt1_jax.runs import environment

FINISHED, FAILED, UNFINISHED, MISSING = "finished", "failed", "unfinished", "missing"


class Predictions(NamedTuple):
    """Hold the predictions of a run for one split with labels.

    Attributes:
        labels: [N], class ids or scores.
        values: [N], the predicted class ids or scores.
        probabilities: [N K], the probabilities of the classes.
    """

    labels: np.ndarray
    values: np.ndarray
    probabilities: np.ndarray


class Folder:
    """Hold the state of one run folder.

    Attributes:
        name: the path below the workdir, "." for the workdir itself, or the path of a run
            elsewhere.
        path: the path of the folder.
        link: the address relative to the workdir; "" for a run elsewhere.
        status: FINISHED, FAILED (with `failed.json`, or a damaged file), UNFINISHED (the folder has
            no result) or MISSING.
        error: one line with the reason of a failure.
        result: the content of result.json; {} without one.
    """

    def __init__(self, workdir: storage.Path, name: str, fields: Mapping[str, type] = PRETRAINING):
        elsewhere = inputs.path("cells.json", name)
        is_elsewhere = elsewhere.is_dir() and not (workdir / name).exists()
        self.name = name
        self.path = elsewhere if is_elsewhere else workdir / name
        if isinstance(self.path, storage.BucketPath):
            is_below = workdir in (self.path, *self.path.parents)
            address = self.path.relative_to(workdir).as_posix() if is_below else ".."
        else:
            address = pathlib.PurePath(os.path.relpath(self.path, workdir)).as_posix()
        self.link = "" if address.startswith("..") else urllib.parse.quote(os.fsencode(address))
        self.result = {}
        self.error = ""
        try:
            self.result = self._read_file("result.json", fields)
            failure = self._read_file("failed.json")
        except UserError as error:
            failure = {"error": str(error)}
        if failure and not self.result:
            self.error = " ".join(str(failure.get("error", "")).split()) or "no reason is given"
        self.status = self._status()

    def _status(self) -> str:
        if self.error:
            return FAILED
        if self.result:
            return FINISHED
        return UNFINISHED if self.path.is_dir() else MISSING

    def _read_file(self, name: str, fields: Mapping[str, type] | None = None) -> dict:
        """Return the content of a JSON file; {} if it is missing."""
        # The path is left out: the bytes of a report do not depend on the path of the folder.
        try:
            content = inputs.read_object(self.path / name, missing={})
        except UserError:
            raise UserError(f"{name} is damaged") from None
        if content:
            inputs.check_fields(content, fields or {}, name)
        return content

    @functools.cached_property
    def lines(self) -> list[dict]:
        """Return the logged metrics by increasing step; damaged lines are left out."""
        return self._read_lines("metrics.jsonl")

    @functools.cached_property
    def starts(self) -> list[dict]:
        """Return the starts of the run, as environment.json records them; [] without a record."""
        return self.json(environment.FILE, environment.FIELDS).get("starts", [])

    @functools.cached_property
    def samples(self) -> list[dict]:
        """Return the texts that the model wrote during training, {"step", "text"} each.

        A process that died may have written a sample of the same step; the last one is returned.
        """
        lines = self._read_lines("samples.jsonl")
        texts = [line for line in lines if isinstance(line.get("text"), str)]
        return list({line["step"]: line for line in texts}.values())

    def _read_lines(self, name: str) -> list[dict]:
        """Return the rows of a log; [] if the file is missing or cannot be read."""
        with contextlib.suppress(UserError):
            return storage.read_json_lines(self.path / name)
        return []

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the steps at which the metric `name` was logged, and its values."""
        lines = [line for line in self.lines if inputs.is_kind(line.get(name), float)]
        steps = np.array([line["step"] for line in lines])
        return steps, np.array([line[name] for line in lines], float)

    def json(self, name: str, fields: Mapping[str, type]) -> dict:
        """Return the JSON object in a file of the folder; {} if it is missing or damaged."""
        with contextlib.suppress(UserError):
            return self._read_file(name, fields)
        return {}


class FinetuningRun(Folder):
    """Hold the state of a finetuning run and its predictions for each split with labels.

    A run with predictions that cannot be read has the status FAILED.
    """

    def __init__(self, workdir: storage.Path, name: str):
        super().__init__(workdir, name, FINETUNING)
        self.predictions: dict[str, Predictions] = {}
        try:
            self._check_splits()
            splits = self.result.get("metrics", {})
            self.predictions = {split: self._read_predictions(split) for split in splits}
        except UserError as error:
            self.status, self.error = FAILED, str(error)

    def _check_splits(self) -> None:
        """Raise UserError if the result lacks the scores or the data of its task."""
        if not self.result:
            return
        task = TASKS[self.result["task"]]
        fields = {f"metrics.{split}.{task.metrics[0]}": float for split in task.validation}
        splits = {"train", *task.validation, *self.result["metrics"]}
        fields |= {f"data.splits.{split}.rows": int for split in sorted(splits)}
        inputs.check_fields(self.result, fields, "result.json")

    def _read_predictions(self, split: str) -> Predictions:
        """Read the predictions of one split; raise UserError if they are missing or damaged."""
        file, task = f"predictions/{split}.tsv", TASKS[self.result["task"]]
        class_ids = {label: number for number, label in enumerate(task.labels)}
        to_number = float if task.bins else class_ids.__getitem__
        try:
            lines = (self.path / file).read_text(encoding="utf-8").splitlines()[1:]
            rows = [line.split("\t") for line in lines]
            predictions = Predictions(
                labels=np.array([to_number(row[2]) for row in rows]),
                values=np.array([to_number(row[1]) for row in rows]),
                probabilities=np.array([row[3:] for row in rows], float),
            )
        except FileNotFoundError:
            raise UserError(f"{file} is missing") from None
        except (KeyError, ValueError, IndexError, OSError):
            raise UserError(f"{file} is not a table of predictions for {task.name}") from None
        expected = self.result["data"]["splits"][split]["rows"]
        if len(rows) != expected:
            raise UserError(f"{file} has {len(rows)} rows, but the split has {expected}")
        return predictions
