"""Every labelled task on one page: what its rows are, where each source keeps them, how it is scored.

One entry is all there is to say about a task; a new task is a new entry. Label names and ids are the hub's; files and columns those
of the authors' distributions; formats those of Figure 1 of the paper, which treats MRPC, STS-B and QQP as similarity; metrics those of
its section 4.2 and of the GLUE leaderboard.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from gpt1_jax.datasets.readers.records import PassageTableFormat, TableFormat
from gpt1_jax.datasets.readers.tables import FileReader, HeldOutTsv, Tsv
from gpt1_jax.datasets.readers.texts import Jsonl, PassageFiles, PronounBlocks, StoryCsv
from gpt1_jax.registry import TASKS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One labelled task.

    Attributes:
        name: its name in configs, results and tables.
        format: how an example becomes token streams (text/formats.py); "substitution" is for probes alone: the candidates take the
            pronoun's place.
        labels: the class names in id order; for choice, the names of the answers; () for a graded task.
        contexts: of a choice, the texts before the answers, which are joined without a delimiter.
        bins: a graded task's scores run from 0 to bins - 1 and are learnt as soft labels over the whole scores.
        metrics: names in analysis/stats/metrics.py: the paper's first, then the others that GLUE reports.
        files: the layouts in which the task's files are distributed; the first one that holds a split is read.
        hub, tfds: where the Hugging Face hub and TFDS keep it; None where they do not, or not so that its splits can be had.
        train: whether it has a training split; without one it is only predicted, or probed.
        validation: the development splits; the first one chooses the best checkpoint.
        test: the test splits.
        hidden: those of them whose labels the authors keep to themselves (some copies of MRPC have them all the same).
        diagnostics: tasks without a training split whose test split a model of this task predicts, too.
        sizes: rows with a label, or to predict, of each split as published; other numbers are other data, and so are their scores.
        submission: test split -> the name of its file in what the GLUE server takes.
    """

    name: str
    format: Literal["single", "pair", "similarity", "choice", "substitution"]
    labels: tuple[str, ...] = ()
    contexts: int = 1
    bins: int = 0
    metrics: tuple[str, ...]
    files: tuple[FileReader, ...]
    hub: TableFormat | None = None
    tfds: TableFormat | None = None
    train: bool = True
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    hidden: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    submission: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def trainable(self) -> bool:
        """Whether it can be finetuned on: it has a split to train on and one to choose a checkpoint by."""
        return self.train and bool(self.validation)

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split's name: train, the development splits, the test splits."""
        return (*("train",) * self.train, *self.validation, *self.test)

    @property
    def outputs(self) -> int:
        """K, the number of class scores of one example: classes, answers or bins."""
        return self.bins or len(self.labels)

    @property
    def texts(self) -> int:
        """The number of texts of one example."""
        if self.format == "choice":
            return self.contexts + len(self.labels)
        return {"single": 1, "pair": 2, "similarity": 2, "substitution": 4}[self.format]


_DIGITS = ("0", "1")
_LETTERS = ("A", "B", "C", "D")
_ENTAILED = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_SENTENCES = ("sentence1", "sentence2")
_STATEMENTS = ("premise", "hypothesis")
_QUESTIONS = ("question1", "question2")


def _glue(
    config: str, segments: tuple[str, ...], hidden: tuple[str, ...] = ("test",), **splits: str
) -> dict:
    """The task on the hub and in TFDS, which copied columns, labels and splits from one another; the server keeps the test labels."""
    place = {"configs": (config,), "segments": segments, "splits": splits}
    return {
        "hub": TableFormat(name="nyu-mll/glue", **place),
        "tfds": TableFormat(name="glue", **place),
        "hidden": hidden,
    }


