"""Write the rows of the tasks in the folders, names and columns of the published data sets.

The test files of GLUE have the column of the labels in addition, which GLUE keeps secret.
"""

import csv
import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from gpt1_jax.microworld.row_sampler import TaskRow
from gpt1_jax.microworld.tasks import make_rows
from gpt1_jax.microworld.world import World

_PAIR = "index|sentence1|sentence2"
_PARSES = "sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|sentence2_parse"
_MNLI = f"index|promptID|pairID|genre|{_PARSES}|sentence1|sentence2"
_LABELS = "label1|label2|label3|label4|label5"
_MRPC = "#1 ID|#2 ID|#1 String|#2 String"
_STSB = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"


class FileFormat(NamedTuple):
    """Describe the tab-separated files of a task.

    Attributes:
        folder: the folder of the task.
        train: the columns of train, separated by "|".
        test: the columns of test if they differ from those of train.
        dev: the columns of dev if they differ from those of train.
        file: the file name; {} is the split.
        no_header: the splits whose files do not begin with a line of column names.
    """

    folder: str
    train: str
    test: str = ""
    dev: str = ""
    file: str = "{}.tsv"
    no_header: tuple[str, ...] = ()

    def columns(self, split: str) -> list[str]:
        """Return the column names of a split."""
        return (getattr(self, split) or self.train).split("|")


FORMATS = {
    "cola": FileFormat(
        "CoLA", "source|label|mark|sentence", "index|sentence|label", no_header=("train", "dev")
    ),
    "sst2": FileFormat("SST-2", "sentence|label", "index|sentence|label"),
    "mrpc": FileFormat("MRPC", f"Quality|{_MRPC}", f"index|{_MRPC}|Quality"),
    "stsb": FileFormat("STS-B", f"{_STSB}|score"),
    "qqp": FileFormat(
        "QQP",
        "id|qid1|qid2|question1|question2|is_duplicate",
        "id|question1|question2|is_duplicate",
    ),
    "mnli": FileFormat(
        "MNLI",
        f"{_MNLI}|label1|gold_label",
        f"{_MNLI}|gold_label",
        f"{_MNLI}|{_LABELS}|gold_label",
    ),
    "qnli": FileFormat("QNLI", "index|question|sentence|label"),
    "rte": FileFormat("RTE", f"{_PAIR}|label"),
    "snli": FileFormat(
        "snli_1.0",
        f"gold_label|{_PARSES}|sentence1|sentence2|captionID|pairID|{_LABELS}",
        file="snli_1.0_{}.txt",
    ),
    "scitail": FileFormat(
        "SciTailV1.1/tsv_format",
        "sentence1|sentence2|label",
        file="scitail_1.0_{}.tsv",
        no_header=("train", "dev", "test"),
    ),
    "ax": FileFormat("", test=f"{_PAIR}|label", train="", file="ax.tsv"),
}
LABELS = {
    "ax": ("entailment", "neutral", "contradiction"),
    "mnli": ("entailment", "neutral", "contradiction"),
    "snli": ("entailment", "neutral", "contradiction"),
    "scitail": ("entails", "neutral"),
    "rte": ("entailment", "not_entailment"),
    "qnli": ("entailment", "not_entailment"),
}
STORY_CLOZE = {
    "train": "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
    "dev": "cloze_test_val__winter2018-cloze_test_ALL_val - 1 - 1.csv",
    "test": "cloze_test_test__spring2016 - cloze_test_ALL_test.csv",
}


def write_tasks(folder: pathlib.Path, world: World, counts: Mapping[str, int], seed: int) -> None:
    """Write the rows of all tasks below `folder`.

    Args:
        folder: an existing folder.
        world: the world that the rows are about.
        counts: split (train, dev, test) -> number of rows of each task.
        seed: the seed of the rows.
    """
    for name in FORMATS:
        if name not in ("mnli", "ax"):
            for split, rows in make_rows(world, name, counts, seed).items():
                _write_table(folder, name, split, rows)
    _write_mnli(folder, world, counts, seed)
    for level in ("middle", "high"):
        for split, rows in make_rows(world, f"race_{level}", counts, seed).items():
            _write_race(folder / "RACE" / split / level, level, rows)
    _write_story_cloze(folder / "StoryCloze", make_rows(world, "story_cloze", counts, seed))
    pronouns = make_rows(world, "dpr", _without(counts, "dev"), seed)
    _write_pronouns(folder / "definite_pronoun_resolution", pronouns)


