"""The other published formats: lines of JSON, one passage a file, stories as csv, pronouns in blocks of lines."""

import csv
import dataclasses
import io
import itertools
import json

from gpt1_jax.datasets.readers.records import Passages
from gpt1_jax.datasets.readers.tables import Layout, decoded, lines_of, require
from gpt1_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jsonl(Layout):
    """A JSON object a line (SNLI's .jsonl, SciTail's snli_format)."""

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            for row, (number, line) in enumerate(lines_of(stream)):
                where = f"{file}:{number}"
                try:
                    yield where, row, _object(decoded(line))
                except ValueError as reason:
                    omitted.malformed(where, reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassageFiles(Layout, Passages):
    """A JSON object a file: a passage with its questions (RACE)."""

    def records(self, file, split, hides_labels, omitted):
        try:
            record = _object(decoded(file.read_bytes().removeprefix(b"\xef\xbb\xbf")))
        except ValueError as reason:
            omitted.malformed(str(file), reason)
            return
        yield str(file), 0, record


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryCsv(Layout):
    """Story Cloze: csv with four sentences and two endings a row; train and validation are cut from one labelled file.

    The cut is that of the original code: scikit-learn's train_test_split with its random state, 374 of the 1,871 stories of 2016
    for validation (files of another length in the same proportion).

    Attributes:
        sentences: the columns that are joined to the context.
    """

    sentences: tuple[str, ...] = tuple(f"InputSentence{number}" for number in range(1, 5))
    random_state: int = 3535999445
    held_out: tuple[int, int] = (374, 1871)

    def records(self, file, split, hides_labels, omitted):
        rows = list(self._rows(file, hides_labels, omitted))
        if split not in ("train", "validation"):
            return filter(None, rows)
        import sklearn.model_selection  # takes a second, and only this data needs it

        part, whole = self.held_out
        size = len(rows) * part // whole or 1
        if len(rows) < 2:
            raise UserError(
                f"{file}: {len(rows)} stories cannot be split into training and validation; fetch the file again"
            )
        train, validation = sklearn.model_selection.train_test_split(
            rows, test_size=size, random_state=self.random_state
        )
        return filter(None, train if split == "train" else validation)

    def _rows(self, file, hides_labels, omitted):
        """The rows; None in the place of a malformed one, so that the cut of the others stays the published one."""
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8"
            ) from None
        table = csv.DictReader(io.StringIO(text, newline=""))
        own = tuple(name for name in self.names(hides_labels) if name != "context")
        require(
            (*self.sentences, *own),
            list(table.fieldnames or []),
            f"{file}: no column {{}} in its header, ",
        )
        for row, record in enumerate(table):
            where = f"{file}:{table.line_num}"
            if None in record or None in record.values():
                omitted.malformed(
                    where,
                    ValueError(
                        f"{len(table.fieldnames)} comma-separated columns expected, more or fewer found"
                    ),
                )
                yield None
                continue
            yield (
                where,
                row,
                {**record, "context": " ".join(record[name] for name in self.sentences)},
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PronounBlocks(Layout):
    """Definite pronoun resolution: four lines a row (sentence, pronoun, "one,other", the right one), a blank line between rows."""

    def records(self, file, split, hides_labels, omitted):
        with open(file, "rb") as stream:
            lines = ((number, line) for number, line in enumerate(stream, 1))
            blocks = (
                list(block)
                for filled, block in itertools.groupby(lines, lambda pair: bool(pair[1].strip()))
                if filled
            )
            for row, block in enumerate(blocks):
                where = f"{file}:{block[0][0]}"
                try:
                    yield (
                        where,
                        row,
                        _resolution([decoded(line).lstrip("\ufeff").strip() for _, line in block]),
                    )
                except ValueError as reason:
                    omitted.malformed(where, reason)


def _resolution(lines: list[str]) -> dict:
    if len(lines) != 4:
        raise ValueError(
            f"{len(lines)} lines found, a sentence, a pronoun, two candidates and the right one expected"
        )
    sentence, pronoun, both, right = lines
    candidates = [candidate.strip() for candidate in both.split(",")]
    if len(candidates) != 2 or right not in candidates:
        raise ValueError(f"two candidates and one of them expected, {both!r} and {right!r} found")
    return {
        "sentence": sentence,
        "pronoun": pronoun,
        "candidates": candidates,
        "label": candidates.index(right),
    }


def _object(text: str) -> dict:
    """The JSON object; ValueError when it is none."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object expected, {text[:50]!r} found")
    return value
