"""Check metrics against values computed by hand, and where a correlation does not exist."""

import warnings

import numpy as np
import pytest
from simulated_runs import related_predictions

from gpt1_jax.analysis.stats.metrics import (
    METRICS,
    example_effects,
    limits,
    matthews,
    score,
    threshold,
)

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


def leave_one_out_effects(metric: str, labels, predictions) -> np.ndarray:
    """Return the effects of a run's examples, from one call of the metric for each example."""
    rows = len(labels)
    without = [
        METRICS[metric](np.delete(labels, row), np.delete(predictions, row)) for row in range(rows)
    ]
    return (rows - 1) * (np.mean(without) - np.array(without))


@pytest.mark.parametrize(
    ("metric", "classes"),
    [("accuracy", 3), ("f1", 2), ("matthews", 2), ("matthews", 4), ("pearson", 0)],
)
def test_effects_leave_out_one_example_each(metric, classes):
    generator = np.random.default_rng(0)
    labels, predictions = related_predictions(metric, generator, 40, 3, classes)
    effects = example_effects(metric, labels, predictions)
    assert effects.shape == (3, 40)
    for row, run in zip(effects, predictions, strict=True):
        expected = leave_one_out_effects(metric, labels, run)
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)
    if metric == "accuracy":
        correct = predictions == labels
        np.testing.assert_allclose(effects, correct - correct.mean(1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_effects_have_the_variance_of_the_score(metric):
    generator, scores, variances = np.random.default_rng(0), [], []
    for _ in range(400):
        labels, predictions = related_predictions(metric, generator, 300, 1)
        scores.append(METRICS[metric](labels, predictions[0]))
        effects = example_effects(metric, labels, predictions)
        variances.append(np.sum(effects**2) / 300 / 299)
    assert np.mean(variances) == pytest.approx(np.var(scores), rel=0.2)


@pytest.mark.parametrize("side", ["labels", "predictions", "both"])
@pytest.mark.parametrize(
    ("metric", "constant"),
    [*((name, constant) for name in METRICS for constant in (0, 1)), ("pearson", 0.1)],
)
def test_effects_of_a_constant_side(metric, side, constant):
    other = np.array([0, 1, 1, 0, 1])
    same = np.full(5, constant)
    labels, predictions = (
        same if side in (name_of_side, "both") else other
        for name_of_side in ("labels", "predictions")
    )
    effects = example_effects(metric, labels, predictions[None])
    expected = leave_one_out_effects(metric, labels, predictions)
    np.testing.assert_allclose(effects, expected[None], atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_single_example_has_no_effect(metric):
    assert example_effects(metric, np.array([1]), np.array([[1], [0]])).tolist() == [[0], [0]]


def test_effects_of_the_only_varying_prediction():
    """Rounding errors must not count as variance of the predictions that are left."""
    labels, predictions = np.arange(50.0), np.full(50, 3.3)
    predictions[7] += 0.001
    effects = example_effects("pearson", labels, predictions[None])[0]
    expected = leave_one_out_effects("pearson", labels, predictions)
    np.testing.assert_allclose(effects, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_limits_are_reached(metric):
    labels = np.array([0, 1, 1, 0])
    assert METRICS[metric](labels, labels) == pytest.approx(limits(metric)[1])
    assert METRICS[metric](labels, 1 - labels) == pytest.approx(limits(metric)[0])
