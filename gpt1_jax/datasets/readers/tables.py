"""Tab-separated files: GLUE's, Microsoft's MRPC, SNLI's and SciTail's."""

import codecs
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from gpt1_jax.datasets.readers.records import Columns, Omitted, Record
from gpt1_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(Columns):
    """The files in which a task's authors publish it; a subclass knows their format.

    Attributes:
        folder: the task's folder below the distribution's root.
        splits: split -> file name, or a pattern of file names.
    """

    folder: str
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    )

    def place(self, split: str) -> str:
        """Where the split is expected below the root."""
        return f"{self.folder}/{self.splits[split]}"

    def files(self, root: pathlib.Path, split: str) -> list[pathlib.Path]:
        """The split's files below `root`, which may also be the task's own folder; [] where there are none."""
        if split not in self.splits:
            return []
        return _found(root / self.folder, self.splits[split]) or _found(root, self.splits[split])

    def records(
        self, file: pathlib.Path, split: str, hides_labels: bool, omitted: Omitted
    ) -> Iterator[tuple[str, int, Record]]:
        """(place of the row, running number, record) of the split's rows in `file`, in order.

        Args:
            hides_labels: the file may lack the labels.
            omitted: takes the malformed rows.
        Raises:
            UserError: empty file, missing column, or more malformed rows than allowed.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tsv(Layout):
    r"""Tab-separated UTF-8 files as GLUE distributes them: one line a row, a header line, no quoting whatever.

    A quote is text, even a lone one (MRPC and QQP have many), so this is not csv. A row ends at "\n" or "\r\n" and
    nowhere else: texts may contain other characters that Unicode calls line ends. A byte order mark and blank lines are
    passed over.

    Attributes:
        headerless: the columns of a file whose first line is already a row (CoLA's train and dev).
        optional: so many columns at the end a row may lack (SNLI's further annotators).
    """

    headerless: tuple[str, ...] = ()
    optional: int = 0

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            columns, lines = self._header(file, lines_of(stream))
            require(self.names(hides_labels), columns, f"{file}: no column {{}} in its header, ")
            belongs = self._selection(file, split, columns)
            for row, (number, line) in enumerate(lines):
                where = f"{file}:{number}"
                try:
                    record = dict(
                        zip(columns, _cells(line, len(columns), self.optional), strict=False)
                    )
                except ValueError as reason:
                    omitted.malformed(where, reason)
                    continue
                if belongs(record):
                    yield where, row, record

    def _header(self, file, lines):
        """The file's column names, and the (number, line) pairs that are rows."""
        first = next(lines, None)
        if first is None:
            raise UserError(f"{file}: the file is empty, a table expected; fetch it again")
        number, line = first
        try:
            columns = _cells(line)
        except ValueError as reason:
            if not self.headerless:
                raise UserError(f"{file}:{number}: {reason}; save the file as UTF-8") from None
            columns = []  # A row, then: the loop counts it among the malformed ones.
        if self.headerless and not set(self.segments) <= set(columns):
            return list(self.headerless), itertools.chain([first], lines)
        return columns, lines

    def _selection(self, file, split, columns):
        """Tells from a record whether it belongs to the split; here the whole file does."""
        return lambda record: True


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOutTsv(Tsv):
    """One file for train and validation, and a list of the rows that are validation (MRPC as Microsoft published it).

    Attributes:
        held_out: the file with the list, beside the rows' file: the cells of `key`, one row a line, no header.
        key: the columns that name a row in that list.
    """

    held_out: str
    key: tuple[str, ...]

    def _selection(self, file, split, columns):
        if split not in ("train", "validation"):
            return super()._selection(file, split, columns)
        listing = file.parent / self.held_out
        if not listing.is_file():
            raise UserError(
                f"{listing}: not found; {file.name} needs this list of its validation rows beside it"
            )
        held_out = set()
        with open(listing, "rb") as stream:
            for number, line in lines_of(stream):
                try:
                    held_out.add(tuple(_cells(line, len(self.key))))
                except ValueError as reason:
                    raise UserError(
                        f"{listing}:{number}: {reason}; use the list as it is distributed"
                    ) from None
        require(self.key, columns, f"{file}: no column {{}} in its header, ")
        return lambda record: (
            (tuple([record[name] for name in self.key]) in held_out) == (split == "validation")
        )


def lines_of(stream: Any) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes) of the lines that are not blank, without a leading byte order mark."""
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    return ((number, line) for number, line in enumerate(stream, 1) if line.strip(b"\r\n"))


def decoded(line: bytes) -> str:
    """The line as text without its end; ValueError when it is not UTF-8."""
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte 0x{line[error.start]:02x} at position {error.start} is not UTF-8"
        ) from None


def require(names: tuple[str, ...], found: list[str], message: str) -> None:
    """UserError unless all `names` are among the `found` ones; `message` says where, with {} for the missing."""
    missing = ", ".join(repr(name) for name in names if name not in found)
    if missing:
        # Cut short, for a file without its header line shows a whole row here.
        known = ", ".join(map(repr, found))[:200]
        raise UserError(
            f"{message.format(missing)}{known}; use the data as its authors distribute it"
        )


def _found(folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
    """Files by the pattern, those with numbers for names in their order."""
    return sorted(
        (file for file in folder.glob(pattern) if file.is_file()),
        key=lambda file: (file.parent, len(file.name), file.name),
    )


def _cells(line: bytes, expected: int | None = None, optional: int = 0) -> list[str]:
    """The line's cells; ValueError when it is not UTF-8, or has more than `expected` or fewer by more than the `optional` ones."""
    cells = decoded(line).split("\t")
    if expected is not None and not expected - optional <= len(cells) <= expected:
        raise ValueError(f"{len(cells)} tab-separated columns found, {expected} expected")
    return cells
