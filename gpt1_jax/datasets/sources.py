"""Where a labelled task's rows come from: the published files, the hub or TFDS -> the same examples, checked."""

import functools
import hashlib
import json
import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gpt1_jax.datasets import hub, tfds
from gpt1_jax.datasets.readers.records import Columns, Label, Omitted, Record, Rows, Table
from gpt1_jax.datasets.readers.tables import Layout, require
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError, first_line


def load(
    task: Task,
    split: str,
    *,
    source: str,
    path: str,
    max_bad_rows: int = 0,
    say: Callable[[str], None] = print,
) -> Rows:
    """The rows of one split of a task, in the source's order.

    Args:
        task: an entry of the tasks' page.
        split: one of `task.splits`: "train", "validation", "test", or a task's own further ones.
        source: "files", the task's files as their authors distribute them; "hub", the hub's tables; "tfds", TFDS's, as array_record.
        path: files: the folder with the tasks' folders (CoLA/, SST-2/, ...), or the task's own folder. hub: a folder with a copy of
            the data set, else the name of one on the hub, else (empty) the task's own. tfds: the data_dir, or (empty) TFDS's default.
        max_bad_rows: so many malformed rows are dropped, each told by `say`; one more is an error.
    Raises:
        UserError: unknown source or split, missing folder, file or column, empty split, malformed row, unknown label.
    """
    place = _place(task, source, path)
    if split not in task.splits:
        raise UserError(
            f"task {task.name} has no split {split!r}; choose one of: {', '.join(task.splits)}"
        )
    omitted = Omitted(max_bad_rows, say)
    columns = place.columns(split)
    label_of, hides_labels = _label_reader(task, columns.written), split in task.hidden
    examples = []
    for where, number, record in place.records(split, omitted):
        try:
            found = list(columns.examples(record, number, label_of, hides_labels, omitted))
            if any(len(example.segments) != task.texts for example in found):
                raise ValueError(f"{len(found[0].segments)} texts found, {task.texts} expected")
            examples += found
        except ValueError as reason:
            omitted.malformed(where, reason)
    if not examples:
        raise UserError(
            f"{place.where(split)}: no rows of split {split} found in it; fetch it again"
        )
    return Rows(examples, omitted.unlabelled)


def has(task: Task, split: str, *, source: str, path: str) -> bool:
    """Whether the source holds the split: test splits may be missing. Errors as in `load`."""
    return split in _place(task, source, path)


def _place(task: Task, source: str, path: str) -> "Files | Tables":
    if source not in SOURCES:
        raise UserError(
            f"config.data.source: no source is called {source!r}; choose one of: {', '.join(sorted(SOURCES))}"
        )
    return SOURCES[source](task, path)


def describe(task: Task, split: str, rows: Rows) -> dict:
    """What was read, for the run's record.

    Returns:
        "rows"; "unlabelled", rows left out for want of a gold label; "labels", the number of rows of each class (of a graded
        task: of each nearest whole score; "hidden": without a label); "published", whether the number of rows is the published
        one (None where that is not known); "sha256" over the texts and labels as a set: neither ids nor the order count, for
        sources number and order the same rows differently.
    """
    counts = Counter(
        "hidden" if example.label is None else _class(task, example.label)
        for example in rows.examples
    )
    order = [*map(str, range(task.bins)), *task.labels, "hidden"]
    encode = json.JSONEncoder().encode  # Unambiguous, and the same on every machine.
    digests = sorted(
        hashlib.sha256(encode((example.segments, example.label)).encode()).digest()
        for example in rows.examples
    )
    return {
        "rows": len(rows.examples),
        "unlabelled": rows.unlabelled,
        "labels": {name: counts[name] for name in order if counts[name]},
        "published": len(rows.examples) == task.sizes[split] if split in task.sizes else None,
        "sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
    }


def _class(task: Task, label: Label) -> str:
    return str(math.floor(label + 0.5)) if task.bins else task.labels[label]


