"""Load the examples of a labeled task from published files, the hub or TFDS."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gpt1_jax import inputs
from gpt1_jax.datasets import files
from gpt1_jax.datasets.readers.records import Columns, Example, Label, OmittedRows, Record, Rows
from gpt1_jax.datasets.readers.tables import FileReader
from gpt1_jax.datasets.table_sources import HubSource, TableSource, TfdsSource
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError


class FileSource:
    """Read a task's files with the first of its readers that finds a split."""

    def __init__(self, task: Task, path: str):
        self._task, self._root = task, inputs.data_path("config.data.path", path)
        if not path or not self._root.is_dir():
            split = task.splits[0]
            expected = " or ".join(reader.expected_path(split) for reader in task.files)
            raise UserError(
                f"config.data.path: {path!r} is no folder; name the one that holds {expected}"
            )

    def location(self, split: str) -> str:
        """Return the location of the split, for error messages."""
        _, found = self._find(split)
        return str(found.files[0])

    def left_out(self, split: str) -> Mapping[str, int]:
        """Return kind -> the number of files beside those of the split that are not read."""
        _, found = self._find(split)
        return found.left_out

    def has_split(self, split: str) -> bool:
        """Return True if there are files of the split."""
        return any(reader.find_files(self._root, split).files for reader in self._task.files)

    def columns(self, split: str) -> Columns:
        """Return the columns that form an example of the split."""
        reader, _ = self._find(split)
        return reader

    def records(self, split: str, omitted: OmittedRows) -> Iterator[tuple[str, int, Record]]:
        """Yield (location, number, record) of every row."""
        reader, found = self._find(split)
        for file in found.files:
            try:
                yield from reader.records(file, split, split in self._task.hidden, omitted)
            except OSError as error:
                raise UserError(
                    f"{error.filename or file}: cannot be read ({error.strerror});"
                    " check the file and its permissions"
                ) from error

    def _find(self, split: str) -> tuple[FileReader, files.Found]:
        """Return the first reader that finds files of the split, and the files."""
        for reader in self._task.files:
            found = reader.find_files(self._root, split)
            if found.files:
                return reader, found
        expected = " or ".join(
            reader.expected_path(split) for reader in self._task.files if split in reader.splits
        )
        raise UserError(
            f"{self._root}: no file of task {self._task.name}, split {split}; put {expected} there"
        )


SOURCES = {"files": FileSource, "hub": HubSource, "tfds": TfdsSource}


def load(
    task: Task,
    split: str,
    *,
    source: str,
    path: str,
    max_bad_rows: int = 0,
    log_line: Callable[[str], None] = print,
) -> Rows:
    """Return the rows of one split of a task, in the order of the source.

    Args:
        task: an entry of the task registry.
        split: one of `task.splits`: "train", "validation", "test", or another split of the task.
        source: "files", the files as the task's authors distribute them; "hub", the tables of the
            Hugging Face hub; "tfds", the tables of TFDS, prepared as array_record.
        path: for files, the folder with the tasks' folders (CoLA/, SST-2/, ...), or the task's
            folder. For the hub, a folder with a copy of the data set, or the name of a data set of
            the hub; "" means the task's own data set. For tfds, the data_dir; "" means TFDS's
            default.
        max_bad_rows: the number of malformed rows that are dropped. One more is an error.
        log_line: write a line to the log; called for each dropped row.

    Raises:
        UserError: an unknown source or split, a missing folder, file or column, an empty split, a
            malformed row, or an unknown label.
    """
    tables = _open(task, source, path)
    if split not in task.splits:
        raise UserError(
            f"task {task.name} has no split {split!r}; choose one of: {', '.join(task.splits)}"
        )
    if left_out := files.describe(tables.left_out(split)):
        log_line(f"{task.name} {split}: left out: {left_out}")
    omitted = OmittedRows(max_bad_rows, log_line)
    columns = tables.columns(split)
    parse_label = _label_parser(task, columns)
    hides_labels = split in task.hidden
    examples = []
    for where, number, record in tables.records(split, omitted):
        try:
            new = list(columns.examples(record, number, parse_label, hides_labels, omitted))
            _check_segments(task, new)
            examples += new
        except ValueError as reason:
            omitted.add_malformed(where, reason)
    if not examples:
        raise UserError(
            f"{tables.location(split)}: contains no rows of split {split}; fetch it again"
        )
    return Rows(examples, omitted.unlabeled)


