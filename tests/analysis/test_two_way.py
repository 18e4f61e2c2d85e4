"""Check the variance over seeds and examples against theory, degenerate cases and simulations.

Every simulation has its own seed, so it gives the same numbers each time.
"""

import math

import numpy as np
import pytest
import scipy.stats
import simulated_runs
from simulated_runs import SCENARIOS, binomial_predictions

from gpt1_jax.analysis.stats import two_way
from gpt1_jax.analysis.stats.intervals import correct_family
from gpt1_jax.analysis.stats.two_way import Sample


def sample(values, first_seed: int = 0) -> Sample:
    rows = np.asarray(values, float)
    return Sample(dict(enumerate(rows, start=first_seed)), 0, (0.0, 1.0), len(rows))


def effects(generator, seeds: int, rows: int, by_seed: float, by_example: float, by_both: float):
    """Return normal values [S N] around 0 with the given standard deviations."""
    return (
        by_seed * generator.normal(size=(seeds, 1))
        + by_example * generator.normal(size=rows)
        + by_both * generator.normal(size=(seeds, rows))
    )


def test_score_matches_hand_computed_values():
    """The means of the seeds are 0.5, 1 and 0.25, those of the examples 2/3, 1/3, 2/3, 2/3."""
    estimate = two_way.score(sample([[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]]))
    scores, total = np.array([0.5, 1, 0.25]), 7 / 12
    between_seeds = np.sum((scores - total) ** 2) / 2 / 3
    examples = np.sum((np.array([2, 1, 2, 2]) / 3 - total) ** 2) + 1
    # Total sum of squares: 7 values of 1 and 5 of 0.
    rest = 7 / 12 * 5 / 12 * 12 - 4 * np.sum((scores - total) ** 2) - 3 * (examples - 1)
    interaction = rest / 6 / 12
    assert between_seeds > interaction
    variance = examples / 12 + between_seeds - interaction
    terms = ((examples / 12) ** 2 / 3, between_seeds**2 / 2, interaction**2 / 6)
    assert estimate.mean == pytest.approx(total)
    assert estimate.variance == pytest.approx(variance)
    assert estimate.degrees_of_freedom == pytest.approx(variance**2 / sum(terms))
    assert estimate.standard_deviation == pytest.approx(np.std(scores, ddof=1))
    assert (estimate.seeds, estimate.runs, estimate.failed) == (3, 3, 0)


@pytest.mark.parametrize(
    ("by_seed", "by_example", "by_both"), [(1, 3, 2), (0.1, 10, 1), (3, 0, 1), (1, 1, 5)]
)
def test_variance_is_that_of_the_mean(by_seed, by_example, by_both):
    generator, variances = np.random.default_rng(3), []
    for _ in range(2000):
        values = effects(generator, 5, 40, by_seed, by_example, by_both)
        variances.append(two_way.score(sample(values)).variance - 1 / (40 * 39))
    true = by_seed**2 / 5 + by_example**2 / 40 + by_both**2 / 200
    assert np.mean(variances) == pytest.approx(true, rel=0.05)


def test_variation_of_seeds_alone_gives_students_t_of_the_scores():
    scores = np.array([0.3, 0.5, 0.4, 0.7])
    estimate = two_way.score(sample(np.repeat(scores[:, None], 2000, axis=1)))
    low, high = scipy.stats.t.interval(0.95, 3, scores.mean(), scipy.stats.sem(scores))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-3)


def test_variation_of_examples_alone_gives_the_binomial_variance():
    run = np.arange(1000) % 10 < 7
    for seeds in (1, 4):
        estimate = two_way.score(sample([run] * seeds))
        assert estimate.variance == pytest.approx(0.7 * 0.3 / 999, rel=0.01)
        assert estimate.degrees_of_freedom == pytest.approx(999)


def test_equal_seeds_are_paired():
    generator = np.random.default_rng(0)
    common = effects(generator, 3, 100, 1, 1, 0)
    full, other = (common + effects(generator, 3, 100, 0, 0, 0.1) + mean for mean in (0.3, 0.0))
    paired = two_way.difference(sample(full), sample(other))
    separate = two_way.difference(sample(full), sample(other, first_seed=5))
    assert paired.mean == pytest.approx(separate.mean)
    assert paired.p < 1e-5 and separate.p > 0.1
    differences = two_way.score(sample(full - other))
    assert paired[:5] == pytest.approx(differences[:5])
    assert (paired.runs, separate.runs, paired.seeds) == (6, 6, 3)
    assert paired.limits == (-1, 1)


def test_different_seeds_are_welchs_groups():
    full, other = np.array([0.5, 0.7, 0.9]), np.array([0.2, 0.3, 0.1, 0.4])
    values = [np.repeat(scores[:, None], 4000, axis=1) for scores in (full, other)]
    found = two_way.difference(*map(sample, values))
    welch = scipy.stats.ttest_ind(full, other, equal_var=False)
    assert found.degrees_of_freedom == pytest.approx(welch.df, rel=0.01)
    assert found.p == pytest.approx(welch.pvalue, rel=0.01)
    assert (found.seeds, found.runs) == (3, 7)


