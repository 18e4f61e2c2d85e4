"""Check intervals and differences against theory, hand-computed numbers and simulations.

Every simulation has its own seed, so it gives the same numbers each time. The bounds leave three
standard errors.
"""

import math

import numpy as np
import pytest
from simulated_runs import binomial_predictions, related_predictions

from gpt1_jax.analysis.stats import bootstrap, intervals


def estimate(labels, runs, replicates) -> intervals.Estimate:
    return intervals.estimate((runs == labels).mean(1), replicates)


def compare(full, variant, labels, seed: int = 0, count: int = 1000) -> intervals.Difference:
    replicates = bootstrap.replicates(
        "accuracy", labels, {"full": full, "variant": variant}, count, seed
    )
    return intervals.difference(
        estimate(labels, full, replicates["full"]),
        estimate(labels, variant, replicates["variant"]),
        replicates["full"],
        replicates["variant"],
    )


@pytest.mark.parametrize(
    ("seeds", "identical", "low", "high"),
    [(1, True, 0.92, 0.98), (3, True, 0.92, 0.98), (3, False, 0.98, 1.0)],
    ids=["one seed", "identical seeds", "seeds that err independently"],
)
def test_coverage_of_a_binomial_accuracy(seeds, identical, low, high):
    generator = np.random.default_rng(7)
    labels, covered = np.ones(200, int), 0
    for simulation in range(400):
        runs = binomial_predictions(generator, 0.7, 1 if identical else seeds, 200)
        runs = np.repeat(runs, seeds // len(runs), axis=0)
        replicates = bootstrap.replicates("accuracy", labels, {"full": runs}, 400, simulation)
        cell = estimate(labels, runs, replicates["full"])
        covered += cell.low <= 0.7 <= cell.high
    assert low <= covered / 400 <= high


@pytest.mark.parametrize(("seeds", "coverage"), [(2, 0.52), (3, 0.76), (5, 0.87)])
def test_few_seeds_give_unbiased_variances_and_narrow_intervals(seeds, coverage):
    """Vary only the runs: the variance is s^2 / S, where s^2 divides by S - 1.

    The module's docstring states the coverage.
    """
    generator = np.random.default_rng(5)
    variances, means, covered = [], [], 0
    for simulation in range(1000):
        scores = generator.normal(size=seeds)
        replicates = bootstrap.seed_weights(simulation, "full", 500, seeds) @ scores
        cell = intervals.estimate(scores, replicates)
        variances.append(replicates.var())
        means.append(cell.mean)
        covered += cell.low <= 0 <= cell.high
        assert cell.standard_deviation == pytest.approx(
            math.sqrt(np.sum((scores - scores.mean()) ** 2) / (seeds - 1))
        )
    # S draws instead of S - 1 would give (S - 1) / S of this variance.
    assert np.mean(variances) == pytest.approx(1 / seeds, rel=0.15)
    assert np.var(means) == pytest.approx(1 / seeds, rel=0.15)
    assert covered / 1000 == pytest.approx(coverage, abs=0.05)


def test_one_seed_has_no_standard_deviation():
    labels, runs = related_predictions("accuracy", np.random.default_rng(0), 100, 1)
    replicates = bootstrap.replicates("accuracy", labels, {"full": runs})
    cell = estimate(labels, runs, replicates["full"])
    assert math.isnan(cell.standard_deviation) and cell.seeds == 1
    assert cell.low < cell.mean < cell.high
    # With one seed the interval is the normal interval of a binomial proportion.
    assert cell.high - cell.low == pytest.approx(
        2 * 1.96 * math.sqrt(cell.mean * (1 - cell.mean) / 100), rel=0.1
    )


def test_average_matches_hand_computed_values():
    cells = [intervals.Estimate(0.5, 0.03, 0, 1, 3, 2), intervals.Estimate(0.9, 0.04, 0, 1, 2, 1)]
    generator = np.random.default_rng(0)
    replicates = [generator.normal(0.5, 0.03, 100_000), generator.normal(0.9, 0.04, 100_000)]
    average, mean_replicates = intervals.average(cells, replicates)
    assert (average.mean, average.standard_deviation, average.seeds) == pytest.approx(
        (0.7, 0.025, 2)
    )
    assert (average.low, average.high) == pytest.approx(
        (0.7 - 1.96 * 0.025, 0.7 + 1.96 * 0.025), abs=0.001
    )
    assert average.degrees_of_freedom == pytest.approx(
        (0.03**2 + 0.04**2) ** 2 / (0.03**4 / 2 + 0.04**4 / 1), rel=0.02
    )
    np.testing.assert_allclose(mean_replicates, (replicates[0] + replicates[1]) / 2)
    one_seed = cells[1]._replace(standard_deviation=math.nan, seeds=1)
    average, _ = intervals.average([cells[0], one_seed], replicates)
    assert math.isnan(average.standard_deviation) and average.seeds == 1


def test_differences_are_paired_by_example():
    """Compare two models that err on nearly the same examples, with shared and separate draws."""
    generator = np.random.default_rng(2)
    labels = np.ones(500, int)
    full = binomial_predictions(generator, 0.7, 1, 500)
    variant = np.where(generator.random((1, 500)) < 0.05, 0, full)
    paired = compare(full, variant, labels)
    separate = [
        bootstrap.replicates("accuracy", labels, {"full": runs}, 1000, seed)["full"]
        for seed, runs in enumerate((full, variant))
    ]
    unpaired = intervals.difference(
        estimate(labels, full, separate[0]), estimate(labels, variant, separate[1]), *separate
    )
    assert paired.mean == unpaired.mean == pytest.approx((full.sum() - variant.sum()) / 500)
    assert paired.high - paired.low < 0.4 * (unpaired.high - unpaired.low)
    assert paired.detectable < 0.4 * unpaired.detectable
    assert paired.p < 0.05 < unpaired.p


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_identical_variants_do_not_differ(seeds):
    labels, runs = related_predictions("accuracy", np.random.default_rng(seeds), 101, 1)
    runs = np.repeat(runs, seeds, axis=0)
    difference = compare(runs, runs, labels)
    assert (difference.mean, difference.p) == (0, 1)
    assert (difference.low, difference.high) == pytest.approx((0, 0), abs=1e-12)
    # The runs are drawn for each side, so the replicates differ if the seeds do.
    mixed = related_predictions("accuracy", np.random.default_rng(seeds), 101, seeds)[1]
    assert compare(mixed, mixed, labels).p > 0.8


def test_p_is_never_zero_and_agrees_with_the_interval():
    labels = np.ones(100, int)
    assert compare(np.ones((3, 100), int), np.zeros((3, 100), int), labels).p == 1 / 1001
    generator = np.random.default_rng(3)
    results = set()
    for simulation in range(100):
        full, variant = (binomial_predictions(generator, rate, 1, 100) for rate in (0.8, 0.7))
        difference = compare(full, variant, labels, simulation)
        if abs(difference.p - 0.05) > 0.01:
            includes_zero = difference.low <= 0 <= difference.high
            assert (difference.p < 0.05) == (not includes_zero)
            results.add(difference.p < 0.05)
    assert results == {True, False}


@pytest.mark.parametrize(
    ("times", "low", "high"), [(0, 0.01, 0.09), (1, 0.73, 0.87)], ids=["false positives", "power"]
)
def test_detectable_difference_has_power_0_8(times, low, high):
    """Simulate one seed for each side, accuracies around 0.7 and 400 examples."""
    generator = np.random.default_rng(11)
    labels, positives = np.ones(400, int), 0
    true = times * (1.96 + 0.8416) * math.sqrt(2 * 0.7 * 0.3 / 400)
    detectable = []
    for simulation in range(300):
        full = binomial_predictions(generator, 0.7 + true / 2, 1, 400)
        variant = binomial_predictions(generator, 0.7 - true / 2, 1, 400)
        difference = compare(full, variant, labels, simulation, 400)
        positives += difference.p <= 0.05
        detectable.append(difference.detectable)
    assert low <= positives / 300 <= high
    assert not times or np.mean(detectable) == pytest.approx(true, rel=0.05)


def test_detectable_difference_matches_hand_computed_values():
    generator = np.random.default_rng(0)
    full, variant = generator.normal(0.8, 0.03, 100_000), generator.normal(0.7, 0.04, 100_000)

    def difference(full_seeds, variant_seeds):
        return intervals.difference(
            intervals.Estimate(0.8, 0, 0, 1, full_seeds, full_seeds - 1),
            intervals.Estimate(0.7, 0, 0, 1, variant_seeds, variant_seeds - 1),
            full,
            variant,
        )

    # Quantiles of Student's t from a table: 97.5% and 80%. With one seed they are normal.
    assert difference(3, 3).detectable == pytest.approx(0.05 * (4.303 + 1.061), rel=0.01)
    assert difference(10, 2).detectable == pytest.approx(0.05 * (12.706 + 1.376), rel=0.01)
    assert difference(10, 10).detectable == pytest.approx(0.05 * (2.262 + 0.883), rel=0.01)
    assert difference(1, 3).detectable == pytest.approx(0.05 * (1.960 + 0.842), rel=0.01)
    assert difference(1, 3).seeds == 1
