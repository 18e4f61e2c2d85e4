"""Check which runs count as degenerate.

Every simulation has its own seed, so it gives the same numbers each time.
"""

import math

import numpy as np
import pytest

from gpt1_jax.analysis.stats.degenerate import degenerate_reason
from gpt1_jax.analysis.stats.metrics import METRICS


def classifier(generator, rows: int, signal: float, classes: int = 2, confidence: float = 1.0):
    """Return labels, predictions and probabilities of a model that knows `signal` of the label."""
    labels = generator.integers(classes, size=rows)
    noise = generator.normal(size=(rows, classes))
    scores = confidence * (signal * np.eye(classes)[labels] + noise)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return labels, probabilities.argmax(1), probabilities


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_unrelated_predictions_are_at_chance(classes):
    generator = np.random.default_rng(6)
    reasons = [degenerate_reason(*classifier(generator, 300, 0, classes, 0.1)) for _ in range(200)]
    assert set(reasons) <= {"", "loss at chance"}
    # Each of the two allowances lets a few lucky runs pass.
    assert reasons.count("loss at chance") >= 0.9 * 200


@pytest.mark.parametrize(
    "confidence", [0.1, 1.0, 5.0], ids=["underconfident", "calibrated", "overconfident"]
)
def test_trained_run_is_not_degenerate(confidence):
    labels, predictions, probabilities = classifier(
        np.random.default_rng(6), 300, 1.0, 2, confidence
    )
    assert degenerate_reason(labels, predictions, probabilities) == ""
    # The overconfident run has a loss above chance; only its predictions show what it has learned.
    loss = -np.log(probabilities[np.arange(300), labels]).mean()
    assert (loss > math.log(2)) == (confidence == 5.0)


def test_constant_predictions_are_degenerate():
    labels = np.array([0, 1, 1, 0])
    halves = np.full((4, 2), 0.5)
    assert degenerate_reason(labels, np.ones(4, int), halves) == "constant prediction"
    assert degenerate_reason(labels, np.array([0, 1, 1, 1]), None) == ""
    scores = np.array([2.31, 2.31, 2.31, 2.31])
    assert degenerate_reason(labels, scores, np.zeros((4, 0))) == "constant prediction"


def test_constant_labels_are_never_degenerate():
    assert degenerate_reason(np.ones(4), np.ones(4), np.full((4, 2), 0.5)) == ""


def test_graded_run_at_chance_is_degenerate():
    """Use scores from 0 to 5 and probabilities that follow them, in order and shifted by rows."""
    generator = np.random.default_rng(8)
    labels = generator.integers(26, size=300) / 5
    closeness = np.exp(-np.abs(labels[:, None] + generator.normal(size=(300, 1)) - np.arange(6)))
    probabilities = closeness / closeness.sum(1, keepdims=True)
    predictions = probabilities @ np.arange(6)
    assert degenerate_reason(labels, predictions, probabilities) == ""
    shifted = np.roll(probabilities, 100, axis=0)
    assert degenerate_reason(labels, shifted @ np.arange(6), shifted) == "loss at chance"
    assert degenerate_reason(labels, predictions, np.zeros((300, 0))) == ""


def test_informative_probabilities_are_not_degenerate():
    """Use unbalanced classes: the rare class is rarely predicted, but gets more probability."""
    labels = np.arange(200) % 10 == 0
    rare = np.where(labels, 0.4, 0.07)
    rare[1] = 0.6
    probabilities = np.stack([1 - rare, rare], axis=1)
    assert METRICS["matthews"](labels, rare > 0.5) < 0
    assert degenerate_reason(labels, rare > 0.5, probabilities) == ""
    shifted = np.roll(probabilities, 5, axis=0)
    assert degenerate_reason(labels, rare > 0.5, shifted) == "loss at chance"


def test_graded_label_is_shared_between_two_neighbors():
    """Use predictions that only the loss can judge: sure of the middle, unsure between the ends."""
    labels = np.tile([0, 2.9, 5, 2.9], 25)
    ends, middle = [0.5, 0, 0, 0, 0, 0.5], [0, 0, 0.1, 0.9, 0, 0]
    probabilities = np.tile([ends, middle], (50, 1))
    assert degenerate_reason(labels, probabilities @ np.arange(6), probabilities) == ""
    other = np.tile([ends, middle[::-1]], (50, 1))
    assert degenerate_reason(labels, other @ np.arange(6), other) == "loss at chance"
