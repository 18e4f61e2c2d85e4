"""Check which examples and runs the replicates share, and that their means are right.

Every simulation has its own seed, so it gives the same numbers each time.
"""

import numpy as np
import pytest
from simulated_runs import related_predictions

from gpt1_jax.analysis.stats import bootstrap
from gpt1_jax.analysis.stats.metrics import METRICS

# Runs that are right or wrong throughout show which runs were drawn.
CONSTANT_RUNS = np.repeat([[1], [0], [0]], 60, axis=1)
# Identical runs show which examples were drawn.
IDENTICAL_RUNS = np.repeat(np.arange(60)[None] % 2, 3, axis=0)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return np.corrcoef(first, second)[0, 1]


@pytest.mark.parametrize("metric", METRICS)
def test_variants_may_have_different_numbers_of_seeds(metric):
    generator = np.random.default_rng(1)
    labels, runs = related_predictions(metric, generator, 300, 6)
    variants = {"one": runs[:1], "two": runs[1:3], "three": runs[3:]}
    replicates = bootstrap.replicates(metric, labels, variants, 500, 3)
    for name, variant_runs in variants.items():
        assert replicates[name].shape == (500,)
        assert replicates[name].mean() == pytest.approx(
            np.mean([METRICS[metric](labels, run) for run in variant_runs]), abs=0.01
        )
        assert 0.005 < replicates[name].std() < 0.1


@pytest.mark.parametrize("metric", METRICS)
def test_replicates_do_not_depend_on_other_variants(metric):
    generator = np.random.default_rng(1)
    labels, runs = related_predictions(metric, generator, 300, 6)
    variants = {"one": runs[:1], "two": runs[1:3], "three": runs[3:]}
    replicates = bootstrap.replicates(metric, labels, variants, 500, 3)
    fewer = {"three": runs[3:], "two": runs[1:3]}
    for name, values in bootstrap.replicates(metric, labels, fewer, 500, 3).items():
        np.testing.assert_allclose(values, replicates[name], rtol=1e-9)


def test_variants_share_examples_but_not_runs():
    labels = np.ones(60, int)

    def correlation_of_two_variants(runs):
        variants = {"full": runs, "lstm": runs}
        return correlation(*bootstrap.replicates("accuracy", labels, variants).values())

    assert correlation_of_two_variants(IDENTICAL_RUNS) == pytest.approx(1)
    assert abs(correlation_of_two_variants(CONSTANT_RUNS)) < 0.07


def test_blocks_do_not_change_the_replicates(monkeypatch):
    labels, runs = related_predictions("accuracy", np.random.default_rng(1), 30, 3)
    replicates = bootstrap.replicates("accuracy", labels, {"full": runs}, 100)["full"]
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 30)
    np.testing.assert_array_equal(
        bootstrap.replicates("accuracy", labels, {"full": runs}, 100)["full"], replicates
    )


@pytest.mark.parametrize("predictions", [np.ones(3), np.ones((2, 4)), np.ones((0, 3))])
def test_predictions_of_another_shape_are_refused(predictions):
    with pytest.raises(ValueError, match="no_aux_lm: predictions have shape .* 3 labels"):
        bootstrap.replicates("accuracy", np.ones(3), {"no_aux_lm": predictions})


def test_tasks_are_independent_and_splits_of_one_task_share_runs():
    labels = np.ones(60, int)
    rte, wnli = (bootstrap.task_seed(task) for task in ("rte", "wnli"))

    def draw(labels, runs, seed):
        return bootstrap.replicates("accuracy", labels, {"full": runs}, 2000, seed)["full"]

    rte_runs = draw(labels, CONSTANT_RUNS, rte)
    np.testing.assert_array_equal(rte_runs, draw(labels[:50], CONSTANT_RUNS[:, :50], rte))
    assert abs(correlation(rte_runs, draw(labels, CONSTANT_RUNS, wnli))) < 0.07
    rte_examples = draw(labels, IDENTICAL_RUNS, rte)
    other_split = draw(1 - labels, 1 - IDENTICAL_RUNS, rte)
    assert abs(correlation(rte_examples, other_split)) < 0.07
    assert abs(correlation(rte_examples, draw(labels, IDENTICAL_RUNS, wnli))) < 0.07
