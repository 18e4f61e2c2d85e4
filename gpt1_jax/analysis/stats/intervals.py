"""Compute intervals of scores and of differences from bootstrap replicates.

Intervals are percentiles of the replicates (bootstrap.py). Every difference comes with the smallest
true difference that as many seeds and examples would detect (Card et al. 2020, "With Little Power
Comes Great Responsibility").

Limits:

- With one seed the standard deviation between seeds is unknown. The interval describes this run
  alone.
- With few seeds the variance is correct on average, but the percentiles do not account for its
  uncertainty. If only seeds vary, the 95% intervals cover the true value in 52% of cases with two
  seeds, 76% with three, 87% with five and 92% with ten. Of equal variants, 32%, 13%, 7% and 7% get
  p <= 0.05 (4,000 simulations with normal scores). `detectable` accounts for this uncertainty.
- If each seed errs on different examples, intervals are too wide, by a factor of up to the square
  root of three.
- The interval of a score without errors has zero width.
- All seeds of a variant start from one pretrained model. The intervals do not include the variation
  between pretraining runs.
- The development score chooses the checkpoint, so it is slightly too high, for every variant.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """Hold the score of a variant on a task, or the average over several tasks.

    Attributes:
        mean: the mean over the seeds.
        standard_deviation: the sample standard deviation between seeds; nan with one seed.
        low, high: the bounds of the 95% interval.
        seeds: the number of seeds; for an average, the smallest number on any of its tasks.
        degrees_of_freedom: the degrees of freedom between seeds, for Student's t.
    """

    mean: float
    standard_deviation: float
    low: float
    high: float
    seeds: int
    degrees_of_freedom: float


class Difference(NamedTuple):
    """Hold the score of the full model minus the score of a variant.

    Attributes:
        mean: the difference of the means.
        low, high: the bounds of its 95% interval.
        p: the two-sided p value under the null hypothesis of no difference; never 0.
        p_holm: p after the correction for its family (significance.correct_family); nan before it.
        mcnemar: the exact p value of each pair of runs with the same seed (significance.mcnemar);
            () for graded tasks and averages.
        detectable: the smallest true difference that would be detected with power 0.8 at the
            two-sided 5% level.
        seeds: the smaller number of seeds of the two sides. With 1, the standard deviation between
            seeds is unknown, and p and `detectable` leave it out.
        t_significant: True if Student's t test rejects the null hypothesis.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    mcnemar: tuple[float, ...]
    detectable: float
    seeds: int
    t_significant: bool = True

    @property
    def significant(self) -> bool:
        """Return True if both tests reject the null hypothesis.

        The bootstrap's p alone is too small for few seeds, so Student's t has to agree.
        """
        return self.t_significant and self.p_holm < 0.05


def estimate(scores: Sequence[float], replicates: np.ndarray) -> Estimate:
    """Return the estimate of a variant on a task.

    Args:
        scores: [S], the score of each seed.
        replicates: [R], the replicates of the variant.
    """
    return Estimate(
        mean=float(np.mean(scores)),
        standard_deviation=float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"),
        **_interval(replicates),
        seeds=len(scores),
        degrees_of_freedom=len(scores) - 1.0,
    )


def average(
    estimates: Sequence[Estimate], replicates: Sequence[np.ndarray]
) -> tuple[Estimate, np.ndarray]:
    """Return the unweighted average over tasks and its replicates [R].

    The standard deviation is that of an average over one run of each task. The degrees of freedom
    are Satterthwaite's (1946). They exceed those of one task, unless one task varies far more than
    the others.

    Args:
        estimates: one for each task.
        replicates: [R] for each task; those of different tasks must be independent
            (bootstrap.task_seed).
    """
    variances = np.array([np.var(task_replicates) for task_replicates in replicates])
    degrees_of_freedom = 0.0
    if variances.any() and all(task.degrees_of_freedom > 0 for task in estimates):
        terms = variances**2 / [task.degrees_of_freedom for task in estimates]
        degrees_of_freedom = float(variances.sum() ** 2 / np.sum(terms))
    squares = [task.standard_deviation**2 for task in estimates]
    mean_replicates = np.mean(replicates, axis=0)
    result = Estimate(
        mean=float(np.mean([task.mean for task in estimates])),
        standard_deviation=float(np.sqrt(np.sum(squares))) / len(estimates),
        **_interval(mean_replicates),
        seeds=min(task.seeds for task in estimates),
        degrees_of_freedom=degrees_of_freedom,
    )
    return result, mean_replicates


def difference(
    full: Estimate,
    variant: Estimate,
    full_replicates: np.ndarray,
    variant_replicates: np.ndarray,
    mcnemar: tuple[float, ...] = (),
) -> Difference:
    """Return full minus variant, for a task or an average over tasks.

    p is (1 + 2 k) / (1 + R), where k replicates do not have the sign of the majority. It is
    therefore below 0.05 if the interval excludes 0. `detectable` is (t.975 + t.8) standard
    deviations of the replicates, with the smaller degrees of freedom of the two sides. With one
    seed it uses normal quantiles, because only the variation between many examples is left.

    Args:
        full, variant: the two estimates.
        full_replicates, variant_replicates: [R], paired: from one call of bootstrap.replicates.
        mcnemar: the result of significance.mcnemar.
    """
    import scipy.special

    replicates = full_replicates - variant_replicates
    # A replicate that is zero except for rounding counts on both sides.
    minority = min(np.sum(replicates <= 1e-12), np.sum(replicates >= -1e-12))
    degrees_of_freedom = min(full.degrees_of_freedom, variant.degrees_of_freedom)
    if degrees_of_freedom > 0:
        quantiles = scipy.special.stdtrit(degrees_of_freedom, (0.975, 0.8))
    else:
        quantiles = scipy.special.ndtri((0.975, 0.8))
    standard_error = float(np.std(replicates, ddof=1))
    mean = full.mean - variant.mean
    return Difference(
        mean=mean,
        **_interval(replicates),
        p=min(1.0, float(1 + 2 * minority) / (1 + len(replicates))),
        p_holm=float("nan"),
        mcnemar=mcnemar,
        detectable=float(np.sum(quantiles)) * standard_error,
        seeds=min(full.seeds, variant.seeds),
        t_significant=abs(mean) > float(quantiles[0]) * standard_error,
    )


def _interval(replicates: np.ndarray) -> dict[str, float]:
    """Return the bounds of the 95% interval by field name."""
    low, high = np.percentile(replicates, (2.5, 97.5))
    return {"low": float(low), "high": float(high)}
