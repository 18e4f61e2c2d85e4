"""A run's predictions as a table, one row an example."""

import pathlib
from collections.abc import Sequence

import numpy as np

from gpt1_jax import storage


def write(path: pathlib.Path, examples: Sequence, answers: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> None:
    """Writes tab-separated rows of index, prediction, label and the probability of every class, in the data's order.

    Args:
        path: of the file; its folder is made.
        examples: with `id` and `label` (None where it is hidden: an empty field).
        answers: [N], class ids, or scores of a graded task.
        probabilities: [N, K].
        labels: the class names in id order; empty for a graded task, whose classes are the whole scores.
    """
    prediction, *classes = header(labels, probabilities.shape[1])
    lines = ["\t".join(["index", prediction, "label", *classes])]
    for example, answer, row in zip(examples, answers, probabilities, strict=True):
        predicted, *shares = cells(answer, row, labels)
        label = "" if example.label is None else _name(example.label, labels)
        lines.append("\t".join([example.id, predicted, label, *shares]))
    storage.write_text(path, "\n".join(lines) + "\n")


def header(labels: Sequence[str], classes: int) -> list[str]:
    """The names of `cells`, for so many classes; arguments as of `write`."""
    return ["prediction", *(f"p({column})" for column in labels or range(classes))]


def cells(answer: float, probabilities: np.ndarray, labels: Sequence[str]) -> list[str]:
    """One example's prediction, and the probability of every class; arguments as of `write`."""
    return [_name(answer, labels), *(f"{p:.6f}" for p in probabilities)]


def _name(value: float, labels: Sequence[str]) -> str:
    return labels[int(value)] if labels else f"{value:.4f}"