def has(task: Task, split: str, *, source: str, path: str) -> bool:
    """Return True if the source holds the split; test splits may be missing.

    The arguments and errors are those of `load`.
    """
    return _open(task, source, path).has_split(split)


def subset(task: Task, examples: Sequence[Example], size: int, seed: int) -> list[Example]:
    """Return a random subset with the label frequencies of the whole, in the order of the whole.

    Published files are sorted by source or by topic, so their first rows are no random sample.

    Args:
        task: the task. The labels of a graded task are rounded to whole scores.
        examples: all rows of a split.
        size: the number of rows to draw; all rows if it is 0 or there are no more.
        seed: the seed of the draw.
    """
    if not size or size >= len(examples):
        return list(examples)
    strata = np.array([_label_name(task, example.label) for example in examples])
    generator = np.random.default_rng(seed)
    rank = np.zeros(len(examples))  # of a row in its class, shuffled: from 0 to 1
    for name in np.unique(strata):
        rows = generator.permutation(np.flatnonzero(strata == name))
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    drawn = np.sort(np.argsort(rank, kind="stable")[:size])
    return [examples[row] for row in drawn]


def describe(task: Task, split: str, rows: Rows) -> dict:
    """Describe the rows, for data.json and result.json.

    Returns:
        rows: the number of examples.
        unlabeled: the number of rows that were omitted because they have no gold label.
        labels: class -> number of rows. For a graded task the key is the nearest whole score; for
            rows without a label it is "hidden".
        published: True if the number of rows is the published one; None if that is unknown.
        sha256: a hash of the set of texts and labels. It includes neither ids nor the order,
            because sources number and order the same rows differently.
        ordered_sha256: a hash of the texts and labels in their order, on which batches depend.
    """
    counts = Counter(_label_name(task, example.label) for example in rows.examples)
    order = [*map(str, range(task.bins)), *task.labels, "hidden"]
    encode = json.JSONEncoder().encode  # unambiguous, and the same on every machine
    digests = [
        hashlib.sha256(encode((example.segments, example.label)).encode()).digest()
        for example in rows.examples
    ]
    return {
        "rows": len(rows.examples),
        "unlabeled": rows.unlabeled,
        "labels": {name: counts[name] for name in order if counts[name]},
        "published": len(rows.examples) == task.sizes[split] if split in task.sizes else None,
        "sha256": hashlib.sha256(b"".join(sorted(digests))).hexdigest(),
        "ordered_sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
    }


def _label_name(task: Task, label: Label | None) -> str:
    if label is None:
        return "hidden"
    return str(math.floor(label + 0.5)) if task.bins else task.labels[int(label)]


def _open(task: Task, source: str, path: str) -> FileSource | TableSource:
    if source not in SOURCES:
        raise UserError(
            f"config.data.source: no source is called {source!r};"
            f" choose one of: {', '.join(sorted(SOURCES))}"
        )
    return SOURCES[source](task, path)


def _check_segments(task: Task, examples: list[Example]) -> None:
    for example in examples:
        found = len(example.segments)
        if found != task.texts and task.format == "choice":
            raise ValueError(
                f"question {example.id} has {found - task.contexts} options, "
                f"{len(task.labels)} expected"
            )
        if found != task.texts:
            raise ValueError(f"{found} texts found, {task.texts} expected")


def _label_parser(task: Task, columns: Columns) -> Callable[[Any], Label]:
    """Return a function that converts a source's label to a class id or a score.

    The function raises ValueError if the value is neither.
    """
    ids = {name: number for number, name in enumerate(columns.label_names or task.labels)}

    def parse_class(label):
        if isinstance(label, str) and label in ids:
            return ids[label]
        if columns.label_ids and type(label) is int and 0 <= label < len(ids):
            return label
        raise ValueError(f"unknown label {label!r:.50}, one of {', '.join(ids)} expected")

    def parse_score(label):
        try:
            # Tables store scores as float32. The text of a float32 is the shortest number that
            # rounds to it, such as 3.8.
            number = float(label if isinstance(label, str) else str(np.float32(label)))
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(label, bool) or not 0 <= number <= task.bins - 1:
            raise ValueError(
                f"score {label!r:.50} found, a number from 0 to {task.bins - 1} expected"
            )
        return number

    return parse_score if task.bins else parse_class
