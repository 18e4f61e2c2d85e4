"""Check intervals, p values, detectable differences and Holm's correction.

The references are hand-computed numbers and scipy.
"""

import math

import numpy as np
import pytest
import scipy.stats

from gpt1_jax.analysis.stats import intervals
from gpt1_jax.analysis.stats.intervals import Estimate

PLAIN = Estimate(0.1, 0.0025, 3.5, 0.03, 3, 6, 0, (-1.0, 1.0))


def test_interval_and_p_are_those_of_students_t():
    t = scipy.stats.t(3.5, 0.1, 0.05)
    assert (PLAIN.low, PLAIN.high) == pytest.approx(t.interval(0.95))
    assert PLAIN.p == pytest.approx(2 * t.cdf(0))
    strict = PLAIN._replace(alpha=0.01)
    assert (strict.low, strict.high) == pytest.approx(t.interval(0.99))
    assert strict.p == PLAIN.p


def test_interval_ends_at_the_limits_of_the_metric():
    score = PLAIN._replace(mean=0.98, limits=(0.0, 1.0))
    assert score.high == 1 and score.low == pytest.approx(0.88 + PLAIN.low)
    assert PLAIN._replace(degrees_of_freedom=0.1).low == -1


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3.5, 50, 40_000])
def test_detectable_difference_has_power_0_8(alpha, degrees_of_freedom):
    found = PLAIN._replace(degrees_of_freedom=degrees_of_freedom, alpha=alpha)
    quantile = scipy.stats.t.ppf(1 - alpha / 2, degrees_of_freedom)
    true = scipy.stats.nct(degrees_of_freedom, found.detectable / math.sqrt(found.variance))
    assert true.sf(quantile) == pytest.approx(0.8, abs=1e-4)
    if degrees_of_freedom == 40_000 and alpha == 0.05:
        assert found.detectable == pytest.approx(0.05 * (1.960 + 0.8416), rel=1e-3)


def test_average_matches_hand_computed_values():
    first = Estimate(0.5, 0.03**2, 2, 0.05, 3, 3, 1, (0.0, 1.0))
    second = Estimate(0.9, 0.04**2, 1, 0.12, 2, 2, 0, (-1.0, 1.0))
    average = intervals.average([first, second])
    assert (average.mean, average.standard_deviation) == pytest.approx((0.7, 0.13 / 2))
    assert average.variance == pytest.approx((0.03**2 + 0.04**2) / 4)
    assert average.degrees_of_freedom == pytest.approx(
        (0.03**2 + 0.04**2) ** 2 / (0.03**4 / 2 + 0.04**4 / 1)
    )
    assert (average.seeds, average.runs, average.failed) == (2, 5, 1)
    assert average.limits == (-0.5, 1.0)
    one_seed = second._replace(standard_deviation=math.nan, seeds=1)
    average = intervals.average([first, one_seed])
    assert math.isnan(average.standard_deviation) and average.seeds == 1


def test_holm_matches_hand_computed_values():
    # In order 0.01 x 4, 0.02 x 3, 0.03 x 2 (not less than the one before), 0.5 x 1.
    assert intervals.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert intervals.holm([0.04, 0.04, 0.03]) == pytest.approx([0.09, 0.09, 0.09])
    assert intervals.holm([0.6, 0.7]) == [1, 1]
    assert intervals.holm([0.02]) == [0.02]
    assert intervals.holm([]) == []


def test_family_has_the_level_at_which_holm_stops():
    """Test 0.001 at 0.05 / 3 and 0.02 at 0.05 / 2, and stop at 0.05 / 1 with 0.2."""
    means = {name: PLAIN._replace(mean=0.05 * t) for name, t in zip("abc", (3, 9, 1), strict=True)}
    corrected = intervals.correct_family(means)
    assert list(corrected) == list(means)
    p = {name: 2 * scipy.stats.t.sf(t, 3.5) for name, t in zip("abc", (3, 9, 1), strict=True)}
    assert p["b"] < 0.05 / 3 and 0.05 / 2 < p["a"] < 0.05
    for name, factor in (("a", 2), ("b", 3)):
        assert corrected[name].p_corrected == pytest.approx(factor * p[name])
    assert {entry.alpha for entry in corrected.values()} == {0.05 / 2}
    assert [entry.significant for entry in corrected.values()] == [False, True, False]
    assert not PLAIN._replace(mean=9.0).significant, "only a corrected family has a verdict"


def test_interval_and_corrected_p_give_one_verdict():
    generator, verdicts = np.random.default_rng(0), set()
    for size in range(1, 200):
        family = {
            number: PLAIN._replace(
                mean=0.05 * generator.normal(scale=4),
                degrees_of_freedom=generator.uniform(1, 300),
            )
            for number in range(size % 13 + 1)
        }
        for entry in intervals.correct_family(family).values():
            assert entry.significant == (entry.p_corrected < 0.05)
            assert entry.significant == (not entry.low <= 0 <= entry.high)
            assert entry.p <= entry.p_corrected <= 1
            verdicts.add((entry.significant, entry.p < 0.05))
    assert verdicts == {(True, True), (False, True), (False, False)}


def test_order_of_tiny_p_values_does_not_hide_a_finding():
    family = {t: PLAIN._replace(mean=0.05 * t, degrees_of_freedom=9e4) for t in (90, 95, 0.1)}
    found = intervals.correct_family(family)
    assert [entry.significant for entry in found.values()] == [True, True, False]
    assert all(entry.p > 0 for entry in found.values())
