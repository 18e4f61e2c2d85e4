"""Metrics against values worked out by hand, and the cases in which a correlation does not exist."""

import warnings

import numpy as np
import pytest

from gpt1_jax.analysis.stats.metrics import METRICS, matthews, score, threshold

LABELS = [1, 1, 1, 0, 0, 0, 0, 1]
GUESSES = [1, 1, 0, 0, 0, 1, 0, 1]  # tp 3, fn 1, tn 3, fp 1


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_classes_by_hand():
    found = score(("accuracy", "f1", "matthews"), LABELS, GUESSES)
    assert list(found) == ["accuracy", "f1", "matthews"]
    assert found == pytest.approx(
        {"accuracy": 6 / 8, "f1": 2 * 3 / (2 * 3 + 1 + 1), "matthews": (9 - 1) / 16}
    )


def test_f1_is_of_class_one():
    assert METRICS["f1"]([1, 1, 0, 0], [1, 0, 0, 0]) == pytest.approx(2 / 3)
    assert METRICS["f1"]([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx(4 / 5)


def test_accuracy_of_three_classes():
    assert METRICS["accuracy"](np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])) == 0.5


def test_correlations_by_hand():
    labels, predictions = [0.0, 1.0, 2.0, 3.0], np.array([0.0, 1.0, 4.0, 9.0], np.float32)
    # Covariance 15/4, variances 5/4 and 49/4.
    assert METRICS["pearson"](labels, predictions) == pytest.approx(15 / np.sqrt(5 * 49))
    assert METRICS["spearman"](labels, predictions) == pytest.approx(1.0)
    assert METRICS["spearman"](labels, -predictions) == pytest.approx(-1.0)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("side", ["labels", "predictions", "both"])
@pytest.mark.parametrize("constant", [0, 1])
def test_one_answer_for_every_row(name, side, constant):
    same = [constant] * len(LABELS)
    labels, predictions = (
        same if side in (who, "both") else LABELS for who in ("labels", "predictions")
    )
    value = METRICS[name](labels, predictions)
    assert np.isfinite(value)
    if name in ("matthews", "pearson", "spearman"):
        assert value == 0.0
    if name == "f1" and constant == 0:
        assert value == 0.0


def test_a_single_row():
    assert score(METRICS, [1], [1]) == {
        "accuracy": 1.0,
        "f1": 1.0,
        "matthews": 0.0,
        "pearson": 0.0,
        "spearman": 0.0,
    }


def test_values_are_plain_floats():
    found = score(METRICS, np.array(LABELS), np.array(GUESSES))
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([1, 0], [1])])
def test_refuses_what_cannot_be_compared(labels, predictions):
    with pytest.raises(ValueError, match="labels and"):
        score(("accuracy",), labels, predictions)


@pytest.mark.parametrize("seed", range(5))
def test_threshold_has_the_best_correlation(seed):
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=60)
    scores = np.round(random.normal(size=60) + labels, 1)  # with ties
    every = [matthews(labels, scores > cut) for cut in np.unique(scores)[:-1]]
    cut = threshold(labels, scores)
    assert matthews(labels, scores > cut) == pytest.approx(max(every))
    assert np.abs(scores - cut).min() == pytest.approx(
        np.diff(np.unique(scores))[np.argmax(every)] / 2
    )


def test_threshold_of_scores_that_tell_nothing():
    assert threshold([0, 1], [0.5, 0.5]) == 0.5
    assert threshold([1, 1], [0.75, 0.25]) == 0.5
