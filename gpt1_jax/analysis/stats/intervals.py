"""What the scores of a few seeds on a few hundred examples can say: intervals, paired differences, power, failed runs.

A cell of the ablation table is a variant on a task: S seeds (runs), each of which answers the same N development examples. All variants
of a task share the examples, in one order.

Method. The crossed bootstrap (Owen 2007, "The pigeonhole bootstrap"): a replicate draws N of the N examples with replacement, once for
all variants and seeds of the task, so that differences are paired by example (Dror et al. 2018, "The Hitchhiker's Guide to Testing
Statistical Significance in NLP"), and, for each variant apart, S - 1 of its S seeds with replacement: S of S would make the variance
between seeds too small by a factor of (S - 1) / S (Rao and Wu 1988, "Resampling Inference with Complex Survey Data"). Intervals are
percentiles of the replicates. Families of differences are corrected by Holm (1979). Beside every difference stands the smallest that as
many seeds and examples would find (Card et al. 2020, "With Little Power Comes Great Responsibility").

Limits. One seed says nothing of the spread between seeds: its interval is of this one run. A few seeds say little: their variance is
right on average, but the percentiles do not know how unsure it is. Where seeds are all that varies, of the 95% intervals 52% hold the
truth with two seeds, 76% with three, 87% with five, 92% with ten; and 32%, 13%, 7%, 7% of equal variants show p <= 0.05 (4,000 simulations
with normal scores). `detectable` does know it. Where each seed errs on other examples, intervals are too wide, by up to the square root
of three. The interval of a score without a miss has no width. All seeds of a variant start from one pretrained model, so nothing here
speaks of pretraining again; and a development score that chose the checkpoint is a little high, for every variant.
"""

import zlib
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gpt1_jax.analysis.stats import metrics

_BLOCK = (
    1 << 21
)  # weights held at a time: 16 MiB, where 2,000 replicates of QQP's development split would be 650


class Estimate(NamedTuple):
    """A score of a cell, or an average of several.

    Attributes:
        mean: over the seeds.
        spread: the sample standard deviation between seeds; nan with one.
        low, high: the 95% interval.
        seeds: how many; of an average, the fewest that any of its cells has.
        freedom: degrees of freedom between seeds, for Student's t.
    """

    mean: float
    spread: float
    low: float
    high: float
    seeds: int
    freedom: float


class Difference(NamedTuple):
    """The full model's score minus a variant's.

    Attributes:
        mean: of the difference.
        low, high: its 95% interval.
        p: two-sided, of no difference; never 0.
        p_holm: p after the correction for its family (`corrected`); nan before.
        mcnemar: the exact p of each pair of runs with the same seed (`mcnemar`); () for graded tasks and averages.
        detectable: the smallest true difference that would be found with power 0.8 at the two-sided 5% level.
        clear: whether a change may be claimed: its mean exceeds what Student's t asks of so few seeds, too. The rest is `p_holm`'s to say.
        seeds: the fewer of the two sides' seeds. With 1 the spread between seeds is unknown, and p and `detectable` leave it out.
    """

    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    mcnemar: tuple[float, ...]
    detectable: float
    seeds: int
    clear: bool = True

    @property
    def established(self) -> bool:
        """Whether both tests tell it from none: the bootstrap, whose p is too small for few seeds, and Student's t."""
        return self.clear and self.p_holm < 0.05


def task_seed(task: str) -> int:
    """The seed for a task's replicates, from its name: those of two tasks are independent."""
    return zlib.crc32(task.encode())


