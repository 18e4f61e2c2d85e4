"""From a record, a row's named values as any source gives them, to the example that the rest of the project knows.

Files, the hub and TFDS all give records; what a task says of its columns turns them into the same examples.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from gpt1_jax.errors import UserError

Label = int | float
Record = Mapping[str, Any]


class Example(NamedTuple):
    """One labelled row, the same from whichever source.

    Attributes:
        id: the row's own id (its id column, or its running number from 0): what a submission file carries.
        segments: the texts. single: (text,); pair and similarity: (a, b); choice: (context, ..., choice_1, ..., choice_n);
            substitution: (text, pronoun, candidate_1, candidate_2).
        label: the class id, the score of a graded task, or None where the split hides the labels.
    """

    id: str
    segments: tuple[str, ...]
    label: Label | None


class Rows(NamedTuple):
    """What was read of a split: its examples, and how many rows were left out because nobody could agree on their label."""

    examples: list[Example]
    unlabelled: int = 0


class Omitted:
    """The rows of one split that are left out.

    Args:
        allowed: so many malformed rows are dropped, each told by `say`; one more raises UserError.

    Attributes:
        seen: malformed rows so far.
        unlabelled: rows without a gold label so far, which are the authors' doing and no mistake.
    """

    def __init__(self, allowed: int, say: Callable[[str], None] = print):
        self.allowed = allowed
        self.say = say
        self.seen = 0
        self.unlabelled = 0

    def malformed(self, where: str, reason: Exception):
        """Counts the row at `where` ("file:line"), which is malformed for the `reason`."""
        self.seen += 1
        if self.seen > self.allowed:
            advice = f"repair or remove the row, or allow malformed rows with config.data.max_bad_rows (now {self.allowed})"
            raise UserError(f"{where}: {reason}; {advice}")
        self.say(f"{where}: {reason}; row dropped ({self.seen} of at most {self.allowed})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Which values of a record make the example.

    Attributes:
        segments: the names of the texts, in the order of `Example.segments`; a list of texts counts as so many.
        label: the name of the label; a split that hides its labels may lack it.
        written: how the source spells the labels, in id order; () where it writes the task's label names.
        unlabelled: what stands for the label where there is no gold one; such rows are left out and counted.
        id: the name of the row's id; without it rows are numbered from 0.
    """

    segments: tuple[str, ...]
    label: str = "label"
    written: tuple[str, ...] = ()
    unlabelled: Any = None
    id: str = "index"

    def names(self, hides_labels: bool) -> tuple[str, ...]:
        """What a record must hold."""
        return self.segments if hides_labels else (*self.segments, self.label)

    def examples(
        self,
        record: Record,
        number: int,
        label_of: Callable[[Any], Label],
        hides_labels: bool,
        omitted: Omitted,
    ) -> Iterator[Example]:
        """The examples of one record: one, or none where it has no gold label.

        Args:
            number: the record's running number, its id where it has none of its own.
            label_of: the label as written -> the label; raises ValueError for what is none.
            hides_labels: the split may lack its labels (no such value, or -1); they are then None.
            omitted: counts the rows without a gold label.
        Raises:
            ValueError: a value is missing, not a text, or not a label.
        """
        written = record.get(self.label)
        if self.unlabelled is not None and written == self.unlabelled:
            omitted.unlabelled += 1
            return
        hidden = hides_labels and (written is None or written == -1)
        segments = tuple(
            [text for name in self.segments for text in _texts(name, record.get(name))]
        )
        yield Example(
            str(record.get(self.id, number)), segments, None if hidden else label_of(written)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passages(Columns):
    """Records of a passage with several questions (RACE as published); every question is an example.

    Attributes:
        each: question column -> the record's list of them, for all that each question has of its own.
    """

    each: Mapping[str, str]

    def names(self, hides_labels):
        return tuple([self.each.get(name, name) for name in super().names(hides_labels)])

    def examples(self, record, number, label_of, hides_labels, omitted):
        lists = {name: record.get(plural) for name, plural in self.each.items()}
        lengths = {len(values) if isinstance(values, list) else None for values in lists.values()}
        if len(lengths) != 1 or None in lengths:
            raise ValueError(f"{', '.join(self.each.values())} are not lists of the same length")
        passage = str(record.get(self.id, number))
        for question, values in enumerate(zip(*lists.values(), strict=True)):
            one = {
                **record,
                **dict(zip(lists, values, strict=True)),
                self.id: f"{passage}/{question}",
            }
            yield from super().examples(one, number, label_of, hides_labels, omitted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(Columns):
    """Where the hub or TFDS keeps a task.

    Attributes:
        name: of the data set ("nyu-mll/glue", "glue").
        configs: its configurations that hold the task, one after the other; ("",) where it has none.
        splits: split -> its name there, where that is another.
    """

    name: str
    configs: tuple[str, ...] = ("",)
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    id: str = "idx"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageTable(Table, Passages):
    """A table whose records are passages with several questions."""


def _texts(name: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"text expected in {name!r}, {str(value)[:50]!r} found")
    return texts
