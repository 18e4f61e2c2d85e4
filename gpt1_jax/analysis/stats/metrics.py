"""Define the metrics of the labeled tasks by name.

A metric is a fraction from 0 to 1 or a correlation from -1 to 1. Tables multiply both by 100.

scikit-learn and scipy.stats take seconds to import. They are imported with the first number, so
that a mistake in a command is reported sooner.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np


def accuracy(labels, predictions) -> float:
    """Return the fraction of rows whose predicted class is correct."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels, predictions) -> float:
    """Return the F1 score of class 1; 0.0 if neither side has a row of class 1."""
    import sklearn.metrics

    return float(sklearn.metrics.f1_score(labels, predictions, zero_division=0.0))


def matthews(labels, predictions) -> float:
    """Return Matthews' correlation of two sequences of classes."""
    import sklearn.metrics

    return _correlation(sklearn.metrics.matthews_corrcoef, labels, predictions)


def pearson(labels, predictions) -> float:
    """Return Pearson's correlation of two sequences of scores."""
    import scipy.stats

    return _correlation(lambda x, y: scipy.stats.pearsonr(x, y).statistic, labels, predictions)


def spearman(labels, predictions) -> float:
    """Return Spearman's rank correlation of two sequences of scores."""
    import scipy.stats

    return _correlation(lambda x, y: scipy.stats.spearmanr(x, y).statistic, labels, predictions)


def _correlation(function: Callable, labels, predictions) -> float:
    """Return the correlation, or 0.0 if one side is constant.

    The correlation with a constant is 0/0. A model that predicts one value for all rows knows
    nothing of their order, so 0 is the right score (scikit-learn uses it for Matthews' correlation,
    too). A nan would win or lose every comparison of checkpoints by accident.
    """
    labels, predictions = (np.asarray(row, np.float64) for row in (labels, predictions))
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    return float(function(labels, predictions))


METRICS = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def score(
    names: Iterable[str], labels: Sequence | np.ndarray, predictions: Sequence | np.ndarray
) -> dict[str, float]:
    """Return the named metrics of one split, in the order of `names`.

    Args:
        names: keys of METRICS.
        labels: [N], class ids or scores.
        predictions: [N], the predicted class ids or scores, in the same order.

    Raises:
        ValueError: there are no rows, or the numbers of labels and predictions differ.
    """
    if len(labels) != len(predictions) or len(labels) == 0:
        raise ValueError(
            f"{len(labels)} labels and {len(predictions)} predictions; "
            "give as many predictions as labels, and at least one"
        )
    return {name: METRICS[name](labels, predictions) for name in names}


def threshold(labels: Sequence | np.ndarray, scores: Sequence | np.ndarray) -> float:
    """Return the threshold with the best Matthews correlation.

    Rows with a score above the threshold are predicted to be of class 1. The threshold lies midway
    between two neighboring scores. It is the lowest of several equally good thresholds. If all
    scores are equal, it is that score.

    Args:
        labels: [N], 0 or 1.
        scores: [N].
    """
    order = np.argsort(scores, kind="stable")
    scores, labels = np.asarray(scores)[order], np.asarray(labels)[order]
    (below,) = np.nonzero(np.diff(scores))  # a threshold may lie after each of these rows
    if not len(below):
        return float(scores[0])
    above = len(scores) - 1 - below
    true_positives = labels.sum() - np.cumsum(labels)[below]
    # This is Matthews' correlation without a factor that all thresholds share.
    correlation = (true_positives * len(scores) - above * labels.sum()) / np.sqrt(
        above * (below + 1.0)
    )
    best = below[correlation.argmax()]
    return float(scores[best : best + 2].mean())


def weighted_scores(
    metric: str, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the metric of every run in every replicate; the weights count the examples.

    A few matrix products compute all scores at once. Spearman's ranks are those among all examples,
    whatever the weights, which avoids sorting. The variance of bootstrap replicates is then no
    further from the true one than with new ranks in each replicate (simulated: 1,500 normal pairs,
    correlations from 0 to 0.95).

    Args:
        metric: a key of METRICS.
        labels: [N], class ids or scores.
        predictions: [M N], one row for each run.
        weights: [R N], one row for each replicate.

    Returns:
        [R M], 0.0 where the metric does not exist, as in METRICS.
    """
    if metric == "spearman":
        import scipy.stats

        labels = scipy.stats.rankdata(labels)
        predictions = scipy.stats.rankdata(predictions, axis=1)
    return _WEIGHTED[metric](labels, predictions, weights)


def _weighted_accuracy(labels, predictions, weights):
    return weights @ (predictions == labels).T / weights.sum(1, keepdims=True)


def _weighted_f1(labels, predictions, weights):
    true_positives = weights @ ((predictions == 1) & (labels == 1)).T
    positives = weights @ (predictions == 1).T + (weights @ (labels == 1))[:, None]
    return _divide(2 * true_positives, positives)


def _weighted_matthews(labels, predictions, weights):
    """Return Matthews' correlation for any number of classes (Gorodkin 2004)."""
    classes = np.union1d(labels, predictions)
    actual = np.stack([weights @ (labels == k) for k in classes], -1)[:, None]
    predicted = np.stack([weights @ (predictions == k).T for k in classes], -1)
    rows = weights.sum(1, keepdims=True)
    covariance = rows * (weights @ (predictions == labels).T) - (actual * predicted).sum(-1)
    return _divide(
        covariance,
        np.sqrt((rows**2 - (actual**2).sum(-1)) * (rows**2 - (predicted**2).sum(-1))),
    )


def _weighted_pearson(labels, predictions, weights):
    weights = weights / weights.sum(1, keepdims=True)
    # Subtract the means of all examples, so that the differences below cancel no digits.
    labels = labels[None] - labels[None].mean(-1, keepdims=True)
    predictions = predictions - predictions.mean(-1, keepdims=True)
    means = weights @ labels.T, weights @ predictions.T
    covariance = weights @ (labels * predictions).T - means[0] * means[1]
    return _divide(
        covariance, np.sqrt(_variance(labels, weights) * _variance(predictions, weights))
    )


def _variance(rows, weights):
    """Return the variance; 0 where only rounding errors are left of it."""
    variance = weights @ (rows**2).T - (weights @ rows.T) ** 2
    return np.where(variance > 1e-12 * (rows**2).mean(1), variance, 0)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient; 0.0 where the denominator is not positive."""
    quotient = np.zeros(numerator.shape)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


_WEIGHTED = {
    "accuracy": _weighted_accuracy,
    "f1": _weighted_f1,
    "matthews": _weighted_matthews,
    "pearson": _weighted_pearson,
    "spearman": _weighted_pearson,
}
