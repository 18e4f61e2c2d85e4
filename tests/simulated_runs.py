"""Draw labels and predictions of simulated runs for the tests of statistics."""

import numpy as np

CLASS_METRICS = ("accuracy", "f1", "matthews")


def related_predictions(
    metric: str, generator, rows: int, runs: int, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [N] and related predictions [S N], with ties for metrics that rank."""
    if metric in CLASS_METRICS:
        labels = generator.integers(classes, size=rows)
        guesses = generator.integers(classes, size=(runs, rows))
        return labels, np.where(generator.random((runs, rows)) < 0.5, labels, guesses)
    labels = generator.integers(26, size=rows) / 5
    return labels, labels + generator.normal(size=(runs, rows)).round(1)


def binomial_predictions(generator, accuracy, runs: int, rows: int) -> np.ndarray:
    """Return predictions [S N] with an expected accuracy; the labels are all 1."""
    return (generator.random((runs, rows)) < accuracy).astype(int)
