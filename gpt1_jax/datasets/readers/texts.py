"""Read JSON lines, RACE's passages, Story Cloze's csv files and the blocks of pronouns."""

import codecs
import csv
import dataclasses
import itertools

from gpt1_jax.datasets import values
from gpt1_jax.datasets.readers.records import Passages
from gpt1_jax.datasets.readers.tables import (
    FileReader,
    decode_line,
    numbered_lines,
    refuse_duplicates,
    require_columns,
)
from gpt1_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jsonl(FileReader):
    """Read one JSON object from each line (SNLI's .jsonl, SciTail's snli_format)."""

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            for number, (line_number, line) in enumerate(numbered_lines(stream)):
                where = f"{file}:{line_number}"
                try:
                    yield where, number, values.parse_object(decode_line(line))
                except ValueError as reason:
                    omitted.add_malformed(where, reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageFiles(FileReader, Passages):
    """Read one JSON object from each file: a passage with its questions (RACE)."""

    def records(self, file, split, hides_labels, omitted):
        try:
            content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
            record = values.parse_object(decode_line(content))
        except ValueError as reason:
            omitted.add_malformed(str(file), reason)
            return
        yield str(file), 0, record


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryCsv(FileReader):
    """Read Story Cloze's csv files: each row has four sentences and two endings.

    One labeled file is split into train and validation as in the original code: by scikit-learn's
    train_test_split with the original random state. Of the 1,871 stories of 2016, 374 are for
    validation. Files of another length are split in the same proportion.

    Attributes:
        sentences: the columns whose texts are joined to the column "context".
        random_state: the random state of train_test_split.
        held_out: the number of validation rows, and the number of all rows.
    """

    sentences: tuple[str, ...] = tuple(f"InputSentence{number}" for number in range(1, 5))
    random_state: int = 3535999445
    held_out: tuple[int, int] = (374, 1871)

    def records(self, file, split, hides_labels, omitted):
        rows = list(self._read_rows(file, hides_labels, omitted))
        if split in ("train", "validation"):
            import sklearn.model_selection  # takes a second, and only this data needs it

            if len(rows) < 2:
                raise UserError(
                    f"{file}: {len(rows)} stories cannot be split into training and validation;"
                    " fetch the file again"
                )
            count, total = self.held_out
            train, validation = sklearn.model_selection.train_test_split(
                rows, test_size=len(rows) * count // total or 1, random_state=self.random_state
            )
            rows = train if split == "train" else validation
        return [row for row in rows if row is not None]

    def _read_rows(self, file, hides_labels, omitted):
        """Yield the rows. Yield None for a malformed one, to split the others as published."""
        with open(file, "rb") as stream:
            lines = numbered_lines(stream)
            columns = self._read_header(file, lines, hides_labels)
            for number, (line_number, line) in enumerate(lines):
                where = f"{file}:{line_number}"
                try:
                    record = dict(zip(columns, _split_csv(line, len(columns)), strict=True))
                except ValueError as reason:
                    omitted.add_malformed(where, reason)
                    yield None
                    continue
                record["context"] = " ".join([record[name] for name in self.sentences])
                yield where, number, record

    def _read_header(self, file, lines, hides_labels):
        number, line = next(lines, (1, b""))
        try:
            columns = _split_csv(line)
        except ValueError as reason:
            raise UserError(f"{file}:{number}: {reason}; save the file as UTF-8 csv") from None
        others = tuple(name for name in self.required(hides_labels) if name != "context")
        required = (*self.sentences, *others)
        require_columns(required, columns, f"{file}: no column {{}} in its header, ")
        refuse_duplicates(file, (*required, self.label, self.id), columns)
        return columns


def _split_csv(line: bytes, expected: int | None = None) -> list[str]:
    """Return the cells of a line. A row has one line, as published: a cell holds no newline.

    Raises:
        ValueError: the line is not UTF-8 or not csv, or has not `expected` cells.
    """
    text = decode_line(line)
    try:
        row, *following = csv.reader([text + "\n", "a following row"])
    except csv.Error as error:
        raise ValueError(f"not a row of csv ({error})") from None
    if not following:
        raise ValueError("a quotation mark is not closed in this line")
    if expected is not None and len(row) != expected:
        raise ValueError(f"{expected} comma-separated columns expected, more or fewer found")
    return row


@dataclasses.dataclass(frozen=True, kw_only=True)
class PronounBlocks(FileReader):
    """Read definite pronoun resolution.

    A row has four lines: the sentence, the pronoun, both candidates with a comma between them, and
    the correct candidate. Blank lines separate the rows.
    """

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            for number, block in enumerate(_blocks(stream)):
                where = f"{file}:{block[0][0]}"
                try:
                    lines = [decode_line(line).lstrip("\ufeff").strip() for _, line in block]
                    yield where, number, _parse_block(lines)
                except ValueError as reason:
                    omitted.add_malformed(where, reason)


def _blocks(stream):
    """Yield the (number from 1, line) pairs of each block of lines between blank lines."""

    def has_text(numbered_line):
        return bool(numbered_line[1].strip())

    for is_block, lines in itertools.groupby(enumerate(stream, 1), has_text):
        if is_block:
            yield list(lines)


def _parse_block(lines: list[str]) -> dict:
    """Return the record of one block; raise ValueError if the block is malformed."""
    if len(lines) != 4:
        raise ValueError(
            f"{len(lines)} lines found, four expected:"
            " the sentence, the pronoun, both candidates and the correct one"
        )
    sentence, pronoun, both, correct = lines
    candidates = [candidate.strip() for candidate in both.split(",")]
    if len(candidates) != 2 or correct not in candidates:
        raise ValueError(f"expected two candidates and one of them, found {both!r} and {correct!r}")
    return {
        "sentence": sentence,
        "pronoun": pronoun,
        "candidates": candidates,
        "label": str(candidates.index(correct)),
    }
