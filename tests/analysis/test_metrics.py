"""Check metrics against values computed by hand, and where a correlation does not exist."""

import warnings

import numpy as np
import pytest
import scipy.stats
from simulated_runs import related_predictions

from gpt1_jax.analysis.stats.metrics import METRICS, matthews, score, threshold, weighted_scores

LABELS = [1, 1, 1, 0, 0, 0, 0, 1]
PREDICTIONS = [1, 1, 0, 0, 0, 1, 0, 1]  # tp 3, fn 1, tn 3, fp 1


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_class_metrics_match_hand_computed_values():
    scores = score(("accuracy", "f1", "matthews"), LABELS, PREDICTIONS)
    assert list(scores) == ["accuracy", "f1", "matthews"]
    assert scores == pytest.approx(
        {"accuracy": 6 / 8, "f1": 2 * 3 / (2 * 3 + 1 + 1), "matthews": (9 - 1) / 16}
    )


def test_f1_is_of_class_one():
    assert METRICS["f1"]([1, 1, 0, 0], [1, 0, 0, 0]) == pytest.approx(2 / 3)
    assert METRICS["f1"]([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx(4 / 5)


def test_accuracy_of_three_classes():
    assert METRICS["accuracy"](np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])) == 0.5


def test_correlations_match_hand_computed_values():
    labels, predictions = [0.0, 1.0, 2.0, 3.0], np.array([0.0, 1.0, 4.0, 9.0], np.float32)
    # Covariance 15/4, variances 5/4 and 49/4.
    assert METRICS["pearson"](labels, predictions) == pytest.approx(15 / np.sqrt(5 * 49))
    assert METRICS["spearman"](labels, predictions) == pytest.approx(1.0)
    assert METRICS["spearman"](labels, -predictions) == pytest.approx(-1.0)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("side", ["labels", "predictions", "both"])
@pytest.mark.parametrize("constant", [0, 1])
def test_constant_side_scores_zero(name, side, constant):
    same = [constant] * len(LABELS)
    labels, predictions = (
        same if side in (name_of_side, "both") else LABELS
        for name_of_side in ("labels", "predictions")
    )
    value = METRICS[name](labels, predictions)
    assert np.isfinite(value)
    if name in ("matthews", "pearson", "spearman"):
        assert value == 0.0
    if name == "f1" and constant == 0:
        assert value == 0.0


def test_single_row_has_correlations_of_zero():
    assert score(METRICS, [1], [1]) == {
        "accuracy": 1.0,
        "f1": 1.0,
        "matthews": 0.0,
        "pearson": 0.0,
        "spearman": 0.0,
    }


def test_values_are_plain_floats():
    scores = score(METRICS, np.array(LABELS), np.array(PREDICTIONS))
    assert {type(value) for value in scores.values()} == {float}


@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([1, 0], [1])])
def test_unequal_or_empty_sides_are_refused(labels, predictions):
    message = f"{len(labels)} labels and {len(predictions)} predictions"
    with pytest.raises(ValueError, match=message):
        score(("accuracy",), labels, predictions)


@pytest.mark.parametrize("seed", range(5))
def test_threshold_has_the_best_correlation(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=60)
    scores = np.round(generator.normal(size=60) + labels, 1)  # with ties
    correlations = [matthews(labels, scores > cut) for cut in np.unique(scores)[:-1]]
    best = threshold(labels, scores)
    assert matthews(labels, scores > best) == pytest.approx(max(correlations))
    assert np.abs(scores - best).min() == pytest.approx(
        np.diff(np.unique(scores))[np.argmax(correlations)] / 2
    )


def test_threshold_of_uninformative_scores():
    assert threshold([0, 1], [0.5, 0.5]) == 0.5
    assert threshold([1, 1], [0.75, 0.25]) == 0.5


def bootstrap_weights(generator, rows: int, count: int = 20) -> np.ndarray:
    return generator.multinomial(rows, np.full(rows, 1 / rows), size=count).astype(float)


@pytest.mark.parametrize(
    ("metric", "classes"),
    [("accuracy", 3), ("f1", 2), ("matthews", 2), ("matthews", 4), ("pearson", 0)],
)
def test_weights_equal_repeated_rows(metric, classes):
    generator = np.random.default_rng(0)
    labels, predictions = related_predictions(metric, generator, 40, 3, classes)
    weights = bootstrap_weights(generator, 40)
    scores = weighted_scores(metric, labels, predictions, weights)
    assert scores.shape == (20, 3)
    for row, counts in zip(scores, weights.astype(int), strict=True):
        expected = [
            METRICS[metric](np.repeat(labels, counts), np.repeat(run, counts))
            for run in predictions
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-12)


def test_weighted_spearman_uses_ranks_among_all_examples():
    generator = np.random.default_rng(0)
    labels, predictions = related_predictions("spearman", generator, 400, 3)
    unweighted = weighted_scores("spearman", labels, predictions, np.ones((1, 400)))[0]
    expected = [METRICS["spearman"](labels, run) for run in predictions]
    np.testing.assert_allclose(unweighted, expected, rtol=1e-9)
    weights = bootstrap_weights(generator, 400)
    scores = weighted_scores("spearman", labels, predictions, weights)
    ranks = scipy.stats.rankdata(labels), scipy.stats.rankdata(predictions, axis=1)
    for row, counts in zip(scores, weights.astype(int), strict=True):
        rows = np.repeat(np.arange(400), counts)
        pearson = [METRICS["pearson"](ranks[0][rows], run[rows]) for run in ranks[1]]
        np.testing.assert_allclose(row, pearson, rtol=1e-9)
        spearman = [METRICS["spearman"](labels[rows], run[rows]) for run in predictions]
        np.testing.assert_allclose(row, spearman, atol=0.01)


@pytest.mark.parametrize("side", ["labels", "predictions", "both"])
@pytest.mark.parametrize(
    ("metric", "constant"),
    [*((name, constant) for name in METRICS for constant in (0, 1)), ("pearson", 0.1)],
)
def test_weighted_scores_of_a_constant_side(metric, side, constant):
    other = np.array([0, 1, 1, 0, 1])
    same = np.full(5, constant)
    labels, predictions = (
        same if side in (name_of_side, "both") else other
        for name_of_side in ("labels", "predictions")
    )
    weights = np.array([[1.0, 1, 1, 1, 1], [3, 0, 0, 2, 0], [0, 1, 1, 0, 3]])
    scores = weighted_scores(metric, labels, predictions[None], weights)
    expected = [
        METRICS[metric]([*np.repeat(labels, counts)], [*np.repeat(predictions, counts)])
        for counts in weights.astype(int)
    ]
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-9)


def test_weighted_correlation_is_zero_without_the_only_varying_prediction():
    """Rounding errors must not count as variance of the predictions that are left."""
    generator = np.random.default_rng(0)
    labels, predictions = np.arange(50.0), np.full((1, 50), 3.3)
    predictions[0, 7] += 0.001
    weights = generator.multinomial(50, np.full(50, 1 / 50), size=200)
    scores = weighted_scores("pearson", labels, predictions, weights.astype(float))[:, 0]
    expected = [
        METRICS["pearson"](np.repeat(labels, counts), np.repeat(predictions[0], counts))
        for counts in weights
    ]
    assert 50 < expected.count(0.0) < 100
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
