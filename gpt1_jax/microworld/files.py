"""The world's novels and tasks as files, in the folders, names and columns of the published data sets.

gpt1 microworld --directory=DIR --seed=0 --facts=0.5
"""

import csv
import dataclasses
import json
import pathlib
from typing import NamedTuple

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.microworld.novels import novels
from gpt1_jax.microworld.row_sampler import Row
from gpt1_jax.microworld.tasks import rows
from gpt1_jax.microworld.world import RELATIONS, World, draw

# Goes up with every change of what is written, so that folders of an older version are written anew.
VERSION = 4

_PAIR = "index|sentence1|sentence2"
_PARSES = "sentence1_binary_parse|sentence2_binary_parse|sentence1_parse|sentence2_parse"
_MNLI = f"index|promptID|pairID|genre|{_PARSES}|sentence1|sentence2"
_LABELS = "label1|label2|label3|label4|label5"
_STSB = "index|genre|filename|year|old_index|source1|source2|sentence1|sentence2"


class Layout(NamedTuple):
    """A task's folder, the columns and names of its tab-separated files; dev and test have train's columns unless they say otherwise."""

    folder: str
    train: str
    test: str = ""
    dev: str = ""
    file: str = "{}.tsv"
    headless: tuple[
        str, ...
    ] = ()  # the splits whose files do not begin with a line of column names

    def columns(self, split: str) -> list[str]:
        return (getattr(self, split) or self.train).split("|")


TABLES = {
    "cola": Layout(
        "CoLA", "source|label|mark|sentence", "index|sentence", headless=("train", "dev")
    ),
    "sst2": Layout("SST-2", "sentence|label", "index|sentence"),
    "mrpc": Layout(
        "MRPC", "Quality|#1 ID|#2 ID|#1 String|#2 String", "index|#1 ID|#2 ID|#1 String|#2 String"
    ),
    "stsb": Layout("STS-B", f"{_STSB}|score", _STSB),
    "qqp": Layout("QQP", "id|qid1|qid2|question1|question2|is_duplicate", "id|question1|question2"),
    "mnli": Layout("MNLI", f"{_MNLI}|label1|gold_label", _MNLI, f"{_MNLI}|{_LABELS}|gold_label"),
    "qnli": Layout("QNLI", "index|question|sentence|label", "index|question|sentence"),
    "rte": Layout("RTE", f"{_PAIR}|label", _PAIR),
    "snli": Layout(
        "snli_1.0",
        f"gold_label|{_PARSES}|sentence1|sentence2|captionID|pairID|{_LABELS}",
        file="snli_1.0_{}.txt",
    ),
    "scitail": Layout(
        "SciTailV1.1/tsv_format",
        "sentence1|sentence2|label",
        file="scitail_1.0_{}.tsv",
        headless=("train", "dev", "test"),
    ),
    "ax": Layout("", test=_PAIR, train="", file="ax.tsv"),
}
LABELS = {
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


def write(
    directory, *, seed: int = 0, words: int = 1_000_000, train: int = 1500, dev: int = 500, facts: float = 1.0,
    far: float = 0.1, **levers: int,
) -> None:  # fmt: skip
    """Write novels/, the task folders, world.json (the truth, and which facts the novels tell) and manifest.json.

    Args:
        directory: is replaced if an earlier call wrote it with other parameters, left alone if with the same.
        words: of the novels, about. train, dev: rows a task; test has as many as dev.
        facts, far: see novels. levers: see world.draw (people=16 is an easier world).

    Raises:
        UserError: a parameter is out of range, or the directory holds something else or cannot be written.
    """
    directory = pathlib.Path(directory)
    parameters = dict(seed=seed, words=words, train=train, dev=dev, facts=facts, far=far, **levers)
    manifest = json.dumps({"version": VERSION, **parameters}, indent=1) + "\n"
    _check(parameters)
    if _manifest(directory) == manifest:
        return
    if (
        directory.exists()
        and _manifest(directory) is None
        and (not directory.is_dir() or any(directory.iterdir()))
    ):
        raise UserError(
            f"{directory}: holds something else than a microworld (no manifest.json); name a new folder"
        )
    try:
        with storage.atomic_folder(directory) as beside:
            world = draw(seed, **levers)
            _write_novels(beside / "novels", novels(world, words, seed, facts, far=far))
            _write_tasks(beside, world, {"train": train, "dev": dev, "test": dev}, seed)
            told = {relation: sorted(world.told(relation, facts)) for relation in RELATIONS}
            truth = {"world": dataclasses.asdict(world), "told": told}
            (beside / "world.json").write_text(json.dumps(truth, indent=1) + "\n")
            (beside / "manifest.json").write_text(manifest)
    except OSError as error:
        raise UserError(
            f"{directory}: the microworld cannot be written there ({error.strerror or error})"
        ) from error


def _check(parameters: dict):
    for name, value in parameters.items():
        if name in ("facts", "far") and not 0 <= value <= 1:
            raise UserError(f"microworld {name}={value}: expected a fraction from 0 to 1")
        if name in ("words", "train", "dev") and value < 1:
            raise UserError(f"microworld {name}={value}: expected at least 1")


def _manifest(directory: pathlib.Path) -> str | None:
    """The text of the manifest of a microworld; None where the folder has none, or one of something else."""
    try:
        text = (directory / "manifest.json").read_text(encoding="utf-8")
        parameters = json.loads(text)
    except (OSError, ValueError):
        return None
    is_ours = (
        isinstance(parameters, dict)
        and {"version", "seed", "words", "facts", "far"} <= parameters.keys()
    )
    return text if is_ours and (directory / "world.json").is_file() else None


def _write_novels(folder: pathlib.Path, texts):
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"novel_{number:04d}.txt").write_text(text)


