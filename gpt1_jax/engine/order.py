"""The order of the data: which items the batch of a step holds, a pure function of (seed, step).

Letters: B rows of a batch, N items.
"""

import functools

import numpy as np
from jaxtyping import Int

from gpt1_jax.errors import UserError

SLOTS = 10_000  # rows of a mixture in which every part has its share exactly


def updates_per_epoch(size: int, batch_size: int, stride: int = 1) -> int:
    """Whole batches in an epoch; the rest of the epoch is dropped, as published. UserError where there is not even one."""
    updates = size // stride // batch_size
    if updates == 0:
        raise UserError(
            f"config.batch_size: {batch_size} is more than the {size // stride} examples of the training data; "
            "choose a smaller batch or more data"
        )
    return updates


def indices(
    step: int, *, size: int, batch_size: int, seed: int, stride: int = 1
) -> Int[np.ndarray, "B"]:
    """Which items the global batch of `step` holds: every item once an epoch, in an order of that epoch's own.

    Args:
        size: of the dataset.
        stride: with a stride, items are taken that far apart, from a random phase in every epoch: the windows of a corpus then
            tile it, and start elsewhere the next time.
    """
    epoch, position = divmod(step, updates_per_epoch(size, batch_size, stride))
    return _order(size, (seed,), epoch, stride)[position * batch_size : (position + 1) * batch_size]


def mixture_indices(
    step: int,
    *,
    sizes: tuple[int, ...],
    weights: tuple[float, ...],
    batch_size: int,
    seed: int,
    stride: int = 1,
) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
    """Which data set each row of the global batch of `step` is of, in proportion to `weights` whatever the sizes, and which item there.

    Of every SLOTS rows the parts have their share exactly. Each part has epochs of its own: every item once, in a new order each time.

    Args:
        sizes, stride: of every part, as for `indices`.
        weights: sum to 1.
    """
    shares, slots, ranks = _schedule(weights, seed)
    period, slot = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), SLOTS)
    part = slots[slot]
    epoch, position = np.divmod(
        period * shares[part] + ranks[slot], (np.array(sizes) // stride)[part]
    )
    items = [
        _order(sizes[k], (seed, k), e, stride)[p]
        for k, e, p in zip(part.tolist(), epoch.tolist(), position.tolist(), strict=True)
    ]
    return part, np.array(items)


@functools.lru_cache(maxsize=1)
def _schedule(weights: tuple[float, ...], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots of each part, the part of each slot, and how many slots of that part lie before it."""
    exact = np.array(weights) * SLOTS
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: SLOTS - shares.sum()]] += (
        1  # the largest remainders
    )
    if shares.min() == 0:
        raise UserError(
            f"config.data.path: a part of weight {min(weights):.2g} has not one row in {SLOTS}; give it more, or leave it out"
        )
    slots = np.random.default_rng((seed, len(weights))).permutation(
        np.repeat(np.arange(len(weights)), shares)
    )
    ranks = np.zeros(SLOTS, int)
    for part, share in enumerate(shares):
        ranks[slots == part] = np.arange(share)
    return shares, slots, ranks


@functools.lru_cache(maxsize=64)
def _order(size: int, seed: tuple[int, ...], epoch: int, stride: int) -> Int[np.ndarray, "N"]:
    random = np.random.default_rng((*seed, epoch))
    phase = random.integers(stride)
    return phase + stride * random.permutation(size // stride)