def replicates(
    metric: str,
    labels: np.ndarray,
    answers: Mapping[str, np.ndarray],
    count: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Each variant's score in `count` repetitions of the experiment.

    The examples drawn depend on `seed` and the labels; a variant's runs on `seed`, its name and how many it has. So a further variant
    changes no other's replicates, and for two splits answered by the same runs (MNLI's), with one `seed`, the same runs are drawn: the
    mean of their replicates is that of the mean of their scores.

    Args:
        metric: a key of metrics.METRICS.
        labels: [N], class ids or scores.
        answers: variant -> [S N], a row a seed; variants may have different numbers of seeds.
        count: R, the number of replicates.
        seed: of the draws; task_seed(name) for a task.
    Returns:
        variant -> [R], the mean over the drawn seeds of the metric on the drawn examples.
    Raises:
        ValueError: answers that are not a row a seed to every label, or none.
    """
    labels = np.asarray(labels, np.float64)
    rows = {variant: np.asarray(runs) for variant, runs in answers.items()}
    for variant, runs in rows.items():
        if runs.ndim != 2 or runs.shape[1] != len(labels) or runs.size == 0:
            raise ValueError(
                f"{variant}: answers {list(runs.shape)} to {len(labels)} labels; expected [S N], a row a seed"
            )
    generator = np.random.default_rng([seed, zlib.crc32(labels.tobytes())])
    size = max(1, _BLOCK // len(labels))
    weights = (
        _weights(generator, min(size, count - start), len(labels))
        for start in range(0, count, size)
    )
    everyone = np.concatenate(list(rows.values()))
    scores = np.concatenate(
        [metrics.weighted(metric, labels, everyone, block) for block in weights]
    )
    ends = np.cumsum([len(runs) for runs in rows.values()])
    parts = np.split(scores, ends[:-1], axis=1)
    return {
        variant: (_runs(seed, variant, *part.shape) * part).sum(1)
        for variant, part in zip(rows, parts, strict=True)
    }


def _weights(generator: np.random.Generator, count: int, rows: int) -> np.ndarray:
    """[R N]: how often each of N rows is drawn, N draws in all."""
    drawn = generator.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
    return (
        np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)
    )


def _runs(seed: int, variant: str, count: int, seeds: int) -> np.ndarray:
    """[R S]: each seed's share in a replicate, of S - 1 draws; all of it with one seed."""
    generator = np.random.default_rng([seed, zlib.crc32(variant.encode())])
    draws = max(1, seeds - 1)
    return generator.multinomial(draws, np.full(seeds, 1 / seeds), size=count) / draws


def estimate(scores: Sequence[float], draws: np.ndarray) -> Estimate:
    """The estimate of a cell from the score of each seed and the cell's replicates [R]."""
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
    return Estimate(
        float(np.mean(scores)), spread, *_interval(draws), len(scores), len(scores) - 1.0
    )


def average(
    estimates: Sequence[Estimate], draws: Sequence[np.ndarray]
) -> tuple[Estimate, np.ndarray]:
    """The average over tasks, each with the same weight, and its replicates [R].

    The replicates of the tasks must be independent (task_seed); the spread is that of the average of one run of each task, the degrees
    of freedom Satterthwaite's (1946): more than those of one task, unless one varies far more than the others.
    """
    variances = np.array([np.var(cell) for cell in draws])
    known = all(cell.freedom > 0 for cell in estimates) and variances.any()
    freedom = (
        float(variances.sum() ** 2 / np.sum(variances**2 / [cell.freedom for cell in estimates]))
        if known
        else 0.0
    )
    together = np.mean(draws, axis=0)
    spread = float(np.sqrt(np.sum([cell.spread**2 for cell in estimates]))) / len(estimates)
    mean = float(np.mean([cell.mean for cell in estimates]))
    return Estimate(
        mean, spread, *_interval(together), min(cell.seeds for cell in estimates), freedom
    ), together


