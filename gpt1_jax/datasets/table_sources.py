"""Read tasks from the Hugging Face hub and from TFDS."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpt1_jax import inputs
from gpt1_jax.datasets import hub, hub_copy, tfds, values
from gpt1_jax.datasets.readers.records import Columns, OmittedRows, Record, TableFormat
from gpt1_jax.datasets.readers.tables import require_columns
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError


class TableSource:
    """Read a task from a data set with configurations, splits and typed features.

    Subclasses implement `splits` and `rows`, and name the data set in `__str__`.
    """

    def __init__(self, task: Task, table: TableFormat | None, source: str):
        if table is None:
            raise UserError(
                f"config.data.source: {source} does not hold task {task.name}; use 'files'"
            )
        self._task, self._table = task, table

    def splits(self, config: str) -> Mapping[str, Any]:
        """Return the splits of a configuration by the data set's own names."""
        raise NotImplementedError

    def rows(
        self, config: str, split: str
    ) -> tuple[list[str], Mapping[str, list[str]], Iterator[Record]]:
        """Return the columns of a split, the class names of its class columns, and its records."""
        raise NotImplementedError

    def location(self, split: str) -> str:
        """Return the location of the split, for error messages."""
        return f"{self} {' and '.join(self._table.configs)} {self._split_name(split)}"

    def left_out(self, split: str) -> Mapping[str, int]:
        """Return kind -> the number of files and folders that are not read."""
        return {}

    def has_split(self, split: str) -> bool:
        """Return True if every configuration has the split."""
        name = self._split_name(split)
        return all(name in self.splits(config) for config in self._table.configs)

    def columns(self, split: str) -> Columns:
        """Return the columns that form an example."""
        return self._table

    def records(self, split: str, omitted: OmittedRows) -> Iterator[tuple[str, int, Record]]:
        """Yield (location, number, record) of every row. Classes are names, not ids."""
        name, number = self._split_name(split), 0
        for config in self._table.configs:
            if name not in self.splits(config):
                known = ", ".join(map(repr, self.splits(config)))
                raise UserError(f"{self} {config}: no split {name!r}; it has {known}")
            columns, classes, rows = self.rows(config, name)
            # A hidden label is a value here, such as -1. Only files may lack the column.
            required = self._table.required(split in self._task.hidden)
            require_columns(required, columns, f"{self} {config}: no column {{}}, only ")
            for index, row in enumerate(rows):
                where = f"{self} {config} {name}, row {index}"
                try:
                    record = _plain_record(row, columns, classes)
                except ValueError as reason:
                    omitted.add_malformed(where, reason)
                else:
                    yield where, number, record
                number += 1

    def _split_name(self, split: str) -> str:
        return self._table.splits.get(split, split)


class HubSource(TableSource):
    """Read a data set of the Hugging Face hub from a local copy, or from the hub's own cache."""

    def __init__(self, task: Task, path: str):
        super().__init__(task, task.hub, "hub")
        assert task.hub  # else the line above has raised a UserError
        local = inputs.data_path("config.data.path", path)
        if path and local.exists():
            self._folder = local
        elif path and path.count("/") != 1:
            raise UserError(
                f"config.data.path: {path!r} is no folder; name a copy of {task.hub.name},"
                " or a data set of the hub as owner/name"
            )
        else:
            # Of the task's own data set, fetch only what the task needs. The layout of another data
            # set is unknown.
            patterns = None
            if not path:
                patterns = ("README.md", *(f"{config}/*" for config in task.hub.configs))
            self._folder = hub.folder(path or task.hub.name, patterns)
        self._readable = hub_copy.readable(self._folder)
        self._open_configs = {}

    def __str__(self):
        return str(self._folder)

    def splits(self, config):
        if config not in self._open_configs:
            self._open_configs[config] = self._open(config)
        return self._open_configs[config]

    def rows(self, config, split):
        rows = self.splits(config)[split]
        features = rows.features or {}
        with self._damage(config, split):
            columns = list(features) or list(next(iter(rows), {}))
        return columns, _class_names(features), self._iterate(rows, config, split)

    def _open(self, config: str) -> Mapping[str, Any]:
        """Return the splits of a configuration."""
        import datasets  # takes seconds

        def read(folder, config=""):
            # Streaming reads the files in place. A cache of copies could confuse two data sets.
            return hub.builder(folder, config).as_streaming_dataset()

        folder = self._readable
        expected = (
            f"expected {config}/<split>-*.parquet,"
            " or a README.md whose `configs:` says where the files are"
        )
        message = f"{self}: not a copy of a data set of the hub"
        with hub_copy.errors(self._folder, message, expected):
            # The names are those in the README, or ["default"].
            hub.check_metadata(self._folder)
            names = datasets.get_dataset_config_names(str(folder))
            if config in names:
                return read(folder, config)
            if (folder / config).is_dir():
                return read(folder / config)
            if names == ["default"]:
                return read(folder)
        raise UserError(
            f"{self}: has no configuration {config!r}, only {', '.join(names)}; {expected}"
        )

    def _iterate(self, rows, config: str, split: str) -> Iterator[Record]:
        with self._damage(config, split):
            yield from rows

    def _damage(self, config: str, split: str) -> contextlib.AbstractContextManager[None]:
        """Return a block in which every exception of the library is a UserError."""
        message = f"{self} {config} {split}: a file cannot be read"
        return hub_copy.errors(self._folder, message, "fetch it again")


class TfdsSource(TableSource):
    """Read a data set of TFDS that is prepared as array_record, without TensorFlow."""

    def __init__(self, task: Task, path: str):
        super().__init__(task, task.tfds, "tfds")
        assert task.tfds  # else the line above has raised a UserError
        self._builders = {
            config: tfds.builder(task.tfds.name, config, path) for config in task.tfds.configs
        }

    def __str__(self):
        return f"TFDS {self._table.name}"

    def splits(self, config):
        return self._builders[config].info.splits

    def rows(self, config, split):
        builder = self._builders[config]
        features = builder.info.features
        return list(features), _class_names(features), self._iterate(builder, split)

    def _iterate(self, builder: Any, split: str) -> Iterator[Record]:
        with values.library_errors(f"{builder.data_dir}: cannot be read", "prepare it again"):
            yield from builder.as_data_source(split)


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return column -> class names for the columns that hold classes."""
    return {name: feature.names for name, feature in features.items() if hasattr(feature, "names")}


def _plain_record(row: Record, columns: list[str], classes: Mapping[str, list[str]]) -> Record:
    return {name: _plain(name, row[name], classes.get(name)) for name in columns}


def _plain(name: str, value: Any, classes: list[str] | None) -> Any:
    """Convert a value to the type that a file has: text, a class name for a class id, a list.

    Raises:
        ValueError: bytes of the column `name` are not UTF-8.
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"byte {error.start} of {name!r} is not UTF-8") from None
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(name, item, None) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if classes is not None and type(value) is int and value >= 0:
        return classes[value] if value < len(classes) else f"class {value}"
    return value
