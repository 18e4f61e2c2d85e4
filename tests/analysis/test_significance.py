"""Check corrections and tests against hand-computed numbers and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
from simulated_runs import related_predictions

from gpt1_jax.analysis.stats import significance
from gpt1_jax.analysis.stats.intervals import Difference


def test_holm_matches_hand_computed_values():
    # In order 0.01 x 4, 0.02 x 3, 0.03 x 2 (not less than the one before), 0.5 x 1.
    assert significance.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert significance.holm([0.04, 0.04, 0.03]) == pytest.approx([0.09, 0.09, 0.09])
    assert significance.holm([0.6, 0.7]) == [1, 1]
    assert significance.holm([0.02]) == [0.02]
    assert significance.holm([]) == []


def test_family_is_corrected_together():
    plain = Difference(0.1, 0, 0.2, 0.01, math.nan, (), 0.1, 3)
    family = {("rte", "lstm"): plain._replace(p=0.04), ("rte", "no_aux_lm"): plain}
    corrected = significance.correct_family(family)
    assert list(corrected) == list(family)
    assert [entry.p_holm for entry in corrected.values()] == pytest.approx([0.04, 0.02])
    assert [entry.p for entry in corrected.values()] == [0.04, 0.01]


def test_mcnemar_is_the_binomial_test_of_the_discordant_examples():
    generator = np.random.default_rng(4)
    labels, runs = related_predictions("accuracy", generator, 60, 6)
    full, variant = {0: runs[0], 1: runs[1], 5: runs[2]}, {5: runs[3], 0: runs[4], 7: runs[5]}
    expected = []
    for full_run, variant_run in ((runs[0], runs[4]), (runs[2], runs[3])):  # seeds 0 and 5
        only_full = int(np.sum((full_run == labels) & (variant_run != labels)))
        only_variant = int(np.sum((full_run != labels) & (variant_run == labels)))
        expected.append(scipy.stats.binomtest(only_full, only_full + only_variant).pvalue)
    assert significance.mcnemar(labels, full, variant) == pytest.approx(tuple(expected))
    assert significance.mcnemar(labels, full, full) == (1, 1, 1)
    assert significance.mcnemar(labels, {0: labels}, {0: 1 - labels}) == pytest.approx(
        (2 * 0.5**60,), rel=1e-9
    )
    assert significance.mcnemar(labels, full, {9: runs[0]}) == ()
