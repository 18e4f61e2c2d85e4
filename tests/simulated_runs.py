"""Draw labels and predictions of simulated runs for the tests of statistics."""

from typing import NamedTuple

import numpy as np
import scipy.special

from gpt1_jax.analysis.stats import metrics, two_way
from gpt1_jax.analysis.stats.intervals import correct_family

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


class Scenario(NamedTuple):
    """Describe two variants whose runs are simulated: 0 or 1 for each seed and each example.

    A prediction is correct if a standard normal value is low enough. The value is the sum of
    effects of the seed, of the example, and of both together.

    Attributes:
        seeds, rows: the number of runs of a variant, and of examples.
        metric: "accuracy", "f1" or "matthews".
        by_seed, by_example: the shares of the variance; the rest belongs to the interaction.
        correlation: the correlation of an example's effects on the two variants.
        failing: the probability that a run of either variant only guesses.
        accuracy: the expected accuracy of the runs of the full model that do not fail.
        positive: the fraction of examples of class 1.
    """

    seeds: int = 3
    rows: int = 277
    metric: str = "accuracy"
    by_seed: float = 0.0
    by_example: float = 0.0
    correlation: float = 0.5
    failing: float = 0.0
    accuracy: float = 0.7
    positive: float = 0.5

    def draw(self, generator, difference: float) -> list[two_way.Sample]:
        """Return the runs of the full model, and of one that is less accurate by `difference`."""
        labels = (generator.random(self.rows) < self.positive).astype(int)
        common, *own = generator.normal(size=(3, self.rows))
        accuracies = self.accuracy, self.accuracy - difference
        return [
            self._sample(generator, labels, accuracy, self._mix(self.correlation, common, effects))
            for accuracy, effects in zip(accuracies, own, strict=True)
        ]

    @staticmethod
    def _mix(share: float, first, second):
        return np.sqrt(share) * first + np.sqrt(1 - share) * second

    def _sample(self, generator, labels, accuracy: float, by_example) -> two_way.Sample:
        shape = self.seeds, self.rows
        by_seed, by_both = generator.normal(size=(self.seeds, 1)), generator.normal(size=shape)
        rest = max(1 - self.by_seed - self.by_example, 0)
        value = np.sqrt(self.by_seed) * by_seed + np.sqrt(self.by_example) * by_example
        correct = value + np.sqrt(rest) * by_both < scipy.special.ndtri(accuracy)
        guesses = generator.random(shape) < 0.5
        fails = generator.random((self.seeds, 1)) < self.failing
        correct = np.where(fails, guesses, correct)
        predictions = np.where(correct, labels, 1 - labels)
        scores = self._score(
            correct.mean(1), (labels * correct).mean(1), predictions.mean(1), labels.mean()
        )
        effects = metrics.example_effects(self.metric, labels, predictions)
        values = two_way.values(scores, [effects])
        return two_way.Sample(dict(enumerate(values)), 0, metrics.limits(self.metric), self.seeds)

    def true_score(self, difference: float) -> float:
        """Return the expected score over all seeds and examples of the less accurate model."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        threshold = scipy.special.ndtri(self.accuracy - difference) - np.sqrt(self.by_seed) * nodes
        accuracies = scipy.special.ndtr(threshold / np.sqrt(1 - self.by_seed))
        learned = np.sum(weights * self._expected(accuracies)) / weights.sum()
        return (1 - self.failing) * learned + self.failing * self._expected(0.5)

    def _expected(self, accuracy):
        """Return the score of a run that is correct on this fraction of either class."""
        true_positives = self.positive * accuracy
        predicted = true_positives + (1 - self.positive) * (1 - accuracy)
        return self._score(accuracy, true_positives, predicted, self.positive)

    def _score(self, correct, true_positives, predicted, positive):
        """Return the metric from fractions of all examples."""
        if self.metric == "accuracy":
            return correct
        if self.metric == "f1":
            return 2 * true_positives / (predicted + positive)
        variances = predicted * (1 - predicted) * positive * (1 - positive)
        return (true_positives - predicted * positive) / np.sqrt(variances)


SCENARIOS = {
    "examples dominate": Scenario(by_example=0.8, correlation=0.8),
    "examples and seeds": Scenario(by_example=0.8, by_seed=0.02),
    "seeds dominate": Scenario(by_example=0.4, by_seed=0.2),
    "interaction dominates": Scenario(by_example=0.05, correlation=0.0),
    "one seed in five fails": Scenario(by_example=0.6, failing=0.2),
    "F1": Scenario(by_example=0.7, by_seed=0.01, metric="f1", rows=408, positive=0.68),
    "Matthews": Scenario(by_example=0.7, by_seed=0.01, metric="matthews", rows=1043, positive=0.69),
}


class Outcome(NamedTuple):
    """Hold what happened in the repetitions of a scenario.

    Attributes:
        score_coverage, coverage: the fractions of the 95% intervals of the full model's score, and
            of the difference, that contain the true value.
        significant: the fraction of differences that get a star.
        detectable: the median of the smallest detectable difference.
    """

    score_coverage: float
    coverage: float
    significant: float
    detectable: float


def repeat(scenario: Scenario, difference: float, count: int, seed: int = 0) -> Outcome:
    """Simulate `count` comparisons, each a family of one difference."""
    generator, rows = np.random.default_rng(seed), []
    true_full, true_other = scenario.true_score(0), scenario.true_score(difference)
    for _ in range(count):
        full, other = scenario.draw(generator, difference)
        score = two_way.score(full)
        (found,) = correct_family({0: two_way.difference(full, other)}).values()
        rows.append(
            (
                score.low <= true_full <= score.high,
                found.low <= true_full - true_other <= found.high,
                found.significant,
                found.detectable,
            )
        )
    *fractions, detectable = zip(*rows, strict=True)
    return Outcome(*map(float, map(np.mean, fractions)), float(np.median(detectable)))