class Files:
    """A task's files as their authors distribute them, in the first of its layouts that holds a split."""

    def __init__(self, task: Task, path: str):
        self._task, self._root = task, pathlib.Path(path).expanduser()
        if not path or not self._root.is_dir():
            expected = [layout.place(split) for split in task.splits[:1] for layout in task.files]
            raise UserError(
                f"config.data.path: {path!r} is no folder; name the one that holds {' or '.join(expected)}"
            )

    def where(self, split: str) -> str:
        """The split's place in words."""
        _, files = self._found(split)
        return str(files[0])

    def __contains__(self, split: str) -> bool:
        return any(layout.files(self._root, split) for layout in self._task.files)

    def _found(self, split: str) -> tuple[Layout, list[pathlib.Path]]:
        """The first layout that holds the split, and its files; UserError where there is none."""
        for layout in self._task.files:
            if files := layout.files(self._root, split):
                return layout, files
        expected = [layout.place(split) for layout in self._task.files if split in layout.splits]
        raise UserError(
            f"{self._root}: no file of task {self._task.name}, split {split}; put {' or '.join(expected)} there"
        )

    def columns(self, split: str) -> Columns:
        """What makes an example of the split's records."""
        return self._found(split)[0]

    def records(self, split: str, omitted: Omitted) -> Iterator[tuple[str, int, Record]]:
        """(place of the row, running number, record) of every row."""
        layout, files = self._found(split)
        for file in files:
            try:
                yield from layout.records(file, split, split in self._task.hidden, omitted)
            except OSError as error:
                place = error.filename or file
                raise UserError(
                    f"{place}: cannot be read ({error.strerror}); check the file and its rights"
                ) from error


class Tables:
    """What the hub's and TFDS's data sets have in common: configurations, each with splits of records and the features' types."""

    def __init__(self, task: Task, table: Table | None, source: str):
        if table is None:
            raise UserError(
                f"config.data.source: {source} does not hold task {task.name}; use 'files'"
            )
        self._task, self._table = task, table

    def splits(self, config: str) -> Mapping[str, Any]:
        """The splits of a configuration, by their own names."""
        raise NotImplementedError

    def rows(
        self, config: str, split: str
    ) -> tuple[list[str], Mapping[str, list[str]], Iterator[Record]]:
        """A split's column names, the class names of its columns of classes, and its records."""
        raise NotImplementedError

    def where(self, split: str) -> str:
        """The split's place in words."""
        return f"{self} {' and '.join(self._table.configs)} {self._table.splits.get(split, split)}"

    def __contains__(self, split: str) -> bool:
        return all(
            self._table.splits.get(split, split) in self.splits(config)
            for config in self._table.configs
        )

    def columns(self, split: str) -> Columns:
        """What makes an example of the split's records."""
        return self._table

    def records(self, split: str, omitted: Omitted) -> Iterator[tuple[str, int, Record]]:
        """(place of the row, running number, record) of every row, classes by their names."""
        table, name, start = self._table, self._table.splits.get(split, split), 0
        for config in table.configs:
            if name not in self.splits(config):
                raise UserError(
                    f"{self} {config}: no split {name!r}; it has {', '.join(map(repr, self.splits(config)))}"
                )
            columns, classes, rows = self.rows(config, name)
            # Whether a test split hides its labels, its rows tell; here its column may not be missing.
            require(
                table.names(split in self._task.hidden),
                columns,
                f"{self} {config}: no column {{}}, only ",
            )
            number = start
            for number, row in enumerate(rows, start):
                record = {column: _plain(row[column], classes.get(column)) for column in columns}
                yield f"{self} {config} {name}, row {number - start}", number, record
            start = number + 1


_EXPECTED = (
    "expected {}/<split>-*.parquet, or a README.md whose `configs:` says where the files are"
)