def _write_tasks(folder: pathlib.Path, world: World, count: dict[str, int], seed: int):
    later = {split: number for split, number in count.items() if split != "train"}
    for name in [name for name in TABLES if name not in ("mnli", "ax")]:
        for split, made in rows(world, name, count, seed).items():
            _write_table(folder, name, split, made)
    # AX has further rows of MNLI's test kind, without labels.
    for split, made in rows(world, "mnli", count | {"ax": count["test"]}, seed).items():
        if split == "ax":
            _write_table(folder, "ax", "test", made)
        else:
            _write_table(folder, "mnli", split, made, "" if split == "train" else "_matched")
    for split, made in rows(world, "mnli_mismatched", later, seed).items():
        _write_table(folder, "mnli", split, made, "_mismatched")
    for level in ("middle", "high"):
        for split, made in rows(world, f"race_{level}", count, seed).items():
            _write_race(folder / "RACE" / split / level, level, made)
    _write_story_cloze(folder / "StoryCloze", rows(world, "story_cloze", count, seed))
    pronouns = {split: number for split, number in count.items() if split != "dev"}
    _write_pronouns(folder / "definite_pronoun_resolution", rows(world, "dpr", pronouns, seed))


def _write_table(folder: pathlib.Path, name: str, split: str, made: list[Row], suffix: str = ""):
    layout = TABLES[name]
    columns = layout.columns(split)
    lines = [] if split in layout.headless else [columns]
    for index, row in enumerate(made):
        cells = _cells(name, index, row)
        lines.append([str(cells.get(column, "none")) for column in columns])
    file = folder / layout.folder / layout.file.format(f"{split}{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(line) + "\n" for line in lines))


def _cells(name: str, index: int, row: Row) -> dict:
    """A value for every column that is not "none"."""
    first, last = row.texts[0], row.texts[-1]
    label = LABELS[name][row.label] if name in LABELS else row.label
    cells = dict.fromkeys(("index", "id", "old_index", "promptID", "pairID", "captionID"), index)
    cells |= {"qid1": 2 * index, "qid2": 2 * index + 1, "#1 ID": 2 * index, "#2 ID": 2 * index + 1}
    cells |= dict.fromkeys(("sentence1", "question", "question1", "#1 String"), first)
    cells |= dict.fromkeys(("sentence", "sentence2", "question2", "#2 String"), last)
    cells |= dict.fromkeys(("label", "gold_label", "Quality", "is_duplicate", "score"), label)
    cells |= {f"label{i}": label for i in range(1, 6)}
    # CoLA marks the unacceptable with a star, as linguists do.
    return cells | {"source": "micro", "genre": "microworld", "mark": "" if row.label else "*"}


def _write_race(folder: pathlib.Path, level: str, made: list[Row]):
    """One file a passage, with one question."""
    folder.mkdir(parents=True)
    for number, row in enumerate(made):
        name = f"{number}.txt"
        passage = {
            "answers": ["ABCD"[row.label]],
            "options": [list(row.choices)],
            "questions": [row.question],
            "article": row.texts[0],
            "id": f"{level}{name}",
        }
        (folder / name).write_text(json.dumps(passage))


def _write_story_cloze(folder: pathlib.Path, made: dict[str, list[Row]]):
    header = ["InputStoryid", *(f"InputSentence{i}" for i in range(1, 5))]
    header += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    folder.mkdir()
    for split, name in STORY_CLOZE.items():
        with (folder / name).open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(header)
            for number, row in enumerate(made[split]):
                table.writerow([f"{split}-{number}", *row.texts, *row.choices, row.label + 1])


def _write_pronouns(folder: pathlib.Path, made: dict[str, list[Row]]):
    folder.mkdir()
    for split, examples in made.items():
        lines = (
            (*row.texts, row.question, ",".join(row.choices), row.choices[row.label])
            for row in examples
        )
        (folder / f"{split}.c.txt").write_text("\n\n".join(map("\n".join, lines)) + "\n")
