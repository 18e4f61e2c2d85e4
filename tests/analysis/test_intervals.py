"""Intervals, differences and failed runs, against theory, hand-worked numbers, scipy and simulation.

Every simulation has its own seed, so it comes out the same each time; its bounds leave three standard errors.
"""

import math

import numpy as np
import pytest
import scipy.stats

from gpt1_jax.analysis.stats import intervals
from gpt1_jax.analysis.stats.metrics import METRICS, weighted

CLASS_METRICS = ("accuracy", "f1", "matthews")


def sample(
    metric: str, generator, rows: int, runs: int, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N] and answers [S N] that are related, with ties where the metric ranks."""
    if metric in CLASS_METRICS:
        labels = generator.integers(classes, size=rows)
        guesses = generator.integers(classes, size=(runs, rows))
        return labels, np.where(generator.random((runs, rows)) < 0.5, labels, guesses)
    labels = generator.integers(26, size=rows) / 5
    return labels, labels + generator.normal(size=(runs, rows)).round(1)


def cell(labels, runs, draws) -> intervals.Estimate:
    return intervals.estimate((runs == labels).mean(1), draws)


def correct(generator, chance, runs: int, rows: int) -> np.ndarray:
    """Answers to labels that are all 1."""
    return (generator.random((runs, rows)) < chance).astype(int)


def compare(full, variant, labels, seed: int = 0, count: int = 1000) -> intervals.Difference:
    draws = intervals.replicates(
        "accuracy", labels, {"full": full, "variant": variant}, count, seed
    )
    return intervals.difference(
        cell(labels, full, draws["full"]),
        cell(labels, variant, draws["variant"]),
        draws["full"],
        draws["variant"],
    )


@pytest.mark.parametrize(
    ("metric", "classes"),
    [("accuracy", 3), ("f1", 2), ("matthews", 2), ("matthews", 4), ("pearson", 0)],
)
def test_weights_are_repeated_rows(metric, classes):
    generator = np.random.default_rng(0)
    labels, answers = sample(metric, generator, 40, 3, classes)
    weights = generator.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    found = weighted(metric, labels, answers, weights)
    assert found.shape == (20, 3)
    for row, drawn in zip(found, weights.astype(int), strict=True):
        expected = [
            METRICS[metric](np.repeat(labels, drawn), np.repeat(run, drawn)) for run in answers
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-12)


def test_spearman_is_pearson_of_the_ranks_among_all():
    generator = np.random.default_rng(0)
    labels, answers = sample("spearman", generator, 400, 3)
    whole = weighted("spearman", labels, answers, np.ones((1, 400)))[0]
    np.testing.assert_allclose(
        whole, [METRICS["spearman"](labels, run) for run in answers], rtol=1e-9
    )
    weights = generator.multinomial(400, np.full(400, 1 / 400), size=20).astype(float)
    found = weighted("spearman", labels, answers, weights)
    ranks = scipy.stats.rankdata(labels), scipy.stats.rankdata(answers, axis=1)
    for row, drawn in zip(found, weights.astype(int), strict=True):
        rows = np.repeat(np.arange(400), drawn)
        np.testing.assert_allclose(
            row, [METRICS["pearson"](ranks[0][rows], run[rows]) for run in ranks[1]], rtol=1e-9
        )
        np.testing.assert_allclose(
            row, [METRICS["spearman"](labels[rows], run[rows]) for run in answers], atol=0.01
        )


@pytest.mark.parametrize("side", ["labels", "answers", "both"])
@pytest.mark.parametrize(
    ("metric", "constant"),
    [*((name, whole) for name in METRICS for whole in (0, 1)), ("pearson", 0.1)],
)
def test_weights_where_one_side_is_constant(metric, side, constant):
    other = np.array([0, 1, 1, 0, 1])
    same = np.full(5, constant)
    labels, answers = (same if side in (who, "both") else other for who in ("labels", "answers"))
    weights = np.array([[1.0, 1, 1, 1, 1], [3, 0, 0, 2, 0], [0, 1, 1, 0, 3]])
    found = weighted(metric, labels, answers[None], weights)
    expected = [
        METRICS[metric]([*np.repeat(labels, drawn)], [*np.repeat(answers, drawn)])
        for drawn in weights.astype(int)
    ]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def test_draws_that_left_out_the_one_answer_that_varies():
    """Without it the correlation does not exist, whatever rounding leaves of the variance."""
    generator = np.random.default_rng(0)
    labels, answers = np.arange(50.0), np.full((1, 50), 3.3)
    answers[0, 7] += 0.001
    weights = generator.multinomial(50, np.full(50, 1 / 50), size=200)
    found = weighted("pearson", labels, answers, weights.astype(float))[:, 0]
    expected = [
        METRICS["pearson"](np.repeat(labels, drawn), np.repeat(answers[0], drawn))
        for drawn in weights
    ]
    assert 50 < expected.count(0.0) < 100
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_replicates_of_variants_with_different_numbers_of_seeds(metric):
    generator = np.random.default_rng(1)
    labels, runs = sample(metric, generator, 300, 6)
    draws = intervals.replicates(
        metric, labels, {"one": runs[:1], "two": runs[1:3], "three": runs[3:]}, 500, 3
    )
    for name, own in (("one", runs[:1]), ("two", runs[1:3]), ("three", runs[3:])):
        assert draws[name].shape == (500,)
        assert draws[name].mean() == pytest.approx(
            np.mean([METRICS[metric](labels, run) for run in own]), abs=0.01
        )
        assert 0.005 < draws[name].std() < 0.1
    again = intervals.replicates(metric, labels, {"three": runs[3:], "two": runs[1:3]}, 500, 3)
    for name in again:  # whoever else is there
        np.testing.assert_allclose(again[name], draws[name], rtol=1e-9)


def test_variants_share_the_draws_of_examples_but_not_of_runs():
    labels = np.ones(60, int)
    correlation = lambda answers: np.corrcoef(
        *intervals.replicates("accuracy", labels, {"full": answers, "lstm": answers}).values()
    )[0, 1]
    assert correlation(np.repeat(np.arange(60)[None] % 2, 3, axis=0)) == pytest.approx(1)
    assert abs(correlation(np.repeat([[1], [0], [0]], 60, axis=1))) < 0.07


def test_memory_is_spent_in_blocks(monkeypatch):
    labels, runs = sample("accuracy", np.random.default_rng(1), 30, 3)
    whole = intervals.replicates("accuracy", labels, {"full": runs}, 100)["full"]
    monkeypatch.setattr(intervals, "_BLOCK", 7 * 30)
    np.testing.assert_array_equal(
        intervals.replicates("accuracy", labels, {"full": runs}, 100)["full"], whole
    )


@pytest.mark.parametrize("answers", [np.ones(3), np.ones((2, 4)), np.ones((0, 3))])
def test_answers_that_do_not_fit_the_labels(answers):
    with pytest.raises(ValueError, match="no_aux_lm: answers .* to 3 labels"):
        intervals.replicates("accuracy", np.ones(3), {"no_aux_lm": answers})


def test_tasks_are_drawn_apart_and_splits_of_one_run_share_the_runs():
    """Runs that are right or wrong throughout show which were drawn, examples that all runs share which rows were."""
    labels = np.ones(60, int)
    runs = np.repeat([[1], [0], [0]], 60, axis=1)
    rte, wnli = (intervals.task_seed(task) for task in ("rte", "wnli"))
    draw = lambda labels, runs, seed: intervals.replicates(
        "accuracy", labels, {"full": runs}, 2000, seed
    )["full"]
    np.testing.assert_array_equal(draw(labels, runs, rte), draw(labels[:50], runs[:, :50], rte))
    assert abs(np.corrcoef(draw(labels, runs, rte), draw(labels, runs, wnli))[0, 1]) < 0.07
    rows = np.repeat(np.arange(60)[None] % 2, 3, axis=0)
    assert abs(np.corrcoef(draw(labels, rows, rte), draw(1 - labels, 1 - rows, rte))[0, 1]) < 0.07
    assert abs(np.corrcoef(draw(labels, rows, rte), draw(labels, rows, wnli))[0, 1]) < 0.07


@pytest.mark.parametrize(
    ("seeds", "shared", "low", "high"),
    [(1, True, 0.92, 0.98), (3, True, 0.92, 0.98), (3, False, 0.98, 1.0)],
    ids=["one seed", "seeds that agree", "seeds that err independently"],
)
def test_coverage_of_a_binomial_accuracy(seeds, shared, low, high):
    generator = np.random.default_rng(7)
    labels, hits = np.ones(200, int), 0
    for simulation in range(400):
        runs = correct(generator, 0.7, 1 if shared else seeds, 200)
        runs = np.repeat(runs, seeds // len(runs), axis=0)
        found = cell(
            labels,
            runs,
            intervals.replicates("accuracy", labels, {"full": runs}, 400, simulation)["full"],
        )
        hits += found.low <= 0.7 <= found.high
    assert low <= hits / 400 <= high


@pytest.mark.parametrize(("seeds", "coverage"), [(2, 0.52), (3, 0.76), (5, 0.87)])
def test_few_seeds_give_the_right_variance_and_too_narrow_intervals(seeds, coverage):
    """Runs that are all that varies, all examples being alike: the variance is s squared over S, with S - 1 under s."""
    generator = np.random.default_rng(5)
    variances, means, hits = [], [], 0
    for simulation in range(1000):
        scores = generator.normal(size=seeds)
        draws = intervals._runs(simulation, "full", 500, seeds) @ scores
        found = intervals.estimate(scores, draws)
        variances.append(draws.var())
        means.append(found.mean)
        hits += found.low <= 0 <= found.high
        assert found.spread == pytest.approx(
            math.sqrt(np.sum((scores - scores.mean()) ** 2) / (seeds - 1))
        )
    assert np.mean(variances) == pytest.approx(
        1 / seeds, rel=0.15
    )  # all S draws would give (S - 1) / S of it
    assert np.var(means) == pytest.approx(1 / seeds, rel=0.15)
    assert hits / 1000 == pytest.approx(coverage, abs=0.05)  # what the module's page warns of


def test_one_seed_has_no_spread():
    labels, runs = sample("accuracy", np.random.default_rng(0), 100, 1)
    found = cell(labels, runs, intervals.replicates("accuracy", labels, {"full": runs})["full"])
    assert math.isnan(found.spread) and found.seeds == 1
    assert found.low < found.mean < found.high
    # The normal interval of a binomial share: what is left with one seed.
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * math.sqrt(found.mean * (1 - found.mean) / 100), rel=0.1
    )


def test_average_of_tasks():
    cells = [intervals.Estimate(0.5, 0.03, 0, 1, 3, 2), intervals.Estimate(0.9, 0.04, 0, 1, 2, 1)]
    generator = np.random.default_rng(0)
    draws = [generator.normal(0.5, 0.03, 100_000), generator.normal(0.9, 0.04, 100_000)]
    found, together = intervals.average(cells, draws)
    assert (found.mean, found.spread, found.seeds) == pytest.approx((0.7, 0.025, 2))
    assert (found.low, found.high) == pytest.approx(
        (0.7 - 1.96 * 0.025, 0.7 + 1.96 * 0.025), abs=0.001
    )
    assert found.freedom == pytest.approx(
        (0.03**2 + 0.04**2) ** 2 / (0.03**4 / 2 + 0.04**4 / 1), rel=0.02
    )
    np.testing.assert_allclose(together, (draws[0] + draws[1]) / 2)
    alone, _ = intervals.average([cells[0], cells[1]._replace(spread=math.nan, seeds=1)], draws)
    assert math.isnan(alone.spread) and alone.seeds == 1


def test_differences_are_paired_by_example():
    """Two models that err on nearly the same examples differ by less than two that are drawn apart."""
    generator = np.random.default_rng(2)
    labels = np.ones(500, int)
    full = correct(generator, 0.7, 1, 500)
    variant = np.where(generator.random((1, 500)) < 0.05, 0, full)
    paired = compare(full, variant, labels)
    apart = [
        intervals.replicates("accuracy", labels, {"full": runs}, 1000, seed)["full"]
        for seed, runs in enumerate((full, variant))
    ]
    unpaired = intervals.difference(
        cell(labels, full, apart[0]), cell(labels, variant, apart[1]), *apart
    )
    assert paired.mean == unpaired.mean == pytest.approx((full.sum() - variant.sum()) / 500)
    assert paired.high - paired.low < 0.4 * (unpaired.high - unpaired.low)
    assert paired.detectable < 0.4 * unpaired.detectable
    assert paired.p < 0.05 < unpaired.p


@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_identical_variants(seeds):
    labels, runs = sample("accuracy", np.random.default_rng(seeds), 101, 1)
    runs = np.repeat(runs, seeds, axis=0)
    found = compare(runs, runs, labels)
    assert (found.mean, found.p) == (0, 1)
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)
    mixed = sample("accuracy", np.random.default_rng(seeds), 101, seeds)[1]
    assert compare(mixed, mixed, labels).p > 0.8  # the runs are drawn for each side


def test_p_is_never_zero_and_agrees_with_the_interval():
    labels = np.ones(100, int)
    assert compare(np.ones((3, 100), int), np.zeros((3, 100), int), labels).p == 1 / 1001
    generator = np.random.default_rng(3)
    significant = set()
    for simulation in range(100):
        found = compare(
            correct(generator, 0.8, 1, 100), correct(generator, 0.7, 1, 100), labels, simulation
        )
        if abs(found.p - 0.05) > 0.01:
            assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
            significant.add(found.p < 0.05)
    assert significant == {True, False}


@pytest.mark.parametrize(
    ("times", "low", "high"), [(0, 0.01, 0.09), (1, 0.73, 0.87)], ids=["false positives", "power"]
)
def test_as_many_are_found_as_detectable_says(times, low, high):
    """One seed each, accuracies around 0.7 and 400 examples: the true difference that 80% of experiments should find."""
    generator = np.random.default_rng(11)
    labels, found = np.ones(400, int), 0
    true = times * (1.96 + 0.8416) * math.sqrt(2 * 0.7 * 0.3 / 400)
    detectable = []
    for simulation in range(300):
        one = compare(
            correct(generator, 0.7 + true / 2, 1, 400),
            correct(generator, 0.7 - true / 2, 1, 400),
            labels,
            simulation,
            400,
        )
        found += one.p <= 0.05
        detectable.append(one.detectable)
    assert low <= found / 300 <= high
    assert not times or np.mean(detectable) == pytest.approx(true, rel=0.05)


def test_detectable_by_hand():
    generator = np.random.default_rng(0)
    full, variant = generator.normal(0.8, 0.03, 100_000), generator.normal(0.7, 0.04, 100_000)
    sides = lambda seeds, others: [
        intervals.Estimate(mean, 0, 0, 1, n, n - 1) for mean, n in ((0.8, seeds), (0.7, others))
    ]
    detectable = lambda *seeds: intervals.difference(*sides(*seeds), full, variant).detectable
    # Quantiles of Student's t from a table: 97.5% and 80%; a normal one with one seed.
    assert detectable(3, 3) == pytest.approx(0.05 * (4.303 + 1.061), rel=0.01)
    assert detectable(10, 2) == pytest.approx(0.05 * (12.706 + 1.376), rel=0.01)
    assert detectable(10, 10) == pytest.approx(0.05 * (2.262 + 0.883), rel=0.01)
    assert detectable(1, 3) == pytest.approx(0.05 * (1.960 + 0.842), rel=0.01)
    assert intervals.difference(*sides(1, 3), full, variant).seeds == 1


def test_holm_by_hand():
    # In order 0.01 x 4, 0.02 x 3, 0.03 x 2 which is no less than the one before, 0.5 x 1.
    assert intervals.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert intervals.holm([0.04, 0.04, 0.03]) == pytest.approx([0.09, 0.09, 0.09])
    assert intervals.holm([0.6, 0.7]) == [1, 1]
    assert intervals.holm([0.02]) == [0.02]
    assert intervals.holm([]) == []


def test_a_family_is_corrected_together():
    plain = intervals.Difference(0.1, 0, 0.2, 0.01, math.nan, (), 0.1, 3)
    family = {("rte", "lstm"): plain._replace(p=0.04), ("rte", "no_aux_lm"): plain}
    found = intervals.corrected(family)
    assert list(found) == list(family)
    assert [entry.p_holm for entry in found.values()] == pytest.approx([0.04, 0.02])
    assert [entry.p for entry in found.values()] == [0.04, 0.01]


def test_mcnemar_is_the_binomial_test_of_the_discordant():
    generator = np.random.default_rng(4)
    labels, runs = sample("accuracy", generator, 60, 6)
    full, variant = {0: runs[0], 1: runs[1], 5: runs[2]}, {5: runs[3], 0: runs[4], 7: runs[5]}
    expected = []
    for ours, theirs in ((runs[0], runs[4]), (runs[2], runs[3])):  # seeds 0 and 5
        alone = (
            int(np.sum((ours == labels) & (theirs != labels))),
            int(np.sum((ours != labels) & (theirs == labels))),
        )
        expected.append(scipy.stats.binomtest(alone[0], sum(alone)).pvalue)
    assert intervals.mcnemar(labels, full, variant) == pytest.approx(tuple(expected))
    assert intervals.mcnemar(labels, full, full) == (1, 1, 1)
    assert intervals.mcnemar(labels, {0: labels}, {0: 1 - labels}) == pytest.approx(
        (2 * 0.5**60,), rel=1e-9
    )
    assert intervals.mcnemar(labels, full, {9: runs[0]}) == ()


def classifier(generator, rows: int, signal: float, classes: int = 2, confidence: float = 1.0):
    """Labels, answers, probabilities of a model that knows `signal` of the label."""
    labels = generator.integers(classes, size=rows)
    scores = confidence * (
        signal * np.eye(classes)[labels] + generator.normal(size=(rows, classes))
    )
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return labels, probabilities.argmax(1), probabilities


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_runs_at_chance(classes):
    generator = np.random.default_rng(6)
    said = [intervals.degenerate(*classifier(generator, 300, 0, classes, 0.1)) for _ in range(200)]
    assert set(said) <= {"", "loss at chance"}
    assert (
        said.count("loss at chance") >= 0.9 * 200
    )  # each of the two allowances lets some lucky ones through


@pytest.mark.parametrize("confidence", [0.1, 1.0, 5.0], ids=["unsure", "fair", "too sure"])
def test_runs_that_have_learnt(confidence):
    labels, answers, probabilities = classifier(np.random.default_rng(6), 300, 1.0, 2, confidence)
    assert intervals.degenerate(labels, answers, probabilities) == ""
    loss = -np.log(probabilities[np.arange(300), labels]).mean()
    assert (loss > math.log(2)) == (confidence == 5.0)  # there only the answers speak for it


def test_constant_predictions():
    labels = np.array([0, 1, 1, 0])
    assert (
        intervals.degenerate(labels, np.ones(4, int), np.full((4, 2), 0.5)) == "constant prediction"
    )
    assert intervals.degenerate(labels, np.array([0, 1, 1, 1]), None) == ""
    assert (
        intervals.degenerate(labels, np.array([2.31, 2.31, 2.31, 2.31]), np.zeros((4, 0)))
        == "constant prediction"
    )
    assert (
        intervals.degenerate(np.ones(4), np.ones(4), np.full((4, 2), 0.5)) == ""
    )  # nothing to tell apart


def test_graded_runs():
    """Scores from 0 to 5: probabilities that follow them by a soft distance, and the same of other rows."""
    generator = np.random.default_rng(8)
    labels = generator.integers(26, size=300) / 5
    closeness = np.exp(-np.abs(labels[:, None] + generator.normal(size=(300, 1)) - np.arange(6)))
    probabilities = closeness / closeness.sum(1, keepdims=True)
    answers = probabilities @ np.arange(6)
    assert intervals.degenerate(labels, answers, probabilities) == ""
    other = np.roll(probabilities, 100, axis=0)
    assert intervals.degenerate(labels, other @ np.arange(6), other) == "loss at chance"
    assert intervals.degenerate(labels, answers, np.zeros((300, 0))) == ""


def test_probabilities_may_know_what_answers_hide():
    """As on unbalanced classes: hardly an answer is of the rare class, but its rows get more of the probability."""
    labels = np.arange(200) % 10 == 0
    rare = np.where(labels, 0.4, 0.07)
    rare[1] = 0.6
    probabilities = np.stack([1 - rare, rare], axis=1)
    assert METRICS["matthews"](labels, rare > 0.5) < 0
    assert intervals.degenerate(labels, rare > 0.5, probabilities) == ""
    assert (
        intervals.degenerate(labels, rare > 0.5, np.roll(probabilities, 5, axis=0))
        == "loss at chance"
    )


def test_a_score_between_two_is_shared_between_them():
    """Certain of the middle and unsure between the ends, so that only the loss, not the answers, can tell."""
    labels = np.tile([0, 2.9, 5, 2.9], 25)
    ends, middle = [0.5, 0, 0, 0, 0, 0.5], [0, 0, 0.1, 0.9, 0, 0]
    probabilities = np.tile([ends, middle], (50, 1))
    assert intervals.degenerate(labels, probabilities @ np.arange(6), probabilities) == ""
    other = np.tile([ends, middle[::-1]], (50, 1))
    assert intervals.degenerate(labels, other @ np.arange(6), other) == "loss at chance"