def _sizes(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


_SINGLES = (
    Task(
        name="cola",
        format="single",
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        files=(
            Tsv(
                folder="CoLA",
                segments=("sentence",),
                label_names=_DIGITS,
                headerless=("source", "label", "mark", "sentence"),
            ),
        ),
        **_glue("cola", ("sentence",)),
        sizes=_sizes(8551, 1043, 1063),
        submission={"test": "CoLA"},
    ),
    Task(
        name="sst2",
        format="single",
        labels=("negative", "positive"),
        metrics=("accuracy",),
        files=(Tsv(folder="SST-2", segments=("sentence",), label_names=_DIGITS),),
        **_glue("sst2", ("sentence",)),
        sizes=_sizes(67349, 872, 1821),
        submission={"test": "SST-2"},
    ),
)

_STRINGS = {"folder": "MRPC", "segments": ("#1 String", "#2 String"), "label_names": _DIGITS}
_MSR = {
    "train": "msr_paraphrase_train.txt",
    "validation": "msr_paraphrase_train.txt",
    "test": "msr_paraphrase_test.txt",
}
_BARE = {"train": "train", "validation": "train", "test": "test"}

_SIMILARITIES = (
    Task(
        name="mrpc",
        format="similarity",
        labels=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        files=(
            Tsv(**_STRINGS, label="Quality"),
            HeldOutTsv(
                **_STRINGS,
                label="Quality",
                splits=_MSR,
                held_out="dev_ids.tsv",
                key=("#1 ID", "#2 ID"),
            ),
            # As some mirrors carry it: no suffixes, and a byte order mark that was spelt out.
            HeldOutTsv(
                **_STRINGS,
                label="BOMQuality",
                splits=_BARE,
                held_out="dev_ids",
                key=("#1 ID", "#2 ID"),
            ),
        ),
        **_glue("mrpc", _SENTENCES),
        sizes=_sizes(3668, 408, 1725),
        submission={"test": "MRPC"},
    ),
    Task(
        name="stsb",
        format="similarity",
        bins=6,
        metrics=("pearson", "spearman"),
        files=(Tsv(folder="STS-B", segments=_SENTENCES, label="score"),),
        **_glue("stsb", _SENTENCES),
        sizes=_sizes(5749, 1500, 1379),
        submission={"test": "STS-B"},
    ),
    Task(
        name="qqp",
        format="similarity",
        labels=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        files=(
            Tsv(
                folder="QQP",
                segments=_QUESTIONS,
                label="is_duplicate",
                label_names=_DIGITS,
                id="id",
            ),
        ),
        **_glue("qqp", _QUESTIONS),
        sizes=_sizes(363846, 40430, 390965),
        submission={"test": "QQP"},
    ),
)

_MNLI = {
    "train": "train.tsv",
    "validation": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
    "test": "test_matched.tsv",
    "test_mismatched": "test_mismatched.tsv",
}
_SNLI = {
    "folder": "snli_1.0",
    "segments": _SENTENCES,
    "label": "gold_label",
    "no_label": "-",
    "id": "pairID",
}


def _named(pattern: str) -> dict[str, str]:
    return {
        split: pattern.format(name)
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }


_PAIRS = (
    Task(
        name="mnli",
        format="pair",
        labels=_NLI,
        metrics=("accuracy",),
        files=(Tsv(folder="MNLI", segments=_SENTENCES, label="gold_label", splits=_MNLI),),
        **_glue(
            "mnli",
            _STATEMENTS,
            ("test", "test_mismatched"),
            validation="validation_matched",
            test="test_matched",
        ),
        validation=("validation", "validation_mismatched"),
        test=("test", "test_mismatched"),
        diagnostics=("ax",),
        sizes=_sizes(392702, 9815, 9796) | {"validation_mismatched": 9832, "test_mismatched": 9847},
        submission={"test": "MNLI-m", "test_mismatched": "MNLI-mm"},
    ),
    Task(
        name="ax",  # GLUE's diagnostic: only predicted, by a model of MNLI.
        format="pair",
        labels=_NLI,
        metrics=("matthews",),
        files=tuple(
            Tsv(folder=folder, segments=_SENTENCES, splits={"test": name})
            for folder, name in (
                (".", "ax.tsv"),
                ("AX", "AX.tsv"),
                ("AX", "test.tsv"),
                ("diagnostic", "diagnostic.tsv"),
            )
        ),
        **_glue("ax", _STATEMENTS),
        train=False,
        validation=(),
        sizes={"test": 1104},
        submission={"test": "AX"},
    ),
    Task(
        name="qnli",  # Version 2; the paper's 88.1 is of version 1, which had 108,436 pairs to train on.
        format="pair",
        labels=_ENTAILED,
        metrics=("accuracy",),
        files=(Tsv(folder="QNLI", segments=("question", "sentence")),),
        **_glue("qnli", ("question", "sentence")),
        sizes=_sizes(104743, 5463, 5463),
        submission={"test": "QNLI"},
    ),
    Task(
        name="rte",
        format="pair",
        labels=_ENTAILED,
        metrics=("accuracy",),
        files=(Tsv(folder="RTE", segments=_SENTENCES),),
        **_glue("rte", _SENTENCES),
        sizes=_sizes(2490, 277, 3000),
        submission={"test": "RTE"},
    ),
    Task(
        name="wnli",
        format="pair",
        labels=_ENTAILED[::-1],  # The other way round than RTE.
        metrics=("accuracy",),
        files=(Tsv(folder="WNLI", segments=_SENTENCES, label_names=_DIGITS),),
        **_glue("wnli", _SENTENCES),
        sizes=_sizes(635, 71, 146),
        submission={"test": "WNLI"},
    ),
    Task(
        name="snli",
        format="pair",
        labels=_NLI,
        metrics=("accuracy",),
        files=(
            Tsv(**_SNLI, optional=4, splits=_named("snli_1.0_{}.txt")),
            Jsonl(**_SNLI, splits=_named("snli_1.0_{}.jsonl")),
        ),
        hub=TableFormat(
            name="stanfordnlp/snli", configs=("plain_text",), segments=_STATEMENTS, no_label=-1
        ),
        tfds=TableFormat(name="snli", segments=_STATEMENTS, no_label=-1),
        sizes=_sizes(549367, 9842, 9824),
    ),
    Task(
        name="scitail",
        format="pair",
        labels=("entails", "neutral"),
        metrics=("accuracy",),
        files=(
            Tsv(
                folder="SciTailV1.1/tsv_format",
                segments=_STATEMENTS,
                headerless=(*_STATEMENTS, "label"),
                splits=_named("scitail_1.0_{}.tsv"),
            ),
            Jsonl(
                folder="SciTailV1.1/snli_format",
                segments=_SENTENCES,
                label="gold_label",
                label_names=("entailment", "neutral"),
                splits=_named("scitail_1.0_{}.txt"),
            ),
        ),
        hub=TableFormat(name="allenai/scitail", configs=("tsv_format",), segments=_STATEMENTS),
        tfds=TableFormat(name="sci_tail", segments=_STATEMENTS),
        sizes=_sizes(23097, 1304, 2126),
    ),
)

_QUESTION = ("article", "question", "options")


def _race(name: str, hub: str, level: str, levels: tuple[str, ...], sizes: dict[str, int]) -> Task:
    lists = {"question": "questions", "options": "options", "answer": "answers"}
    return Task(
        name=name,
        format="choice",
        labels=_LETTERS,
        contexts=2,
        metrics=("accuracy",),
        files=(
            PassageFiles(
                folder="RACE",
                segments=_QUESTION,
                label="answer",
                id="id",
                list_columns=lists,
                splits=_named(f"{{}}/{level}/*.txt"),
            ),
        ),
        hub=TableFormat(name="ehovy/race", configs=(hub,), segments=_QUESTION, label="answer"),
        tfds=PassageTableFormat(
            name="race",
            configs=levels,
            segments=_QUESTION,
            label="answer",
            id="example_id",
            list_columns=lists,
            splits={"validation": "dev"},
        ),
        sizes=sizes,
    )


def _story_cloze(
    year: int, labelled: str, test: str, hidden: tuple[str, ...], sizes: dict[str, int]
) -> Task:
    return Task(
        name=f"story_cloze_{year}",
        format="choice",
        labels=("1", "2"),
        metrics=("accuracy",),
        hidden=hidden,
        # The hub has only a script, and TFDS loses the order of the rows, on which the published split hangs.
        files=(
            StoryCsv(
                folder="StoryCloze",
                segments=("context", "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"),
                label="AnswerRightEnding",
                id="InputStoryid",
                splits={"train": labelled, "validation": labelled, "test": test},
            ),
        ),
        sizes=sizes,
    )


_CHOICES = (
    _race("race", "all", "*", ("high", "middle"), _sizes(87866, 4887, 4934)),
    _race("race_middle", "middle", "middle", ("middle",), _sizes(25421, 1436, 1436)),
    _race("race_high", "high", "high", ("high",), _sizes(62445, 3451, 3498)),
    _story_cloze(
        2016,
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
        "cloze_test_test__spring2016 - cloze_test_ALL_test.csv",
        (),
        _sizes(1497, 374, 1871),
    ),
    _story_cloze(
        2018,
        "cloze_test_val__winter2018-cloze_test_ALL_val - 1 - 1.csv",
        "cloze_test_test__winter2018-cloze_test_ALL_test - 1.csv",
        ("test",),
        _sizes(1257, 314, 1571),
    ),
    Task(
        name="dprd",  # For a zero-shot probe, as in the paper: there is no split to choose a checkpoint by.
        format="substitution",
        labels=("first", "second"),
        metrics=("accuracy",),
        files=(
            PronounBlocks(
                folder="definite_pronoun_resolution",
                segments=("sentence", "pronoun", "candidates"),
                splits={"train": "train.c.txt", "test": "test.c.txt"},
            ),
        ),
        hub=TableFormat(
            name="community-datasets/definite_pronoun_resolution",
            configs=("plain_text",),
            segments=("sentence", "pronoun", "candidates"),
            label_names=_DIGITS,
        ),
        tfds=TableFormat(
            name="definite_pronoun_resolution",
            segments=("sentence", "pronoun", "candidates"),
            label_names=_DIGITS,
        ),
        validation=(),
        sizes={"train": 1322, "test": 564},
    ),
)

for task in (*_SINGLES, *_SIMILARITIES, *_PAIRS, *_CHOICES):
    TASKS.register(task.name)(task)
