"""Read tab-separated files: those of GLUE, Microsoft's MRPC, SNLI and SciTail."""

import codecs
import dataclasses
import itertools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO

from gpt1_jax.datasets import files
from gpt1_jax.datasets.readers.records import Columns, OmittedRows, Record
from gpt1_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileReader(Columns):
    """Read the files of a task as its authors publish them. Subclasses implement the file formats.

    Attributes:
        folder: the task's folder below the root of the distribution.
        splits: split -> file name, or a glob pattern of file names.
    """

    folder: str
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    )

    def expected_path(self, split: str) -> str:
        """Return the path or glob pattern of the split's files below the root."""
        return f"{self.folder}/{self.splits[split]}"

    def find_files(self, root: pathlib.Path, split: str) -> files.Found:
        """Return the split's files; none if it has none. `root` may also be the task's folder."""
        found = files.Found([], Counter())
        if split in self.splits:
            for folder in (root / self.folder, root):
                found = found if found.files else files.find_by_pattern(folder, self.splits[split])
        return found

    def records(
        self, file: pathlib.Path, split: str, hides_labels: bool, omitted: OmittedRows
    ) -> Iterable[tuple[str, int, Record]]:
        """Return (location, number from 0, record) of the split's rows in `file`, in order.

        Args:
            file: one of the split's files.
            split: the split.
            hides_labels: the file may lack the labels.
            omitted: counts the malformed rows.

        Raises:
            UserError: the file is empty or lacks a column, or more rows are malformed than allowed.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tsv(FileReader):
    r"""Read tab-separated UTF-8 files as GLUE distributes them.

    A file has a header and one row a line. There is no quoting.
    Quotation marks are part of the text and often unbalanced (MRPC, QQP), so the format is not csv.
    A row ends only at "\n" or "\r\n", since texts may contain other characters that Unicode counts
    as line ends. A byte order mark and blank lines are ignored.

    Attributes:
        headerless: the columns of a file whose first line is already a row (CoLA's train and dev).
        optional: the number of last columns that a row may lack (SNLI's further annotators).
    """

    headerless: tuple[str, ...] = ()
    optional: int = 0

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            columns, lines = self._read_header(file, numbered_lines(stream))
            required = self.required(hides_labels)
            require_columns(required, columns, f"{file}: no column {{}} in its header, ")
            refuse_duplicates(file, (*required, self.label, self.id), columns)
            is_in_split = self._split_filter(file, split, columns)
            for number, (line_number, line) in enumerate(lines):
                where = f"{file}:{line_number}"
                try:
                    cells = split_cells(line, len(columns), self.optional)
                except ValueError as reason:
                    omitted.add_malformed(where, reason)
                    continue
                record = dict(zip(columns, cells, strict=False))
                if is_in_split(record):
                    yield where, number, record

    def _read_header(
        self, file: pathlib.Path, lines: Iterator[tuple[int, bytes]]
    ) -> tuple[list[str], Iterable[tuple[int, bytes]]]:
        """Return the file's columns and the (number, line) pairs of its rows."""
        first = next(lines, None)
        if first is None:
            raise UserError(f"{file}: the file is empty, a table expected; fetch it again")
        number, line = first
        try:
            columns = split_cells(line)
        except ValueError as reason:
            if not self.headerless:
                raise UserError(f"{file}:{number}: {reason}; save the file as UTF-8") from None
            columns = []  # The line is a row. `records` counts it as malformed.
        if self.headerless and not set(self.segments) <= set(columns):
            return list(self.headerless), itertools.chain([first], lines)
        return columns, lines

    def _split_filter(
        self, file: pathlib.Path, split: str, columns: list[str]
    ) -> Callable[[Record], bool]:
        """Return a function that tells if a record belongs to the split. Here all records do."""
        return lambda record: True


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutTsv(Tsv):
    """Read MRPC as Microsoft published it: one file for train and validation, and a list.

    Attributes:
        held_out: the name of the list of validation rows, in the folder of the rows' file. A line
            of the list holds the `key` cells of one row. The list has no header.
        key: the columns that identify a row in the list.
    """

    held_out: str
    key: tuple[str, ...]

    def _split_filter(self, file, split, columns):
        if split not in ("train", "validation"):
            return super()._split_filter(file, split, columns)
        held_out = self._read_held_out(file)
        require_columns(self.key, columns, f"{file}: no column {{}} in its header, ")

        def is_in_split(record):
            is_held_out = tuple([record[name] for name in self.key]) in held_out
            return is_held_out == (split == "validation")

        return is_in_split

    def _read_held_out(self, file: pathlib.Path) -> set[tuple[str, ...]]:
        path = file.parent / self.held_out
        if not path.is_file():
            raise UserError(
                f"{path}: not found; put the list of the validation rows of {file.name} there"
            )
        held_out = set()
        with open(path, "rb") as stream:
            for number, line in numbered_lines(stream):
                try:
                    held_out.add(tuple(split_cells(line, len(self.key))))
                except ValueError as reason:
                    raise UserError(
                        f"{path}:{number}: {reason}; use the list as it is distributed"
                    ) from None
        return held_out


def numbered_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, bytes) of the lines that are not blank, without a byte order mark.

    A line ends only at a newline, since texts may contain other characters that count as line ends.
    """
    for number, line in enumerate(stream, 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip(b"\r\n"):
            yield number, line


def decode_line(line: bytes) -> str:
    """Return the text of a line without its end; raise ValueError if the line is not UTF-8."""
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise ValueError(f"byte 0x{byte:02x} at position {error.start} is not UTF-8") from None


def require_columns(required: tuple[str, ...], columns: list[str], message: str) -> None:
    """Raise UserError if `columns` lacks a required column.

    Args:
        required: the required columns.
        columns: the existing columns.
        message: the beginning of the error message; {} stands for the missing columns.
    """
    missing = ", ".join(repr(name) for name in required if name not in columns)
    if missing:
        # In a file without a header, `columns` is a whole row. The message cuts it short.
        known = ", ".join(map(repr, columns))[:200]
        raise UserError(
            f"{message.format(missing)}{known}; use the data as its authors distribute it"
        )


def refuse_duplicates(file: pathlib.Path, names: Iterable[str], columns: list[str]) -> None:
    """Raise UserError if the header has one of the names twice."""
    for name in names:
        if columns.count(name) > 1:
            raise UserError(
                f"{file}: its header has the column {name!r} {columns.count(name)} times; "
                "rename or remove all but one"
            )


def split_cells(line: bytes, expected: int | None = None, optional: int = 0) -> list[str]:
    """Return the cells of a line.

    Raises:
        ValueError: the line is not UTF-8, or has more than `expected` cells, or lacks more than the
            last `optional` ones.
    """
    cells = decode_line(line).split("\t")
    if expected is not None and not expected - optional <= len(cells) <= expected:
        raise ValueError(f"{len(cells)} tab-separated columns found, {expected} expected")
    return cells
