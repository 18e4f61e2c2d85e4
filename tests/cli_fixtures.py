"""The command line as tests use it, on data of their own making; fixtures for all rooms (see conftest.py)."""

import contextlib
import functools
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent
# Small programs compile in less than the second from which on they are cached; most runs here share theirs with another.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


class Ended(NamedTuple):
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


class Program:
    """The program, run in this process, where jax is loaded already, or as a process of its own, which takes seconds more."""

    @staticmethod
    def command(config: str, workdir: pathlib.Path, settings: Mapping[str, object]) -> list[str]:
        """The arguments of a run: a file of configs/ with its picks, the folder, and settings by dotted name."""
        flags = [f"--config.{name}={value}" for name, value in settings.items()]
        return [f"--config={REPOSITORY}/configs/{config}", f"--workdir={workdir}", *flags]

    @staticmethod
    def run(*arguments: str, text: str = "") -> Ended:
        """Run `gpt1` with these arguments in this process; `text` is its standard input."""
        from gpt1_jax import main

        values = main.FLAGS
        if arguments and arguments[0] in main.COMMANDS:
            name, _ = main.COMMANDS[arguments[0]]
            values = importlib.import_module(f"gpt1_jax.cli.{name}").FLAGS
        for name in [
            name for name in values if name.startswith("config.")
        ]:  # left by the run before
            delattr(values, name)
        values.unparse_flags()
        for name in values:
            values[name].unparse()
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["gpt1", *arguments])
            patch.setattr(sys, "path", sys.path.copy())
            patch.setattr(sys, "stdin", io.StringIO(text))
            patch.setattr(sys, "unraisablehook", sys.unraisablehook)  # restored afterwards
            with pytest.raises(SystemExit) as ended:
                main.run()
        return Ended(ended.value.code or 0, out.getvalue(), err.getvalue())

    def result(self, config: str, workdir: pathlib.Path, settings: Mapping[str, object]) -> dict:
        """Runs it here to its end, and gives its result.json."""
        ended = self.run(*self.command(config, workdir, settings))
        assert ended.code == 0, ended.err
        return json.loads((workdir / "result.json").read_text())

    @staticmethod
    def start(*arguments: str) -> subprocess.Popen:
        """Starts it as a process."""
        line = [sys.executable, "-m", "gpt1_jax.main", *arguments]
        return subprocess.Popen(
            line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture(scope="session")
def gpt1() -> Program:
    return Program()


# What a run needs to be over in seconds.
SMALL = {
    "model.width": 16,
    "model.context": 32,
    "model.layers": 2,
    "model.heads": 2,
    "model.ffn": 64,
    "model.units": 16,
    "optim.warmup_steps": 4,
    "tokenizer.vocab_size": 120,
    "steps": 20,
    "batch_size": 4,
    "eval.every": 10,
    "eval.windows": 8,
    "eval.sample": 4,
    "checkpoint.every": 10,
    "log.every": 5,
}


@pytest.fixture(scope="session")
def pretraining(books, tmp_path_factory) -> Callable[..., dict]:
    """pretraining(body): the settings of a small pretraining run on `books`."""
    common = {"data.path": books, "data.cache": tmp_path_factory.mktemp("cache")}

    def settings(body: str = "transformer") -> dict:
        lacks = (
            ("model.units",)
            if body == "transformer"
            else ("model.layers", "model.heads", "model.ffn")
        )
        return {name: value for name, value in SMALL.items() if name not in lacks} | common

    return settings


@pytest.fixture(scope="session")
def pretrained(gpt1, pretraining, tmp_path_factory) -> Callable[..., pathlib.Path]:
    """pretrained(body): the folder of a finished pretraining run, made once."""

    @functools.cache
    def run(body: str = "transformer") -> pathlib.Path:
        workdir = tmp_path_factory.mktemp("pretrained") / body
        gpt1.result(f"pretrain.py:tiny,{body}", workdir, pretraining(body))
        return workdir

    return run


@pytest.fixture(scope="session")
def finetuning(pretrained, glue) -> Callable[..., dict]:
    """finetuning(body): the settings of a small finetuning run on `glue`."""
    return lambda body="transformer": {
        "init.path": pretrained(body),
        "data.path": glue,
        "batch_size": 4,
        "epochs": 1,
        "log.every": 1,
    }


@pytest.fixture(scope="session")
def probing(pretrained, probed) -> Callable[..., dict]:
    """probing(body): the settings of a small zero-shot run on `probed`."""
    return lambda body="transformer": {
        "init.path": pretrained(body),
        "data.path": probed,
        "batch_size": 4,
    }


WORDS = (
    "the a old new king queen ship house ran saw sang to and in of over sea hill day night".split()
)


@pytest.fixture(scope="session")
def books(tmp_path_factory) -> pathlib.Path:
    """A folder of four small books."""
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
    """A folder in GLUE's layout: of every task 12 rows to train on, 6 for development, 3 without labels; texts of three words,
    which a lone quote may be."""
    root, random = tmp_path_factory.mktemp("glue"), np.random.default_rng(1)

    def table(
        header: bool, columns: list[str], rows: int, label: str, values: tuple[str, ...]
    ) -> str:
        cells = {
            name: [" ".join(random.choice([*WORDS, '"'], size=3)) for _ in range(rows)]
            for name in columns
        }
        cells |= {
            label: [values[row % len(values)] for row in range(rows)],
            "index": [str(row) for row in range(rows)],
        }
        lines = [columns] * header + [[cells[name][row] for name in columns] for row in range(rows)]
        return "".join("\t".join(line) + "\n" for line in lines)

    for folder, (texts, label, values, development) in GLUE.items():
        (root / folder).mkdir()
        bare = folder == "CoLA"  # its labelled files have no header line
        labelled = ["source", "label", "mark", "sentence"] if bare else ["index", *texts, label]
        for split, rows in {"train": 12, **dict.fromkeys(development, 6)}.items():
            (root / folder / f"{split}.tsv").write_text(
                table(not bare, labelled, rows, label, values)
            )
        for split in ("test_matched", "test_mismatched") if folder == "MNLI" else ("test",):
            (root / folder / f"{split}.tsv").write_text(
                table(True, ["index", *texts], 3, label, values)
            )
    (root / "ax.tsv").write_text(table(True, ["index", *PAIR], 3, "", ("",)))
    return root


@pytest.fixture(scope="session")
def choices(tmp_path_factory) -> pathlib.Path:
    """A folder with RACE and Story Cloze: of both 12 rows to train on, 6 for development, 3 to test."""
    root, random = tmp_path_factory.mktemp("choices"), np.random.default_rng(2)

    def sentences(count: int, words: int = 3) -> list[str]:
        return [" ".join(random.choice(WORDS, size=words)) for _ in range(count)]

    for split, passages in {"train": 6, "dev": 3}.items():
        (root / "RACE" / split / "middle").mkdir(parents=True)
        for number in range(passages):  # with two questions each
            options, answers = (
                [sentences(4), sentences(4)],
                ["ABCD"[number % 4], "ABCD"[(number + 1) % 4]],
            )
            passage = {
                "id": f"middle{number}.txt",
                "article": sentences(1, 8)[0],
                "questions": sentences(2),
                "options": options,
                "answers": answers,
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
        lines = [["InputStoryid", *header]] + [
            [f"s{number}", *sentences(6), str(1 + number % 2)] for number in range(count)
        ]
        (root / "StoryCloze" / f"cloze_test_{name}.csv").write_text(
            "".join(",".join(line) + "\n" for line in lines)
        )
    return root


@pytest.fixture(scope="session")
def probed(tmp_path_factory, glue, choices) -> pathlib.Path:
    """A folder with every task that can be probed, but for Story Cloze of 2018; six pronouns."""
    root, random = tmp_path_factory.mktemp("probed"), np.random.default_rng(3)
    for folder in (glue / "CoLA", glue / "SST-2", choices / "RACE", choices / "StoryCloze"):
        (root / folder.name).symlink_to(folder)
    blocks = []
    for number in range(6):
        first, second, *rest = random.choice(WORDS, size=5)
        sentence = f"the {first} saw a {second} and it was {' '.join(rest)}."
        blocks.append(
            f"{sentence}\nit\nthe {first},a {second}\n{('the ' + first, 'a ' + second)[number % 2]}\n"
        )
    (root / "definite_pronoun_resolution").mkdir()
    (root / "definite_pronoun_resolution/test.c.txt").write_text("\n".join(blocks))
    return root
