"""The labelled tasks' metrics by name: fractions from 0 to 1, correlations from -1 to 1 (tables multiply by 100).

scikit-learn and scipy.stats take seconds to import; they come in with the first number, so that a mistake in a command is told sooner.
"""

from collections.abc import Iterable, Sequence

import numpy as np


def accuracy(labels, predictions) -> float:
    """The fraction of rows whose predicted class is the right one."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels, predictions) -> float:
    """F1 of class 1 (the paraphrase, the duplicate); 0.0 where no row is or is predicted to be of that class."""
    import sklearn.metrics

    return float(sklearn.metrics.f1_score(labels, predictions, zero_division=0.0))


def matthews(labels, predictions) -> float:
    """Matthews' correlation of two rows of classes."""
    import sklearn.metrics

    return _correlation(sklearn.metrics.matthews_corrcoef, labels, predictions)


def pearson(labels, predictions) -> float:
    """Pearson's correlation of two rows of scores."""
    import scipy.stats

    return _correlation(
        lambda *scores: scipy.stats.pearsonr(*scores).statistic, labels, predictions
    )


def spearman(labels, predictions) -> float:
    """Spearman's rank correlation of two rows of scores."""
    import scipy.stats

    return _correlation(
        lambda *scores: scipy.stats.spearmanr(*scores).statistic, labels, predictions
    )


def _correlation(function, labels, predictions) -> float:
    """The correlation, and 0.0 where one side is constant.

    There it is 0/0. A model that gives every row the same answer knows nothing of their order, which is what 0 says
    (scikit-learn takes Matthews' so too), and a nan would win or lose every comparison of checkpoints by accident.
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
    """The named metrics of one split, in the order of `names`.

    Args:
        names: keys of METRICS.
        labels: class ids or scores, one a row.
        predictions: the predicted class ids or scores, in the same order.
    Raises:
        ValueError: no rows, or not one prediction a label.
    """
    if len(labels) != len(predictions) or len(labels) == 0:
        raise ValueError(
            f"{len(labels)} labels and {len(predictions)} predictions: not as many of both, or none"
        )
    return {name: METRICS[name](labels, predictions) for name in names}


def threshold(labels: Sequence | np.ndarray, scores: Sequence | np.ndarray) -> float:
    """The score above which class 1 is to be answered for the best Matthews correlation with `labels`, 0 and 1; of equals the lowest.

    It lies midway between two of the scores; where all are the same it is they.
    """
    order = np.argsort(scores, kind="stable")
    scores, labels = np.asarray(scores)[order], np.asarray(labels)[order]
    (below,) = np.nonzero(np.diff(scores))  # a threshold may lie after each of these rows
    if not len(below):
        return float(scores[0])
    above = len(scores) - 1 - below
    right = labels.sum() - np.cumsum(labels)[below]
    # Matthews, but for a factor that all thresholds share.
    correlation = (right * len(scores) - above * labels.sum()) / np.sqrt(above * (below + 1.0))
    best = below[correlation.argmax()]
    return float(scores[best : best + 2].mean())


def weighted(
    metric: str, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The metric where each example counts as often as its weight says: all runs in all replicates by a few matrix products.

    Spearman's ranks are those among all examples, whatever the weights: no sorting, and the variance of bootstrap replicates comes out no
    further from the true one than with new ranks for each (simulated: 1,500 normal pairs, correlations from 0 to 0.95).

    Args:
        metric: a key of metrics.METRICS.
        labels: [N], class ids or scores.
        predictions: [M N], a row a run.
        weights: [R N], a row a replicate.
    Returns:
        [R M], 0.0 where the metric does not exist, as in METRICS.
    """
    if metric == "spearman":
        import scipy.stats

        labels, predictions = (
            scipy.stats.rankdata(labels),
            scipy.stats.rankdata(predictions, axis=1),
        )
    return _WEIGHTED[metric](labels, predictions, weights)


def _weighted_accuracy(labels, predictions, weights):
    return weights @ (predictions == labels).T / weights.sum(1, keepdims=True)


def _weighted_f1(labels, predictions, weights):
    hits = weights @ ((predictions == 1) & (labels == 1)).T
    return _ratio(2 * hits, weights @ (predictions == 1).T + (weights @ (labels == 1))[:, None])


def _weighted_matthews(labels, predictions, weights):
    """Of any number of classes (Gorodkin 2004)."""
    classes = np.union1d(labels, predictions)
    truth = np.stack([weights @ (labels == k) for k in classes], -1)[:, None]
    given = np.stack([weights @ (predictions == k).T for k in classes], -1)
    rows = weights.sum(1, keepdims=True)
    covariance = rows * (weights @ (predictions == labels).T) - (truth * given).sum(-1)
    return _ratio(
        covariance, np.sqrt((rows**2 - (truth**2).sum(-1)) * (rows**2 - (given**2).sum(-1)))
    )


def _weighted_pearson(labels, predictions, weights):
    weights = weights / weights.sum(1, keepdims=True)
    # Without the means of all examples, so that the moments below cancel no digits.
    labels, predictions = (
        rows - rows.mean(-1, keepdims=True) for rows in (labels[None], predictions)
    )
    covariance = weights @ (labels * predictions).T - (weights @ labels.T) * (
        weights @ predictions.T
    )
    return _ratio(covariance, np.sqrt(_variance(labels, weights) * _variance(predictions, weights)))


def _variance(rows, weights):
    variance = weights @ (rows**2).T - (weights @ rows.T) ** 2
    return np.where(
        variance > 1e-12 * (rows**2).mean(1), variance, 0
    )  # what rounding leaves of a constant's variance is none


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.zeros(over.shape), where=under > 0)


_WEIGHTED = {
    "accuracy": _weighted_accuracy,
    "f1": _weighted_f1,
    "matthews": _weighted_matthews,
    "pearson": _weighted_pearson,
    "spearman": _weighted_pearson,
}
