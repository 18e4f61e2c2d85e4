"""The layouts in which the tasks' authors publish their files: one class each, a file -> examples, every row checked.

A layout's fields say where things stand in the files; its `read` is the only code that knows the format. A row that
breaks the format is a ValueError inside the reader, which `BadRows` turns into a line of the log or into the end of the run.
"""

import codecs
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gpt1_jax.errors import UserError

Label = int | float


class Example(NamedTuple):
    """One labelled row, the same from whichever source.

    Attributes:
        id: the row's own id (its id column, or its running number from 0): what a submission file carries.
        segments: the texts. single: (text,); pair and similarity: (a, b); choice: (context, choice_1, ..., choice_n).
        label: the class id, the score of a graded task, or None where the split hides the labels.
    """

    id: str
    segments: tuple[str, ...]
    label: Label | None


class BadRows:
    """The malformed rows of one file: up to `allowed` are dropped, each told by `say`; one more raises UserError."""

    def __init__(self, allowed: int, say: Callable[[str], None] = print):
        self.allowed = allowed
        self.say = say
        self.seen = 0

    def drop(self, where: str, reason: Exception):
        """Counts the row at `where` ("file:line"), which is malformed for the `reason`."""
        self.seen += 1
        if self.seen > self.allowed:
            advice = f"repair or remove the row, or allow malformed rows with config.data.max_bad_rows (now {self.allowed})"
            raise UserError(f"{where}: {reason}; {advice}")
        self.say(f"{where}: {reason}; row dropped ({self.seen} of at most {self.allowed})")


@dataclasses.dataclass(frozen=True)
class Tsv:
    r"""Tab-separated UTF-8 files as GLUE distributes them: one line a row, a header line, no quoting whatever.

    A quote is text, even a lone one (MRPC and QQP have many), so this is not csv. A row ends at "\n" or "\r\n" and
    nowhere else: texts may contain other characters that Unicode calls line ends. A byte order mark and blank lines are
    passed over.

    Attributes:
        folder: the task's folder below the distribution's root.
        segments: the columns with the texts, in the order of `Example.segments`.
        label: the column with the label; a split that hides its labels may lack it.
        written: how the file spells the labels, in id order; () where it writes the task's label names.
        id: the column with the row's id; a file without it numbers its rows from 0.
        headerless: the columns of a file whose first line is already a row (CoLA's train and dev).
        splits: split -> file name.
    """

    folder: str
    segments: tuple[str, ...]
    label: str = "label"
    written: tuple[str, ...] = ()
    id: str = "index"
    headerless: tuple[str, ...] = ()
    splits: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
    )

    def read(
        self, file: pathlib.Path, split: str, label_of: Callable[[str], Label], hides_labels: bool, bad_rows: BadRows
    ) -> list[Example]:
        """The split's rows in `file`, in order.

        Args:
            label_of: the file's spelling of a label -> the label; raises ValueError for what is none.
            hides_labels: the split may lack the label column; its labels are then None.
            bad_rows: takes the malformed rows.
        Raises:
            UserError: empty file, missing column, or more malformed rows than allowed.
        """
        examples = []
        with open(file, "rb") as stream:
            columns, lines = self._header(file, _lines(stream))
            texts = _places(file, self.segments, columns)
            hidden = hides_labels and self.label not in columns
            answer = None if hidden else _places(file, (self.label,), columns)[0]
            identity = columns.index(self.id) if self.id in columns else None
            belongs = self._selection(file, split, columns)
            for row, (number, line) in enumerate(lines):
                try:
                    cells = _cells(line, len(columns))
                    if belongs(cells):
                        name = str(row) if identity is None else cells[identity]
                        label = None if answer is None else label_of(cells[answer])
                        examples.append(Example(name, tuple([cells[i] for i in texts]), label))
                except ValueError as reason:
                    bad_rows.drop(f"{file}:{number}", reason)
        return examples

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

    def _selection(self, file, split, columns) -> Callable[[list[str]], bool]:
        """Tells from a row's cells whether the row belongs to the split; here the whole file does."""
        return lambda cells: True


@dataclasses.dataclass(frozen=True)
class HeldOutTsv(Tsv):
    """One file for train and validation, and a list of the rows that are validation (MRPC as Microsoft published it).

    Attributes:
        held_out: the file with the list, beside the rows' file: the cells of `key`, one row a line, no header.
        key: the columns that name a row in that list.
    """

    held_out: str = ""
    key: tuple[str, ...] = ()

    def _selection(self, file, split, columns):
        if split not in ("train", "validation"):
            return super()._selection(file, split, columns)
        listing = file.parent / self.held_out
        if not listing.is_file():
            raise UserError(f"{listing}: not found; {file.name} needs this list of its validation rows beside it")
        held_out = set()
        with open(listing, "rb") as stream:
            for number, line in _lines(stream):
                try:
                    held_out.add(tuple(_cells(line, len(self.key))))
                except ValueError as reason:
                    raise UserError(f"{listing}:{number}: {reason}; use the list as it is distributed") from None
        places = _places(file, self.key, columns)
        return lambda cells: (tuple([cells[i] for i in places]) in held_out) == (split == "validation")


def _lines(stream):
    """(line number from 1, bytes) of the lines that are not blank, without a leading byte order mark."""
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    return ((number, line) for number, line in enumerate(stream, 1) if line.strip(b"\r\n"))


def _cells(line: bytes, expected: int | None = None) -> list[str]:
    """The line's cells; raises ValueError when it is not UTF-8 or has another number of them than expected."""
    try:
        cells = line.decode().rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{line[error.start]:02x} at position {error.start} is not UTF-8") from None
    if expected is not None and len(cells) != expected:
        raise ValueError(f"{len(cells)} tab-separated columns found, {expected} expected")
    return cells


def _places(file, names: tuple[str, ...], columns: list[str]) -> list[int]:
    """Where the named columns stand; raises UserError for those that the file lacks."""
    missing = ", ".join(repr(name) for name in names if name not in columns)
    if missing:
        # Cut short, for a file without its header line shows a whole row here.
        found = ", ".join(map(repr, columns))[:200]
        raise UserError(f"{file}: no column {missing} in its header, {found}; use the file as its authors distribute it")
    return [columns.index(name) for name in names]
