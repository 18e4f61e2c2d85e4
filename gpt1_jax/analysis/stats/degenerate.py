"""Detect degenerate runs: runs that have learned nothing."""

import numpy as np

from gpt1_jax.analysis.stats import metrics

# Files of predictions store probabilities with six decimals, so a stored probability may be 0.
_SMALLEST_PROBABILITY = 5e-7
# Files of predictions store scores with four decimals.
_SMALLEST_RANGE = 1e-4


def degenerate_reason(
    labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray | None
) -> str:
    """Return why a run is degenerate: "constant prediction" or "loss at chance"; "" if it is not.

    The result is "" if all labels are the same.

    A loss is at chance if the mean cross-entropy is not below the entropy of the label frequencies
    of this split. No constant probabilities can be better than this entropy. The probabilities of a
    degenerate run still vary slightly between rows, and the loss may be lower by luck. Therefore
    the loss has to be lower by two standard errors (of the differences in each row). A run that is
    often correct but overconfident has a high loss, too. It is not degenerate if labels and
    predictions correlate by more than 2 / sqrt(N), which is two standard errors for unrelated
    values.

    Args:
        labels: [N], class ids or scores.
        predictions: [N], class ids or scores.
        probabilities: [N K]; None or K = 0 if there are none (a graded task trained as a
            regression). For a graded task they are the probabilities of the whole scores, and a
            label is shared between its two neighbors, as in training.
    """
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if np.ptp(labels) == 0:
        return ""
    if np.ptp(predictions) < _SMALLEST_RANGE:
        return "constant prediction"
    if probabilities is None or np.size(probabilities) == 0:
        return ""
    at_chance = _loss_at_chance(labels, probabilities) and not _correlated(labels, predictions)
    return "loss at chance" if at_chance else ""


def _loss_at_chance(labels: np.ndarray, probabilities: np.ndarray) -> bool:
    """Return True unless the loss is below the entropy of the labels by two standard errors."""
    probabilities = np.maximum(probabilities, _SMALLEST_PROBABILITY)
    targets = np.maximum(0, 1 - np.abs(labels[:, None] - np.arange(probabilities.shape[1])))
    frequencies = np.maximum(targets.mean(0), _SMALLEST_PROBABILITY)
    excess = (targets * (np.log(frequencies) - np.log(probabilities))).sum(1)
    return excess.mean() >= -2 * excess.std() * (1 / np.sqrt(len(labels)))


def _correlated(labels: np.ndarray, predictions: np.ndarray) -> bool:
    """Return True if labels and predictions correlate by more than two standard errors."""
    graded = np.any(predictions % 1) or np.any(labels % 1)
    correlation = metrics.METRICS["pearson" if graded else "matthews"](labels, predictions)
    return correlation > 2 * (1 / np.sqrt(len(labels)))
