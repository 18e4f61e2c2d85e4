"""Estimate the variance of a score, or of a difference of scores, over seeds and examples.

A variant has S seeds (runs) on a task, and each run predicts the same N examples. The model is the
two-way crossed classification with random effects and one value in each cell (Searle, Casella and
McCulloch 1992, "Variance Components", chapter 4): the value of seed s and example i is

    y[s, i] = mean + a[s] + b[i] + c[s, i]

with independent effects of the seeds, of the examples, and of their interaction. The mean of all
values has the variance var(a) / S + var(b) / N + var(c) / (S N). With the mean squares

    MSA = N sum_s (y[s, .] - y[., .])^2 / (S - 1)          expectation var(c) + N var(a)
    MSB = S sum_i (y[., i] - y[., .])^2 / (N - 1)          expectation var(c) + S var(b)
    MSC = sum_si (y[s, i] - y[s, .] - y[., i] + y[., .])^2 / ((S - 1) (N - 1))         var(c)

its unbiased estimate is (MSB + MSA - MSC) / (S N). Satterthwaite (1946, "An Approximate
Distribution of Estimates of Variance Components") gives such a sum the degrees of freedom

    (MSB + MSA - MSC)^2 / (MSB^2 / (N - 1) + MSA^2 / (S - 1) + MSC^2 / ((S - 1) (N - 1))).

A bootstrap that draws seeds and examples independently counts var(c) about three times (Owen 2007,
"The pigeonhole bootstrap") and hides that the variance between few seeds is uncertain.

Three rules cover the degenerate cases:

- If MSA is below MSC, the estimate of var(a) is negative. It becomes 0, so the variance is never
  below that of the examples. The degrees of freedom keep all three terms.
- The sum of squares of the examples gets 1 more, as if one further example differed by 1. Without
  it, a score without errors, or two equal variants, would have the variance 0, although up to 3 in
  N examples may differ unseen. For two paired classifiers this is Agresti and Min's (2005) variance
  ("Simple improved confidence intervals for comparing matched proportions").
- With one seed var(a) and var(c) are unknown. The variance is that of the examples, and describes
  this run alone. Estimate.seeds tells.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt1_jax.analysis.stats.intervals import Estimate


class Sample(NamedTuple):
    """Hold the runs of a variant on one task.

    Attributes:
        values: seed -> [N], one value for each example, whose mean is the score of the run. All
            variants of a task have the same examples, in one order. If several seeds share a
            pretraining run: cluster -> [N], as `cluster_seeds` returns them.
        failed: the number of runs that learned nothing.
        limits: the lowest and the highest possible score.
        runs: the number of runs.
    """

    values: Mapping[Hashable, np.ndarray]
    failed: int
    limits: tuple[float, float]
    runs: int


def cluster_seeds(
    values: Mapping[int, np.ndarray], clusters: Mapping[int, Hashable]
) -> Mapping[Any, np.ndarray]:
    """Return cluster -> values [N]; the seeds themselves if one cluster holds all of them.

    Seeds that start from one pretraining run share its luck, so they are not independent. The
    pretraining runs are: with at least two of them, each takes the place of a seed in the model
    above, with the mean values of its seeds. With one, the spread between pretraining runs is not
    known. Clusters of different sizes have their deviation from the mean weighted by their size, so
    that the mean over clusters is the mean over seeds.

    Args:
        values: seed -> [N].
        clusters: seed -> its cluster.
    """
    members = {}
    for seed, row in values.items():
        members.setdefault(clusters[seed], []).append(row)
    if not 1 < len(members) < len(values):
        return values
    center = np.mean(list(values.values()), axis=0)
    weights = {cluster: len(rows) * len(members) / len(values) for cluster, rows in members.items()}
    return {
        cluster: center + weights[cluster] * (np.mean(rows, axis=0) - center)
        for cluster, rows in members.items()
    }


def values(scores: Sequence[float], effects: Sequence[np.ndarray]) -> np.ndarray:
    """Return the values [S N] of runs whose score is the mean over one or more splits.

    N is the number of examples of all splits. Their weights give each split the same influence.

    Args:
        scores: [S], the mean over the splits.
        effects: [S M] for each split, from metrics.example_effects.
    """
    rows = sum(split.shape[1] for split in effects)
    weighted = [split * (rows / (len(effects) * split.shape[1])) for split in effects]
    return np.asarray(scores)[:, None] + np.concatenate(weighted, axis=1)


def score(sample: Sample) -> Estimate:
    """Return the mean score over the seeds."""
    group = np.stack(list(sample.values.values()))
    return _estimate([group], sample.runs, sample.failed, sample.limits)


def difference(full: Sample, other: Sample) -> Estimate:
    """Return the mean score of `full` minus that of `other`, paired by example.

    If both have the same seeds, they are paired by seed, too: the model above is for the
    differences of two runs with the same seed. It holds whether or not the two runs share what the
    seed decides (the order of the data, and the fresh parameters of equal shapes), and if they do,
    their common variation cancels. If the seeds differ, the seeds of the two sides are independent
    groups, as in Welch's test.
    """
    limits = full.limits[0] - other.limits[1], full.limits[1] - other.limits[0]
    if full.values.keys() == other.values.keys():
        groups = [np.stack([full.values[seed] - other.values[seed] for seed in full.values])]
    else:
        groups = [np.stack([*full.values.values()]), -np.stack([*other.values.values()])]
    runs = full.runs + other.runs
    return _estimate(groups, runs, full.failed + other.failed, limits)


def contrast(samples: Sequence[Sample], weights: Sequence[float]) -> Estimate | None:
    """Return the weighted sum of several mean scores, paired by example and by seed.

    It is estimated as the difference of two weighted means, and then scaled. Seeds that one of the
    samples lacks are left out. Return None if no seed is left.

    Args:
        samples: the samples.
        weights: a weight for each sample; their sum is 0.
    """
    keys = [key for key in samples[0].values if all(key in sample.values for sample in samples)]
    if not keys:
        return None
    scale = sum(abs(weight) for weight in weights) / 2
    pairs = [(weight / scale, sample) for weight, sample in zip(weights, samples, strict=True)]
    group = np.stack([sum(weight * sample.values[key] for weight, sample in pairs) for key in keys])
    ends = [sorted(weight * limit for limit in sample.limits) for weight, sample in pairs]
    limits = sum(low for low, _ in ends), sum(high for _, high in ends)
    runs, failed = (sum(getattr(sample, name) for sample in samples) for name in ("runs", "failed"))
    estimate = _estimate([group], runs, failed, limits)
    return estimate._replace(
        mean=scale * estimate.mean,
        variance=scale**2 * estimate.variance,
        standard_deviation=scale * estimate.standard_deviation,
        limits=(scale * limits[0], scale * limits[1]),
    )


def _estimate(
    groups: Sequence[np.ndarray], runs: int, failed: int, limits: tuple[float, float]
) -> Estimate:
    """Return the estimate of the sum of the means of independent groups of seeds.

    With several groups, the examples' part of the variance is that of the summed means of the
    examples, and each group of seeds adds its own (MSA - MSC) / (S N).

    Args:
        groups: [S N] each, on the same examples; S may differ.
        runs, failed, limits: as in Estimate.
    """
    examples = np.sum([group.mean(0) for group in groups], axis=0)
    mean, rows = examples.mean(), len(examples)
    free_rows = max(rows - 1, 1)
    # Mean squares divided by S N, with their degrees of freedom.
    variance = (np.sum((examples - mean) ** 2) + 1) / (rows * free_rows)
    terms = [(variance, free_rows)]
    for group in groups:
        seeds = len(group)
        if seeds == 1:
            continue
        scores = group.mean(1, keepdims=True)
        residuals = group - group.mean(0) - scores + scores.mean()
        between = np.var(scores, ddof=1) / seeds
        interaction = np.sum(residuals**2) / (seeds * rows * (seeds - 1) * free_rows)
        variance += max(0.0, between - interaction)
        terms += [(between, seeds - 1), (interaction, (seeds - 1) * free_rows)]
    seeds = min(map(len, groups))
    squares = [float(np.var(group.mean(1), ddof=1)) if seeds > 1 else np.nan for group in groups]
    return Estimate(
        mean=float(mean),
        variance=float(variance),
        degrees_of_freedom=float(variance**2 / sum(term**2 / free for term, free in terms)),
        standard_deviation=float(np.sqrt(np.sum(squares))),
        seeds=seeds,
        runs=runs,
        failed=failed,
        limits=limits,
    )