def _without(counts: Mapping[str, int], excluded: str) -> dict[str, int]:
    return {split: count for split, count in counts.items() if split != excluded}


def _write_mnli(folder: pathlib.Path, world: World, counts: Mapping[str, int], seed: int) -> None:
    """Write MNLI, matched and mismatched, and AX: rows like MNLI's test rows."""
    matched = make_rows(world, "mnli", {**counts, "ax": counts["test"]}, seed)
    _write_table(folder, "ax", "test", matched.pop("ax"))
    for split, rows in matched.items():
        _write_table(folder, "mnli", split, rows, "" if split == "train" else "_matched")
    mismatched = make_rows(world, "mnli_mismatched", _without(counts, "train"), seed)
    for split, rows in mismatched.items():
        _write_table(folder, "mnli", split, rows, "_mismatched")


def _write_table(
    folder: pathlib.Path, name: str, split: str, rows: list[TaskRow], suffix: str = ""
) -> None:
    file_format = FORMATS[name]
    columns = file_format.columns(split)
    lines = [] if split in file_format.no_header else [columns]
    for index, row in enumerate(rows):
        cells = _cells(name, index, row)
        lines.append([str(cells.get(column, "none")) for column in columns])
    file = folder / file_format.folder / file_format.file.format(f"{split}{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(line) + "\n" for line in lines))


def _cells(name: str, index: int, row: TaskRow) -> dict[str, str | int | float]:
    """Return column -> value for every column whose value is not "none"."""
    label = LABELS[name][row.label] if name in LABELS else row.label
    # CoLA marks unacceptable sentences with a star, as linguists do.
    cells: dict[str, str | int | float] = {
        "source": "micro",
        "genre": "microworld",
        "mark": "" if row.label else "*",
    }
    for value, columns in (
        (index, "index|id|old_index|promptID|pairID|captionID"),
        (2 * index, "qid1|#1 ID"),
        (2 * index + 1, "qid2|#2 ID"),
        (row.texts[0], "sentence1|question|question1|#1 String"),
        (row.texts[-1], "sentence|sentence2|question2|#2 String"),
        (label, f"label|gold_label|Quality|is_duplicate|score|{_LABELS}"),
    ):
        cells.update(dict.fromkeys(columns.split("|"), value))
    return cells


def _write_race(folder: pathlib.Path, level: str, rows: list[TaskRow]) -> None:
    """Write one file for each passage, with one question."""
    folder.mkdir(parents=True)
    for number, row in enumerate(rows):
        name = f"{number}.txt"
        passage = {
            "answers": ["ABCD"[int(row.label)]],
            "options": [list(row.choices)],
            "questions": [row.question],
            "article": row.texts[0],
            "id": f"{level}{name}",
        }
        (folder / name).write_text(json.dumps(passage))


def _write_story_cloze(folder: pathlib.Path, rows: Mapping[str, list[TaskRow]]) -> None:
    header = ["InputStoryid", *(f"InputSentence{i}" for i in range(1, 5))]
    header += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    folder.mkdir()
    for split, name in STORY_CLOZE.items():
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for number, row in enumerate(rows[split]):
                writer.writerow([f"{split}-{number}", *row.texts, *row.choices, row.label + 1])


def _write_pronouns(folder: pathlib.Path, rows: Mapping[str, list[TaskRow]]) -> None:
    folder.mkdir()
    for split, split_rows in rows.items():
        blocks = []
        for row in split_rows:
            candidates = ",".join(row.choices)
            blocks.append(
                "\n".join([*row.texts, row.question, candidates, row.choices[int(row.label)]])
            )
        (folder / f"{split}.c.txt").write_text("\n\n".join(blocks) + "\n")
