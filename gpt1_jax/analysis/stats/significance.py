"""Correct p values for multiple comparisons (Holm 1979) and test pairs of runs (McNemar 1947)."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.stats.intervals import Difference


def correct_family(family: Mapping[Hashable, Difference]) -> dict[Hashable, Difference]:
    """Return the same differences with `p_holm`.

    At p_holm < 0.05 the chance of any false finding in the whole family is at most 5%.
    """
    corrected = holm([entry.p for entry in family.values()])
    return {
        key: entry._replace(p_holm=p)
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


def mcnemar(
    labels: np.ndarray, full: Mapping[int, np.ndarray], variant: Mapping[int, np.ndarray]
) -> tuple[float, ...]:
    """Return McNemar's exact two-sided p for each seed that both sides have, by increasing seed.

    The test asks if two runs err on different examples.

    Args:
        labels: [N], class ids.
        full, variant: seed -> [N], the predicted class ids.
    """
    import scipy.special

    values = []
    for seed in sorted(full.keys() & variant.keys()):
        full_correct, variant_correct = full[seed] == labels, variant[seed] == labels
        only_full = int(np.sum(full_correct & ~variant_correct))
        only_variant = int(np.sum(variant_correct & ~full_correct))
        tail = scipy.special.bdtr(min(only_full, only_variant), only_full + only_variant, 0.5)
        values.append(min(1.0, 2 * float(tail)))
    return tuple(values)
