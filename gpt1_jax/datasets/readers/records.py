"""Convert records to examples.

A record maps the columns of a row to its values. Files, the hub and TFDS all yield records. The
`Columns` of a task convert them to the same examples.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from gpt1_jax.datasets import values
from gpt1_jax.errors import UserError

Label = int | float
Record = Mapping[str, Any]


class Example(NamedTuple):
    """Hold one labeled row, independent of its source.

    Attributes:
        id: the value of the row's id column, or the row's number from 0. Submission files use it.
        segments: the texts. single: (text,); pair and similarity: (a, b); choice: (context, ...,
            choice_1, ..., choice_n); substitution: (text, pronoun, candidate_1, candidate_2).
        label: the class id, the score of a graded task, or None if the split hides its labels.
    """

    id: str
    segments: tuple[str, ...]
    label: Label | None


class Rows(NamedTuple):
    """Hold the examples of a split, and the number of omitted rows without a gold label."""

    examples: list[Example]
    unlabeled: int = 0


class OmittedRows:
    """Count the omitted rows of one split.

    Args:
        allowed: the number of malformed rows that may be dropped.
        log_line: write a line to the log; called for each dropped row.
        setting: the setting or flag that gives `allowed`.

    Attributes:
        malformed: the number of malformed rows so far.
        unlabeled: the number of rows without a gold label so far. The authors publish such rows
            deliberately.
    """

    def __init__(
        self,
        allowed: int,
        log_line: Callable[[str], None] = print,
        setting: str = "config.data.max_bad_rows",
    ):
        self.allowed = allowed
        self.log_line = log_line
        self.setting = setting
        self.malformed = 0
        self.unlabeled = 0

    def add_malformed(self, where: str, reason: Exception) -> None:
        """Count a malformed row and report it.

        Args:
            where: the location of the row, such as "file:line".
            reason: an exception whose text says what is wrong.

        Raises:
            UserError: more rows are malformed than allowed.
        """
        self.malformed += 1
        if self.malformed > self.allowed:
            raise UserError(
                f"{where}: {reason}; repair or remove the row, or allow malformed rows with"
                f" {self.setting} (now {self.allowed})"
            )
        self.log_line(
            f"{where}: {reason}; row dropped ({self.malformed} of at most {self.allowed})"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Define which values of a record form the example.

    Attributes:
        segments: the columns of the texts, in the order of `Example.segments`. A column may also
            hold a list of texts.
        label: the column of the label. A split that hides its labels may lack it.
        label_names: the names that the source uses for the classes, in id order; () if they are the
            task's label names.
        no_label: the value of the label column in rows without a gold label. Such rows are omitted
            and counted.
        label_ids: a whole number in the label column is a class id. Otherwise it is no label,
            because the source spells its labels.
        id: the column of the row's id. Without this column, rows are numbered from 0.
    """

    segments: tuple[str, ...]
    label: str = "label"
    label_names: tuple[str, ...] = ()
    no_label: Any = None
    label_ids: bool = False
    id: str = "index"

    def required(self, hides_labels: bool) -> tuple[str, ...]:
        """Return the columns that a record must have."""
        return self.segments if hides_labels else (*self.segments, self.label)

    def examples(
        self,
        record: Record,
        number: int,
        parse_label: Callable[[Any], Label],
        hides_labels: bool,
        omitted: OmittedRows,
    ) -> Iterator[Example]:
        """Yield the example of one record; yield nothing if it has no gold label.

        Every source yields its rows through this function, so that texts, id and label are checked
        here, before anything is trained.

        Args:
            record: the values of the row.
            number: the row's number, which is its id if the record has none.
            parse_label: convert a value of the label column; raise ValueError if it is not a label.
            hides_labels: the split may hide its labels: the value is missing or -1, and the
                example's label is None.
            omitted: counts the rows without a gold label.

        Raises:
            ValueError: a value is missing, is not a text that UTF-8 can express, is not a label, or
                is not an id.
        """
        value = record.get(self.label)
        if self.no_label is not None and value == self.no_label:
            omitted.unlabeled += 1
            return
        segments = []
        for name in self.segments:
            segments += _texts(name, record.get(name))
        is_hidden = hides_labels and (value is None or value == -1)
        label = None if is_hidden else parse_label(value)
        yield Example(self._row_id(record, number), tuple(segments), label)

    def _row_id(self, record: Record, number: int) -> str:
        value = record.get(self.id)
        return values.check_id(self.id, number if value is None else value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passages(Columns):
    """Define columns for records that hold a passage with several questions, as RACE's do.

    Every question is an example.

    Attributes:
        list_columns: column of a question -> the record's column that lists its values for all
            questions.
    """

    list_columns: Mapping[str, str]

    def required(self, hides_labels):
        names = super().required(hides_labels)
        return tuple([self.list_columns.get(name, name) for name in names])

    def examples(self, record, number, parse_label, hides_labels, omitted):
        lists = [record.get(name) for name in self.list_columns.values()]
        lengths = {len(items) if isinstance(items, list) else None for items in lists}
        if len(lengths) != 1 or None in lengths:
            names = ", ".join(self.list_columns.values())
            raise ValueError(f"{names} are not lists of the same length")
        passage = self._row_id(record, number)
        for index, row in enumerate(zip(*lists, strict=True)):
            question = dict(record)
            question.update(zip(self.list_columns, row, strict=True))
            question[self.id] = f"{passage}/{index}"
            yield from super().examples(question, number, parse_label, hides_labels, omitted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableFormat(Columns):
    """Define where the hub or TFDS stores a task, and in which columns.

    Attributes:
        name: the name of the data set ("nyu-mll/glue", "glue").
        configs: the configurations with the task's rows, in order; ("",) if the data set has none.
        splits: split -> its name in the data set, if the names differ.
    """

    name: str
    configs: tuple[str, ...] = ("",)
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    label_ids: bool = True
    id: str = "idx"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageTableFormat(TableFormat, Passages):
    """Define a table whose records hold a passage with several questions."""


def _texts(name: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [values.check_text(name, text) for text in texts]
