"""Compute intervals, p values and detectable differences from a variance: all by Student's t.

One variance and its degrees of freedom give the interval, the p value and the smallest detectable
difference of an estimate, so they cannot contradict each other: the interval excludes 0 exactly if
p is below `alpha`. two_way.py estimates the variance. docs/statistics.md has the assumptions, and
the coverage and the power in simulations.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ALPHA = 0.05  # the error of an interval, and of all tests of a family together
POWER = 0.8  # the probability of finding the smallest detectable difference


class Estimate(NamedTuple):
    """Hold a score, a difference of two scores, or an average of either over tasks.

    Attributes:
        mean: the estimate.
        variance: the variance of `mean`; positive.
        degrees_of_freedom: those of the variance.
        standard_deviation: the sample standard deviation between seeds; nan with one seed.
        seeds: the number of seeds; for a difference and an average, the smallest one. With 1, the
            variance leaves out the variation between seeds.
        runs: the number of runs.
        failed: the number of runs that learned nothing (degenerate.py).
        limits: the lowest and the highest possible value.
        alpha: the error of the interval and of the test; smaller in a corrected family.
        p_corrected: p after the correction for the family; nan before it.
    """

    mean: float
    variance: float
    degrees_of_freedom: float
    standard_deviation: float
    seeds: int
    runs: int
    failed: int
    limits: tuple[float, float]
    alpha: float = ALPHA
    p_corrected: float = math.nan

    @property
    def low(self) -> float:
        """Return the lower bound of the interval at the level 1 - alpha."""
        return max(self.limits[0], self.mean - self._quantile * math.sqrt(self.variance))

    @property
    def high(self) -> float:
        """Return the upper bound of the interval at the level 1 - alpha."""
        return min(self.limits[1], self.mean + self._quantile * math.sqrt(self.variance))

    @property
    def p(self) -> float:
        """Return the two-sided p value under the null hypothesis of 0, before any correction."""
        import scipy.special

        t = abs(self.mean) / math.sqrt(self.variance)
        p = 2 * float(scipy.special.stdtr(self.degrees_of_freedom, -t))
        return max(p, np.finfo(float).tiny)  # so that the order of tiny values is not lost

    @property
    def significant(self) -> bool:
        """Return True if the test of a corrected family rejects the null hypothesis of 0."""
        return self.p_corrected < ALPHA

    @property
    def detectable(self) -> float:
        """Return the smallest true value that the test at `alpha` finds with the power 0.8.

        If the true value is d, the t statistic has the noncentral t distribution with the
        noncentrality d / standard error.
        """
        import scipy.special

        noncentrality = scipy.special.nctdtrinc(self.degrees_of_freedom, 1 - POWER, self._quantile)
        return float(noncentrality) * math.sqrt(self.variance)

    @property
    def _quantile(self) -> float:
        import scipy.special

        return float(scipy.special.stdtrit(self.degrees_of_freedom, 1 - self.alpha / 2))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Return the unweighted average of estimates on different tasks.

    The tasks have different examples and different runs, so the variances add up. The degrees of
    freedom are Satterthwaite's (1946). They exceed those of one task, unless one task varies far
    more than the others. The standard deviation is that of an average over one run of each task.
    """
    count = len(estimates)
    variances = np.array([task.variance for task in estimates])
    terms = variances**2 / [task.degrees_of_freedom for task in estimates]
    squares = [task.standard_deviation**2 for task in estimates]
    return Estimate(
        mean=float(np.mean([task.mean for task in estimates])),
        variance=float(variances.sum()) / count**2,
        degrees_of_freedom=float(variances.sum() ** 2 / terms.sum()),
        standard_deviation=float(np.sqrt(np.sum(squares))) / count,
        seeds=min(task.seeds for task in estimates),
        runs=sum(task.runs for task in estimates),
        failed=sum(task.failed for task in estimates),
        limits=tuple(np.mean([task.limits for task in estimates], axis=0).tolist()),
    )


def correct_family(family: Mapping[Any, Estimate]) -> dict[Any, Estimate]:
    """Return the same differences with Holm's (1979) correction: `p_corrected` and `alpha`.

    The chance of any false finding in the whole family is at most 5%. Holm's procedure tests the
    smallest of m p values at 0.05 / m, the next at 0.05 / (m - 1), and so on, until one of them is
    not rejected. If it has rejected r, it stops at the level 0.05 / (m - r). The r rejected p
    values are below this level, and all others are not. Therefore this one level is the `alpha` of
    the whole family: an interval excludes 0 exactly if the corrected p is below 0.05.
    """
    corrected = holm([entry.p for entry in family.values()])
    accepted = sum(p >= ALPHA for p in corrected)
    return {
        key: entry._replace(p_corrected=p, alpha=ALPHA / max(1, accepted))
        for (key, entry), p in zip(family.items(), corrected, strict=True)
    }


def holm(values: Sequence[float]) -> list[float]:
    """Return the p values after Holm's step-down correction, in the order given.

    The correction multiplies the smallest of m values by m, the next by m - 1, and so on.
    """
    order = np.argsort(values, kind="stable")
    products = np.asarray(values, np.float64)[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(products))
    return corrected.tolist()