class Hub(Tables):
    """A data set of the Hugging Face hub: a local copy of its folder, else its snapshot in the hub's own cache."""

    def __init__(self, task: Task, path: str):
        super().__init__(task, task.hub, "hub")
        local = pathlib.Path(path).expanduser()
        if path and local.exists():
            self._folder = local
        elif path and path.count("/") != 1:
            raise UserError(
                f"config.data.path: {path!r} is no folder; name a copy of {task.hub.name}, or a data set of the hub as owner/name"
            )
        else:
            # Of the task's own data set only what the task needs is fetched; how another one is laid out is not known before.
            patterns = (
                None if path else ("README.md", *(f"{config}/*" for config in task.hub.configs))
            )
            self._folder = hub.folder(path or task.hub.name, patterns)
        self._opened = {}

    def __str__(self):
        return str(self._folder)

    def splits(self, config):
        import datasets  # takes seconds

        if config not in self._opened:
            # Streaming reads the files where they lie: nothing is copied into a cache where another data set could be taken for it.
            read = functools.partial(datasets.load_dataset, streaming=True)
            try:
                described = datasets.get_dataset_config_names(
                    str(self._folder)
                )  # by the README; else ["default"]
                if config in described:
                    self._opened[config] = read(str(self._folder), config)
                elif (self._folder / config).is_dir():
                    self._opened[config] = read(str(self._folder / config))
                elif described == ["default"]:
                    self._opened[config] = read(str(self._folder))
            except (ValueError, RuntimeError, OSError, datasets.exceptions.DatasetsError) as error:
                raise UserError(
                    f"{self}: not a copy of a data set of the hub ({first_line(error)}); {_EXPECTED.format(config)}"
                ) from None
            if config not in self._opened:
                raise UserError(
                    f"{self}: has no configuration {config!r}, only {', '.join(described)}; {_EXPECTED.format(config)}"
                )
        return self._opened[config]

    def rows(self, config, split):
        rows = self.splits(config)[split]
        features = rows.features or {}
        columns = list(features) or list(next(iter(rows), {}))
        return columns, _classes(features), self._guarded(rows, config, split)

    def _guarded(self, rows, config, split):
        import datasets
        import pyarrow

        try:
            yield from rows
        except (
            ValueError,
            OSError,
            pyarrow.ArrowException,
            datasets.exceptions.DatasetsError,
        ) as error:
            raise UserError(
                f"{self} {config} {split}: a file cannot be read ({first_line(error)}); fetch it again"
            ) from None


class Tfds(Tables):
    """A data set of TFDS, prepared as array_record, which needs no TensorFlow."""

    def __init__(self, task: Task, path: str):
        super().__init__(task, task.tfds, "tfds")
        self._builders = {
            config: tfds.builder(task.tfds.name, config, path) for config in task.tfds.configs
        }

    def __str__(self):
        return f"TFDS {self._table.name}"

    def splits(self, config):
        return self._builders[config].info.splits

    def rows(self, config, split):
        features = self._builders[config].info.features
        return (
            list(features),
            _classes(features),
            iter(self._builders[config].as_data_source(split)),
        )


SOURCES = {"files": Files, "hub": Hub, "tfds": Tfds}


def _classes(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the classes of the columns that hold classes."""
    return {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}


def _plain(value: Any, classes: list[str] | None) -> Any:
    """A table's value as a file would have it: text, class names for class ids, lists for arrays."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item, None) for item in value]
    if classes is not None and value is not None and 0 <= value < len(classes):
        return classes[value]
    return value.item() if isinstance(value, np.generic) else value


def _label_reader(task: Task, written: tuple[str, ...]) -> Callable[[Any], Label]:
    """Label as the source writes it -> class id or score; the function given raises ValueError for what is neither."""
    ids = {spelling: number for number, spelling in enumerate(written or task.labels)}

    def class_id(label):
        if isinstance(label, int) and 0 <= label < len(ids):
            return label
        if label not in ids:
            raise ValueError(f"unknown label {label!r}, one of {', '.join(ids)} expected")
        return ids[label]

    def score(label):
        try:
            # Tables keep scores as float32: 3.8 is the shortest number that is the same there.
            number = float(label if isinstance(label, str) else str(np.float32(label)))
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= task.bins - 1:
            raise ValueError(f"score {label!r} found, a number from 0 to {task.bins - 1} expected")
        return number

    return score if task.bins else class_id