def _interval(draws: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def difference(
    full: Estimate,
    variant: Estimate,
    full_draws: np.ndarray,
    variant_draws: np.ndarray,
    mcnemar: tuple[float, ...] = (),
) -> Difference:
    """Full minus variant, for a task or an average over tasks, from paired replicates [R] (of one call of `replicates`).

    p is twice the part of the replicates that does not have the sign of most, (1 + k) / (1 + R), so it is below 0.05 where the interval
    leaves 0 out. `detectable` is (t.975 + t.8) standard deviations of the replicates, with the degrees of freedom of the side
    that has fewer; with one seed normal quantiles, for what is then left is the variation between the many examples.
    """
    import scipy.special

    draws = full_draws - variant_draws
    beyond = min(
        np.sum(draws <= 1e-12), np.sum(draws >= -1e-12)
    )  # equal but for rounding counts on both sides
    p = min(1.0, float(1 + 2 * beyond) / (1 + len(draws)))
    seeds = min(full.seeds, variant.seeds)
    freedom = min(full.freedom, variant.freedom)
    quantiles = (
        scipy.special.stdtrit(freedom, (0.975, 0.8))
        if freedom > 0
        else scipy.special.ndtri((0.975, 0.8))
    )
    error, mean = float(np.std(draws, ddof=1)), full.mean - variant.mean
    clear = abs(mean) > float(quantiles[0]) * error
    return Difference(
        mean,
        *_interval(draws),
        p,
        float("nan"),
        mcnemar,
        float(np.sum(quantiles)) * error,
        seeds,
        clear,
    )


def corrected(family: Mapping[Hashable, Difference]) -> dict[Hashable, Difference]:
    """The same differences, each with p_holm: at 0.05 the chance of any false finding in the whole family is at most 5%."""
    adjusted = holm([entry.p for entry in family.values()])
    return {
        key: entry._replace(p_holm=p)
        for (key, entry), p in zip(family.items(), adjusted, strict=True)
    }


def holm(values: Sequence[float]) -> list[float]:
    """The p values after Holm's step-down correction, in the order given: the smallest of m times m, the next times m - 1, ..."""
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(
        1,
        np.maximum.accumulate(
            np.asarray(values, np.float64)[order] * np.arange(len(values), 0, -1)
        ),
    )
    return adjusted.tolist()


def mcnemar(
    labels: np.ndarray, full: Mapping[int, np.ndarray], variant: Mapping[int, np.ndarray]
) -> tuple[float, ...]:
    """McNemar's exact two-sided p for each seed that both sides have, in order (McNemar 1947): do these two runs err differently?

    Args:
        labels: [N], class ids.
        full, variant: seed -> [N], class ids.
    """
    import scipy.special

    values = []
    for seed in sorted(full.keys() & variant.keys()):
        ours, theirs = full[seed] == labels, variant[seed] == labels
        alone = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
        values.append(min(1.0, 2 * float(scipy.special.bdtr(min(alone), sum(alone), 0.5))))
    return tuple(values)


def degenerate(labels: np.ndarray, answers: np.ndarray, probabilities: np.ndarray | None) -> str:
    """Why a run has learnt nothing: "constant prediction" or "loss at chance"; "" for one that has, or where all labels are the same.

    A loss is at chance where the mean cross-entropy is not below the entropy of this split's own label frequencies, which no constant
    probabilities can beat. Those of a failed run still vary a little from row to row, and may do so luckily: the loss has to lie below by
    two standard errors (of the differences row by row). But a run that is often right and too sure of itself has a high loss as
    well: it is let off where answers and labels correlate by more than 2 / sqrt(N), two standard errors where they are unrelated.

    Args:
        labels: [N], class ids or scores.
        answers: [N], class ids or scores.
        probabilities: [N K]; None, or K = 0, where there are none (a graded task learnt as a number). Of a graded task, of the whole
            scores: the label is then shared between its two neighbours, as in training.
    """
    labels, answers = np.asarray(labels, np.float64), np.asarray(answers, np.float64)
    if np.ptp(labels) == 0:
        return ""
    if np.ptp(answers) < 1e-4:  # the tables of predictions keep four places of a score
        return "constant prediction"
    if probabilities is None or np.size(probabilities) == 0:
        return ""
    given = np.maximum(probabilities, 5e-7)  # they keep six of a probability, so it may read 0
    targets = np.maximum(0, 1 - np.abs(labels[:, None] - np.arange(given.shape[1])))
    frequencies = np.maximum(targets.mean(0), 5e-7)
    worse = (targets * (np.log(frequencies) - np.log(given))).sum(1)
    error = 1 / np.sqrt(len(labels))
    related = metrics.weighted(
        "pearson" if np.any(answers % 1) else "matthews",
        labels,
        answers[None],
        np.ones((1, len(labels))),
    )
    at_chance = worse.mean() >= -2 * worse.std() * error and related.item() <= 2 * error
    return "loss at chance" if at_chance else ""
