"""Write the predictions of a run as a table with one row per example.

Letters: N examples, K classes.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num

from gpt1_jax import storage


def write(
    path: storage.Path,
    examples: Sequence,
    predictions: Num[np.ndarray, "N"],
    probabilities: Float[np.ndarray, "N K"],
    labels: Sequence[str],
) -> None:
    """Write a tab-separated file: index, prediction, label and the probability of every class.

    Args:
        path: the file; its folder is created.
        examples: examples in the order of the data, with `id` and `label`. The label is None if it
            is hidden; its field is then empty.
        predictions: class ids, or scores of a graded task.
        probabilities: probability of every class.
        labels: class names in the order of their ids; empty for a graded task, whose classes are
            the integer scores.
    """
    prediction_name, *class_names = header(labels, probabilities.shape[1])
    lines = ["\t".join(["index", prediction_name, "label", *class_names])]
    for example, prediction, row in zip(examples, predictions, probabilities, strict=True):
        prediction_cell, *class_cells = cells(prediction, row, labels)
        label = "" if example.label is None else _name(example.label, labels)
        lines.append("\t".join([example.id, prediction_cell, label, *class_cells]))
    storage.write_text(path, "\n".join(lines) + "\n")


def header(labels: Sequence[str], classes: int) -> list[str]:
    """Return the column names of `cells` for so many classes; labels as in `write`."""
    return ["prediction", *(f"p({column})" for column in labels or range(classes))]


def cells(
    prediction: float, probabilities: Float[np.ndarray, "K"], labels: Sequence[str]
) -> list[str]:
    """Return the prediction and the probabilities of one example as text, as in `write`."""
    return [_name(prediction, labels), *(f"{p:.6f}" for p in probabilities)]


def _name(value: float, labels: Sequence[str]) -> str:
    return labels[int(value)] if labels else f"{value:.4f}"
