"""Draw bootstrap replicates of scores over examples and seeds.

A variant has S seeds (runs) on a task, and each run predicts the same N development examples. All
variants of a task share the examples, in one order.

The method is the crossed bootstrap (Owen 2007, "The pigeonhole bootstrap"):

- A replicate draws N of the N examples with replacement. All variants and seeds of the task share
  this draw, so that differences are paired by example (Dror et al. 2018, "The Hitchhiker's Guide to
  Testing Statistical Significance in NLP").
- For each variant separately, a replicate draws S - 1 of the S seeds with replacement. S draws
  would make the variance between seeds too small by a factor of (S - 1) / S (Rao and Wu 1988,
  "Resampling Inference with Complex Survey Data").
"""

import zlib
from collections.abc import Mapping

import numpy as np

from gpt1_jax.analysis.stats import metrics

# Number of weights in memory at a time: 16 MiB. 2,000 replicates of QQP's development split would
# need 650 MiB.
_BLOCK = 1 << 21


def task_seed(task: str) -> int:
    """Return the seed of a task's replicates; replicates of two tasks are independent."""
    return zlib.crc32(task.encode())


def replicates(
    metric: str,
    labels: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    count: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the score of each variant in `count` replicates of the experiment.

    The drawn examples depend on `seed` and the labels. The drawn seeds of a variant depend on
    `seed`, the name of the variant and its number of runs. Therefore the replicates of a variant
    do not depend on the other variants. If the same runs have predicted two splits (as for MNLI),
    equal `seed`s draw the same runs for both, so the mean of the two replicates is a replicate of
    the mean score.

    Args:
        metric: a key of metrics.METRICS.
        labels: [N], class ids or scores.
        predictions: variant -> [S N], one row for each seed; variants may have different numbers of
            seeds.
        count: R, the number of replicates.
        seed: the seed of the draws; task_seed(name) for a task.

    Returns:
        variant -> [R], the mean over the drawn seeds of the metric on the drawn examples.

    Raises:
        ValueError: the shape of predictions does not fit the labels, or a variant has none.
    """
    labels = np.asarray(labels, np.float64)
    rows = {variant: np.asarray(runs) for variant, runs in predictions.items()}
    for variant, runs in rows.items():
        if runs.ndim != 2 or runs.shape[1] != len(labels) or runs.size == 0:
            raise ValueError(
                f"{variant}: predictions have shape {list(runs.shape)}, "
                f"but there are {len(labels)} labels; give [S N], one row for each seed"
            )
    generator = np.random.default_rng([seed, zlib.crc32(labels.tobytes())])
    block_size = max(1, _BLOCK // len(labels))
    all_runs = np.concatenate(list(rows.values()))
    scores = []
    for start in range(0, count, block_size):
        weights = _example_weights(generator, min(block_size, count - start), len(labels))
        scores.append(metrics.weighted_scores(metric, labels, all_runs, weights))
    ends = np.cumsum([len(runs) for runs in rows.values()])
    scores_by_variant = np.split(np.concatenate(scores), ends[:-1], axis=1)
    return {
        variant: (seed_weights(seed, variant, *run_scores.shape) * run_scores).sum(1)
        for variant, run_scores in zip(rows, scores_by_variant, strict=True)
    }


def _example_weights(generator: np.random.Generator, count: int, rows: int) -> np.ndarray:
    """Return [R N]: the number of times that each of N rows is drawn, N draws in all."""
    draws = generator.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
    counts = np.bincount(draws.ravel(), minlength=count * rows)
    return counts.reshape(count, rows).astype(np.float64)


def seed_weights(seed: int, variant: str, count: int, seeds: int) -> np.ndarray:
    """Return [R S]: the weight of each seed in a replicate, from S - 1 draws; 1 if S is 1."""
    generator = np.random.default_rng([seed, zlib.crc32(variant.encode())])
    draws = max(1, seeds - 1)
    return generator.multinomial(draws, np.full(seeds, 1 / seeds), size=count) / draws
