"""A run's predictions as a table, one row an example."""

import pathlib
from collections.abc import Sequence

import numpy as np


def write(path: pathlib.Path, examples: Sequence, answers: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> None:
    """Writes tab-separated rows of index, prediction, label and the probability of every class, in the data's order.

    Args:
        path: of the file; its folder is made.
        examples: with `id` and `label` (None where it is hidden: an empty field).
        answers: [N], class ids, or scores of a graded task.
        probabilities: [N, K].
        labels: the class names in id order; empty for a graded task, whose classes are the whole scores.
    """

    def name(value):
        if value is None:
            return ""
        return labels[value] if labels else f"{value:.4f}"

    columns = labels or [str(score) for score in range(probabilities.shape[1])]
    lines = ["\t".join(["index", "prediction", "label", *(f"p({column})" for column in columns)])]
    for example, answer, row in zip(examples, answers, probabilities, strict=True):
        lines.append("\t".join([example.id, name(answer), name(example.label), *(f"{p:.6f}" for p in row)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(path)
