"""Every labelled task on one page: what its rows are, where its files keep them, how it is scored.

One entry is all there is to say about a task; a new task is a new entry. Label names and ids are those of the hub's
`nyu-mll/glue`; files and columns those of the GLUE distribution (Wang et al. 2018); formats those of Figure 1 of the
paper, which treats MRPC, STS-B and QQP as similarity; metrics those of its section 4.2 and of the GLUE leaderboard.
"""

import dataclasses
from typing import Literal

from gpt1_jax.datasets.layouts import HeldOutTsv, Tsv
from gpt1_jax.registry import TASKS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One labelled task.

    Attributes:
        name: its name in configs, results and tables.
        format: how an example becomes token streams (text/formats.py).
        labels: the class names in id order; for choice, the names of the answers; () for a graded task.
        bins: a graded task's scores run from 0 to bins - 1 and are learnt as soft labels over the whole scores.
        metrics: names in analysis/metrics.py: the paper's first, then the others that GLUE reports.
        files: the layouts in which the task's files are distributed; the first one that holds a split is read.
        validation: the development splits; the first one chooses the best checkpoint.
        test: the test splits, which may hide their labels.
    """

    name: str
    format: Literal["single", "pair", "similarity", "choice"]
    labels: tuple[str, ...] = ()
    bins: int = 0
    metrics: tuple[str, ...]
    files: tuple[Tsv, ...]
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split's name: train, the development splits, the test splits."""
        return ("train", *self.validation, *self.test)

    @property
    def outputs(self) -> int:
        """K, the number of class scores of one example: classes, answers or bins."""
        return self.bins or len(self.labels)

    @property
    def loss(self) -> Literal["classes", "soft_bins"]:
        """The kind of task loss: cross-entropy with the class id, or with the score spread over the bins."""
        return "soft_bins" if self.bins else "classes"


_DIGITS = ("0", "1")
_NLI = ("entailment", "neutral", "contradiction")
_SENTENCES = ("sentence1", "sentence2")
_STRINGS = ("#1 String", "#2 String")
_MSR = {
    "train": "msr_paraphrase_train.txt",
    "validation": "msr_paraphrase_train.txt",
    "test": "msr_paraphrase_test.txt",
}
_MNLI = {
    "train": "train.tsv",
    "validation": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
    "test": "test_matched.tsv",
    "test_mismatched": "test_mismatched.tsv",
}

_PAGE = (
    Task(
        name="cola",
        format="single",
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        files=(Tsv("CoLA", ("sentence",), written=_DIGITS, headerless=("source", "label", "mark", "sentence")),),
    ),
    Task(
        name="sst2",
        format="single",
        labels=("negative", "positive"),
        metrics=("accuracy",),
        files=(Tsv("SST-2", ("sentence",), written=_DIGITS),),
    ),
    Task(
        name="mrpc",
        format="similarity",
        labels=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        files=(
            Tsv("MRPC", _STRINGS, label="Quality", written=_DIGITS),
            HeldOutTsv(
                "MRPC",
                _STRINGS,
                label="Quality",
                written=_DIGITS,
                splits=_MSR,
                held_out="dev_ids.tsv",
                key=("#1 ID", "#2 ID"),
            ),
        ),
    ),
    Task(
        name="stsb",
        format="similarity",
        bins=6,
        metrics=("pearson", "spearman"),
        files=(Tsv("STS-B", _SENTENCES, label="score"),),
    ),
    Task(
        name="qqp",
        format="similarity",
        labels=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        files=(Tsv("QQP", ("question1", "question2"), label="is_duplicate", written=_DIGITS, id="id"),),
    ),
    Task(
        name="mnli",
        format="pair",
        labels=_NLI,
        metrics=("accuracy",),
        files=(Tsv("MNLI", _SENTENCES, label="gold_label", splits=_MNLI),),
        validation=("validation", "validation_mismatched"),
        test=("test", "test_mismatched"),
    ),
    Task(
        name="qnli",
        format="pair",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        files=(Tsv("QNLI", ("question", "sentence")),),
    ),
    Task(
        name="rte",
        format="pair",
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
        files=(Tsv("RTE", _SENTENCES),),
    ),
    Task(
        name="wnli",
        format="pair",
        labels=("not_entailment", "entailment"),  # The other way round than RTE.
        metrics=("accuracy",),
        files=(Tsv("WNLI", _SENTENCES, written=_DIGITS),),
    ),
)

for task in _PAGE:
    TASKS.register(task.name)(task)
