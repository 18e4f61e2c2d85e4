"""Where a labelled task's rows come from: hub, TFDS or the published files -> the same examples, checked."""

import hashlib
import json
import math
import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

from gpt1_jax.datasets.layouts import BadRows, Example, Label
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError


def load(task: Task, split: str, *, source: str, path: str, max_bad_rows: int = 0, say: Callable[[str], None] = print) -> list[Example]:
    """The rows of one split of a task, in the source's order.

    Args:
        task: an entry of the tasks' page.
        split: one of `task.splits`: "train", "validation", "test", or a task's own further ones.
        source: "files", the task's files as their authors distribute them.
        path: the folder with the tasks' folders (CoLA/, SST-2/, ...), or the task's own folder.
        max_bad_rows: so many malformed rows are dropped, each told by `say`; one more is an error.
    Raises:
        UserError: unknown source or split, missing folder, file or column, empty file, malformed row, unknown label.
    """
    if source not in SOURCES:
        raise UserError(f"config.data.source: no source is called {source!r}; choose one of: {', '.join(sorted(SOURCES))}")
    if split not in task.splits:
        raise UserError(f"task {task.name} has no split {split!r}; choose one of: {', '.join(task.splits)}")
    return SOURCES[source](task, split, path, lambda: BadRows(max_bad_rows, say))


def has(task: Task, split: str, *, source: str, path: str) -> bool:
    """Whether the source holds the split: test splits may be missing."""
    if source not in SOURCES:
        return False
    folder = pathlib.Path(path).expanduser()
    return any(file.is_file() for _, file in _candidates(task, split, folder))


def describe(examples: Sequence[Example], labels: Sequence[str] = ()) -> dict:
    """What was read, for the run's record.

    Args:
        examples: the rows.
        labels: the task's label names in id order; without them classes are counted by id.
    Returns:
        "rows"; "labels", the number of rows of each class (of a graded task: of each nearest whole score; "hidden":
        without a label); "sha256" over texts and labels in order. Ids do not count: sources number the same rows
        differently.
    """

    def name(label):
        if label is None:
            return "hidden"
        return str(math.floor(label + 0.5)) if isinstance(label, float) or not labels else labels[label]

    counts = Counter(example.label for example in examples)
    named = Counter()
    for label in sorted(counts, key=lambda label: math.inf if label is None else label):
        named[name(label)] += counts[label]
    digest = hashlib.sha256()
    encode = json.JSONEncoder().encode  # Unambiguous, and the same on every machine.
    for example in examples:
        digest.update(encode((example.segments, example.label)).encode() + b"\n")
    return {"rows": len(examples), "labels": dict(named), "sha256": digest.hexdigest()}


def read_files(task: Task, split: str, path: str, bad_rows: Callable[[], BadRows]) -> list[Example]:
    """Reads a split from the published files, in the first of the task's layouts that holds it."""
    folder = pathlib.Path(path).expanduser()
    expected = [f"{layout.folder}/{layout.splits[split]}" for layout in task.files if split in layout.splits]
    if not path or not folder.is_dir():
        raise UserError(f"config.data.path: {path!r} is no folder; name the one that holds {' or '.join(expected)}")
    for layout, file in _candidates(task, split, folder):
        if file.is_file():
            return _read_file(layout, file, task, split, bad_rows())
    raise UserError(f"{folder}: no file of task {task.name}, split {split}; put {' or '.join(expected)} there")


SOURCES = {"files": read_files}


def _candidates(task, split, folder):
    """(layout, file) for each place where the split may lie: below the task's folder, or in `folder` as that folder."""
    for layout in task.files:
        if split in layout.splits:
            yield layout, folder / layout.folder / layout.splits[split]
            yield layout, folder / layout.splits[split]


def _read_file(layout, file, task, split, bad_rows):
    try:
        label_of = _label_reader(task, layout.written)
        examples = layout.read(file, split, label_of, split in task.test, bad_rows)
    except OSError as error:
        place = error.filename or file
        raise UserError(f"{place}: cannot be read ({error.strerror}); check the file and its rights") from error
    if not examples:
        raise UserError(f"{file}: no rows of split {split} found in it; fetch the file again")
    return examples


def _label_reader(task: Task, written: tuple[str, ...]) -> Callable[[str], Label]:
    """Label as the file writes it -> class id or score; the function given raises ValueError for what is neither."""
    ids = {spelling: number for number, spelling in enumerate(written or task.labels)}

    def class_id(text):
        if text not in ids:
            raise ValueError(f"unknown label {text!r}, one of {', '.join(ids)} expected")
        return ids[text]

    def score(text):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number <= task.bins - 1:
            raise ValueError(f"score {text!r} found, a number from 0 to {task.bins - 1} expected")
        return number

    return score if task.bins else class_id
