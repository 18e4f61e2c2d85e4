"""Provide small data sets, made of random words, as fixtures for all tests (see conftest.py)."""

import json
import pathlib

import numpy as np
import pytest

WORDS = (
    "the a old new king queen ship house ran saw sang to and in of over sea hill day night".split()
)


@pytest.fixture(scope="session")
def books(tmp_path_factory) -> pathlib.Path:
    """Return a folder of four small books."""
    folder, random = tmp_path_factory.mktemp("books"), np.random.default_rng(0)
    for number in range(4):
        lines = (
            " ".join(random.choice(WORDS, size=random.integers(4, 10))) + "." for _ in range(60)
        )
        (folder / f"book_{number}.txt").write_text("\n".join(lines) + "\n")
    return folder


DIGITS, PAIR, ENTAILED = ("0", "1"), ("sentence1", "sentence2"), ("entailment", "not_entailment")
# Folder -> columns with text, column with the label, its values, development files.
GLUE = {
    "CoLA": (("sentence",), "label", DIGITS, ("dev",)),
    "SST-2": (("sentence",), "label", DIGITS, ("dev",)),
    "MRPC": (("#1 String", "#2 String"), "Quality", DIGITS, ("dev",)),
    "STS-B": (PAIR, "score", ("0", "1.5", "3.25", "5"), ("dev",)),
    "QQP": (("question1", "question2"), "is_duplicate", DIGITS, ("dev",)),
    "MNLI": (
        PAIR,
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        ("dev_matched", "dev_mismatched"),
    ),
    "QNLI": (("question", "sentence"), "label", ENTAILED, ("dev",)),
    "RTE": (PAIR, "label", ENTAILED, ("dev",)),
    "WNLI": (PAIR, "label", DIGITS, ("dev",)),
}


@pytest.fixture(scope="session")
def glue(tmp_path_factory) -> pathlib.Path:
    """Return a folder in GLUE's format.

    Every task has 12 training rows, 6 development rows and 3 test rows without labels. Each text
    has three words; a word may be a lone quotation mark.
    """
    root, random = tmp_path_factory.mktemp("glue"), np.random.default_rng(1)

    def write_tsv(path, columns, rows, label="", values=("",), header=True):
        cells = {
            name: [" ".join(random.choice([*WORDS, '"'], size=3)) for _ in range(rows)]
            for name in columns
        }
        cells[label] = [values[row % len(values)] for row in range(rows)]
        cells["index"] = [str(row) for row in range(rows)]
        lines = [[cells[name][row] for name in columns] for row in range(rows)]
        if header:
            lines.insert(0, columns)
        path.write_text("".join("\t".join(line) + "\n" for line in lines))

    for folder, (texts, label, values, development) in GLUE.items():
        (root / folder).mkdir()
        header = folder != "CoLA"  # the labeled files of CoLA have no header line
        columns = ["index", *texts, label] if header else ["source", "label", "mark", "sentence"]
        for split, rows in {"train": 12, **dict.fromkeys(development, 6)}.items():
            write_tsv(root / folder / f"{split}.tsv", columns, rows, label, values, header)
        for split in ("test_matched", "test_mismatched") if folder == "MNLI" else ("test",):
            write_tsv(root / folder / f"{split}.tsv", ["index", *texts], 3)
    write_tsv(root / "ax.tsv", ["index", *PAIR], 3)
    return root


@pytest.fixture(scope="session")
def choices(tmp_path_factory) -> pathlib.Path:
    """Return a folder with RACE and Story Cloze.

    RACE has 12 training rows and 6 development rows. Story Cloze has 18 rows to train and hold out,
    and 3 test rows.
    """
    root, random = tmp_path_factory.mktemp("choices"), np.random.default_rng(2)

    def sentences(count: int, words: int = 3) -> list[str]:
        return [" ".join(random.choice(WORDS, size=words)) for _ in range(count)]

    for split, passages in {"train": 6, "dev": 3}.items():
        (root / "RACE" / split / "middle").mkdir(parents=True)
        for number in range(passages):  # with two questions each
            options = [sentences(4), sentences(4)]
            passage = {
                "id": f"middle{number}.txt",
                "article": sentences(1, 8)[0],
                "questions": sentences(2),
                "options": options,
                "answers": ["ABCD"[number % 4], "ABCD"[(number + 1) % 4]],
            }
            (root / "RACE" / split / "middle" / f"{number}.txt").write_text(json.dumps(passage))
    header = [
        *(f"InputSentence{number}" for number in range(1, 5)),
        "RandomFifthSentenceQuiz1",
        "RandomFifthSentenceQuiz2",
        "AnswerRightEnding",
    ]
    (root / "StoryCloze").mkdir()
    # Of 18 stories 3 are held out, the share of the published split; the others train.
    for name, count in {
        "val__spring2016 - cloze_test_ALL_val": 18,
        "test__spring2016 - cloze_test_ALL_test": 3,
    }.items():
        lines = [["InputStoryid", *header]]
        for number in range(count):
            lines.append([f"s{number}", *sentences(6), str(1 + number % 2)])
        (root / "StoryCloze" / f"cloze_test_{name}.csv").write_text(
            "".join(",".join(line) + "\n" for line in lines)
        )
    return root


@pytest.fixture(scope="session")
def probed(tmp_path_factory, glue, choices) -> pathlib.Path:
    """Return a folder with every probed task except Story Cloze of 2018; it has six pronouns."""
    root, random = tmp_path_factory.mktemp("probed"), np.random.default_rng(3)
    for folder in (glue / "CoLA", glue / "SST-2", choices / "RACE", choices / "StoryCloze"):
        (root / folder.name).symlink_to(folder)
    blocks = []
    for number in range(6):
        first, second, *rest = random.choice(WORDS, size=5)
        sentence = f"the {first} saw a {second} and it was {' '.join(rest)}."
        answer = ("the " + first, "a " + second)[number % 2]
        blocks.append(f"{sentence}\nit\nthe {first},a {second}\n{answer}\n")
    (root / "definite_pronoun_resolution").mkdir()
    (root / "definite_pronoun_resolution/test.c.txt").write_text("\n".join(blocks))
    return root