def test_splits_have_equal_weights_and_share_the_runs():
    generator = np.random.default_rng(1)
    splits = [binomial_predictions(generator, 0.7, 2, rows).astype(float) for rows in (100, 300)]
    scores = np.mean([split.mean(1) for split in splits], axis=0)
    deviations = [split - split.mean(1, keepdims=True) for split in splits]
    values = two_way.values(scores, deviations)
    np.testing.assert_allclose(values.mean(1), scores)
    one_run = two_way.score(sample(values[:1]))
    expected = sum(np.var(split[0]) / split.shape[1] for split in splits) / 4
    assert one_run.variance == pytest.approx(expected, rel=0.02)
    np.testing.assert_allclose(two_way.values(splits[0].mean(1), deviations[:1]), splits[0])


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("accuracies", [(1, 1), (0, 0), (1, 0)])
def test_constant_runs_have_intervals(seeds, rows, accuracies):
    """Two equal variants, or one that is always right and one that is always wrong."""
    full, other = (sample(np.full((seeds, rows), accuracy)) for accuracy in accuracies)
    score, found = two_way.score(full), two_way.difference(full, other)
    for entry in (score, found):
        assert entry.limits[0] <= entry.low < entry.high <= entry.limits[1]
        assert all(map(math.isfinite, (entry.variance, entry.p, entry.detectable)))
        assert math.isnan(entry.standard_deviation) == (seeds == 1)
    if accuracies == (1, 0):
        assert (found.p < 0.05) == (rows == 100)
    else:
        assert (found.mean, found.p) == (0, 1)
    if rows == 100 and accuracies == (1, 1):
        assert score.low == pytest.approx(1 - 1.98 / 100, abs=1e-3)


def test_one_run_on_one_example_says_nothing():
    score = two_way.score(sample([[1]]))
    assert (score.low, score.high, score.seeds) == (0, 1, 1)


def test_negative_component_leaves_the_variance_of_the_examples():
    """Use seeds with equal scores that err on different examples."""
    values = np.ones((4, 40)) - np.repeat(np.eye(4), 10, axis=1)
    estimate = two_way.score(sample(values))
    assert estimate.standard_deviation == 0
    assert estimate.variance == pytest.approx(1 / (40 * 39))
    assert 0 < estimate.degrees_of_freedom < 39


def test_examples_dominate():
    """Require at most the nominal error, and power for a difference of 9.9 points.

    The smallest detectable difference is an estimate, too; at its median the power is below 0.8.
    """
    scenario = SCENARIOS["examples dominate"]
    equal = simulated_runs.repeat(scenario, 0.0, 600)
    assert 0.01 <= equal.significant <= 0.06 and equal.score_coverage >= 0.93
    assert equal.detectable < 0.07
    assert simulated_runs.repeat(scenario, 0.099, 300).significant >= 0.9
    assert 0.65 <= simulated_runs.repeat(scenario, 0.067, 400).significant <= 0.85


# The fraction of intervals that contain the true value, for the score and for the difference.
COVERAGE = {
    "examples and seeds": (0.90, 0.90),
    "seeds dominate": (0.89, 0.90),
    "interaction dominates": (0.95, 0.96),
    "one seed in five fails": (0.73, 0.95),
    "F1": (0.91, 0.91),
    "Matthews": (0.91, 0.91),
}


@pytest.mark.parametrize("name", COVERAGE)
def test_coverage(name):
    equal = simulated_runs.repeat(SCENARIOS[name], 0.0, 300)
    score, difference = COVERAGE[name]
    assert equal.score_coverage >= score and equal.coverage >= difference


def test_clusters_of_seeds_keep_the_mean_and_count_once():
    generator = np.random.default_rng(0)
    values = {seed: generator.random(8) for seed in range(5)}
    clusters = {seed: seed % 2 for seed in values}
    clustered = two_way.cluster_seeds(values, clusters)
    np.testing.assert_allclose(
        np.mean(list(clustered.values()), axis=0), np.mean(list(values.values()), axis=0)
    )
    assert len(clustered) == 2
    balanced = {seed: values[seed] for seed in range(4)}
    for cluster, row in two_way.cluster_seeds(balanced, clusters).items():
        np.testing.assert_allclose(row, (values[cluster] + values[cluster + 2]) / 2)
    for same in (dict.fromkeys(values, 0), {seed: seed for seed in values}):
        assert two_way.cluster_seeds(values, same) is values


def test_contrast_of_two_samples_is_their_difference():
    generator = np.random.default_rng(1)
    full, other = (sample(generator.integers(0, 2, (3, 50))) for _ in range(2))
    difference = two_way.difference(full, other)
    assert two_way.contrast([full, other], [1, -1]) == difference
    half = two_way.contrast([full, other], [0.5, -0.5])
    assert half.mean == difference.mean / 2 and half.p == pytest.approx(difference.p)
    assert two_way.contrast([full, sample(np.ones((3, 50)), first_seed=5)], [1, -1]) is None


def test_trend_of_unrelated_samples_is_rarely_significant():
    generator, found = np.random.default_rng(2), 0
    for _ in range(200):
        examples = generator.normal(size=60)
        samples = [
            sample(examples + generator.normal(size=(3, 60)) + generator.normal(size=(3, 1)) > 0)
            for _ in range(4)
        ]
        trend = two_way.contrast(samples, [-0.3, -0.1, 0.1, 0.3])
        found += correct_family({0: trend})[0].significant
    assert found <= 20, "5% of 200, and three standard deviations"
