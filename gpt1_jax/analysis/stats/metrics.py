"""Define the metrics of the labeled tasks by name.

A metric is a fraction from 0 to 1 or a correlation from -1 to 1. Tables multiply both by 100.

scikit-learn and scipy.stats take seconds to import. They are imported when the first metric is
computed, so that a mistake in a command is reported sooner.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np


def accuracy(labels, predictions) -> float:
    """Return the fraction of rows whose predicted class is correct."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels, predictions) -> float:
    """Return the F1 score of class 1; 0.0 if neither labels nor predictions contain class 1."""
    import sklearn.metrics

    return float(sklearn.metrics.f1_score(labels, predictions, zero_division=0.0))  # pyright: ignore[reportArgumentType]


def matthews(labels, predictions) -> float:
    """Return Matthews' correlation of two sequences of classes."""
    import sklearn.metrics

    return _correlation(sklearn.metrics.matthews_corrcoef, labels, predictions)


def pearson(labels, predictions) -> float:
    """Return Pearson's correlation of two sequences of scores."""
    import scipy.stats

    return _correlation(lambda x, y: scipy.stats.pearsonr(x, y)[0], labels, predictions)


def spearman(labels, predictions) -> float:
    """Return Spearman's rank correlation of two sequences of scores."""
    import scipy.stats

    return _correlation(lambda x, y: scipy.stats.spearmanr(x, y)[0], labels, predictions)


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


def limits(name: str) -> tuple[float, float]:
    """Return the lowest and the highest possible value of a metric."""
    return (0.0 if name in ("accuracy", "f1") else -1.0), 1.0


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


def example_effects(metric: str, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return by how much each example raises the score of each run, times N.

    The effect of an example is its jackknife pseudo-value (Tukey 1958) minus the mean of all
    pseudo-values: (N - 1) (mean of the N leave-one-out scores - the score without this example).
    For accuracy it is 1 or 0 minus the accuracy. The effects of any other metric take the place of
    these deviations in the variance of a mean (Efron and Stein 1981, "The Jackknife Estimate of
    Variance").

    Every metric is a function of means over the examples, so all leave-one-out scores are computed
    at once. Spearman's ranks are those among all N examples.

    Args:
        metric: a key of METRICS.
        labels: [N], class ids or scores.
        predictions: [S N], one row for each run.

    Returns:
        [S N], 0 on average over each row. A score without the example is 0.0 where the metric does
        not exist, as in METRICS.
    """
    if metric == "spearman":
        import scipy.stats

        labels = scipy.stats.rankdata(labels)
        predictions = scipy.stats.rankdata(predictions, axis=1)
    terms, function = _JACKKNIFE[metric]
    rows = predictions.shape[1]
    values = np.stack(
        [np.broadcast_to(term, predictions.shape) for term in terms(labels, predictions)]
    ).astype(np.float64)
    left_out = function((values.sum(-1, keepdims=True) - values) / max(rows - 1, 1))
    return (rows - 1) * (left_out.mean(-1, keepdims=True) - left_out)


def _matthews_terms(labels, predictions) -> list[np.ndarray]:
    classes = np.union1d(labels, predictions)
    return [
        predictions == labels,
        *(predictions == k for k in classes),
        *(labels == k for k in classes),
    ]


def _matthews(means):
    """Return Matthews' correlation for any number of classes (Gorodkin 2004)."""
    predicted, actual = np.split(means[1:], 2)
    covariance = means[0] - (predicted * actual).sum(0)
    variances = (1 - (predicted**2).sum(0)) * (1 - (actual**2).sum(0))
    return _divide(covariance, np.sqrt(variances))


def _pearson_terms(labels, predictions) -> list[np.ndarray]:
    # Subtract the means of all examples, so that the differences below cancel no digits.
    x, y = labels - labels.mean(), predictions - predictions.mean(-1, keepdims=True)
    return [x, y, x * x, y * y, x * y]


def _pearson(means):
    x, y, xx, yy, xy = means
    return _divide(xy - x * y, np.sqrt(_variance(x, xx) * _variance(y, yy)))


def _variance(mean, square):
    """Return the variance; 0 where only rounding errors are left of it."""
    variance = square - mean**2
    return np.where(variance > 1e-12 * square, variance, 0)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the quotient; 0.0 where the denominator is not positive."""
    quotient = np.zeros(numerator.shape)
    return np.divide(numerator, denominator, out=quotient, where=denominator > 0)


# Metric -> (the terms of each example, the score as a function of the means of the terms).
_JACKKNIFE = {
    "accuracy": (lambda labels, runs: [runs == labels], lambda means: means[0]),
    "f1": (
        lambda labels, runs: [(runs == 1) & (labels == 1), runs == 1, labels == 1],
        lambda means: _divide(2 * means[0], means[1] + means[2]),
    ),
    "matthews": (_matthews_terms, _matthews),
    "pearson": (_pearson_terms, _pearson),
    "spearman": (_pearson_terms, _pearson),
}
