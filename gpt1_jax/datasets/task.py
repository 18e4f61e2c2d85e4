"""Define what the project knows about one labeled task."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from gpt1_jax.datasets.readers.records import TableFormat
from gpt1_jax.datasets.readers.tables import FileReader


class WordCount(NamedTuple):
    """Count the words of a typical example.

    Attributes:
        context: words before the answers; words of all texts if the format is not "choice".
        answer: words of one answer of a choice.
    """

    context: float
    answer: float = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """Describe how a language model answers a task without finetuning (section 5 of the paper).

    Attributes:
        texts: function of text/probes.py that turns the texts of an example into pairs, one for
            each choice: the text that is given, and the text that is scored.
        options: further arguments of `texts`.
        ceiling: the score that counts as 1 in relative performance. The paper takes the best single
            model of its time and prints no numbers for its curves.
        ceiling_note: what is wrong with this ceiling; "" for the score of a single model in a
            source.
        curve: name of the probe's curve in Figure 2 (right); "" if the figure has none.
        total: score a choice by the sum of the log-probabilities of its tokens, not by their mean.
        threshold: for probes with one score per example, the split whose labels choose the
            threshold above which the second class is predicted; "" for other probes. The paper does
            not say how it chose the threshold. This project takes the threshold with the best
            Matthews correlation.
    """

    texts: Callable[..., list[tuple[str, str]]]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    ceiling: float
    ceiling_note: str = ""
    curve: str = ""
    total: bool = False
    threshold: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Describe one labeled task.

    Attributes:
        name: name in configs, results and tables.
        format: how an example becomes token streams (text/formats.py). "substitution" serves probes
            only: the candidates replace the pronoun.
        labels: class names in id order; names of the answers for "choice"; () for a graded task.
        contexts: number of texts before the answers of a choice. They are joined without a
            delimiter.
        bins: number of bins of a graded task. Its scores run from 0 to bins - 1 and are learned as
            soft labels over the whole numbers.
        metrics: names in analysis/stats/metrics.py: first the paper's metric, then the others that
            GLUE reports.
        files: formats in which the task's files are distributed. The first one that holds a split
            is read.
        hub: where the Hugging Face hub keeps the task; None if it has no complete copy.
        tfds: where TFDS keeps the task; None if it has no complete copy.
        train: whether the task has a training split. A task without one is predicted or probed.
        validation: the development splits. The first one chooses the best checkpoint.
        test: the test splits.
        hidden: test splits whose labels the authors do not publish. Some copies of MRPC have them.
        diagnostics: tasks without a training split whose test split a model of this task predicts.
        sizes: published number of rows of each split, with a label or to predict. If a copy of the
            data has other numbers, its scores do not compare with published ones.
        submission: test split -> name of its file in a submission to the GLUE server.
        typical_words: estimated length of an example, for cost estimates without the data.
        probe: the zero-shot probe; None for a task that is not probed.
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
    typical_words: WordCount = WordCount(30)
    probe: Probe | None = None

    @property
    def trainable(self) -> bool:
        """Return whether the task has a split to train on and one to choose a checkpoint by."""
        return self.train and bool(self.validation)

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of all splits: train, the development splits, the test splits."""
        train = ("train",) if self.train else ()
        return (*train, *self.validation, *self.test)

    @property
    def probe_splits(self) -> tuple[str, ...]:
        """Return the splits that the probe reads: the threshold's, if any, then the scored one.

        The scored split has public labels in every task with a probe.
        """
        assert self.probe
        scored = (*self.validation, *self.test)[0]
        return (self.probe.threshold, scored) if self.probe.threshold else (scored,)

    @property
    def chance(self) -> float:
        """Return the score of guessing: 1/K for accuracy, 0 for correlations."""
        return 1 / len(self.labels) if self.metrics[0] == "accuracy" else 0.0

    @property
    def outputs(self) -> int:
        """Return K, the number of class scores of one example: classes, answers or bins."""
        return self.bins or len(self.labels)

    @property
    def texts(self) -> int:
        """Return the number of texts of one example."""
        if self.format == "choice":
            return self.contexts + len(self.labels)
        return {"single": 1, "pair": 2, "similarity": 2, "substitution": 4}[self.format]
