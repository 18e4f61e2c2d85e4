"""Define the order of the data: the items of each step's batch, as pure functions of (seed, step).

Letters: B rows of a batch, N items.
"""

import functools

import numpy as np
from jaxtyping import Int

from gpt1_jax.errors import UserError

SLOTS = 10_000  # rows of a mixture in a period, in which every part has exactly its share


def updates_per_epoch(size: int, batch_size: int, stride: int = 1) -> int:
    """Return the number of whole batches in an epoch; what remains is dropped, as published.

    Raises:
        UserError: there is not one whole batch.
    """
    updates = size // stride // batch_size
    if updates == 0:
        raise UserError(
            f"config.batch_size: {batch_size} is more than the {size // stride} examples of the "
            "training data; choose a smaller batch or more data"
        )
    return updates


def indices(
    step: int, *, size: int, batch_size: int, seed: int, stride: int = 1
) -> Int[np.ndarray, "B"]:
    """Return the items of the global batch of `step`.

    Every item occurs once an epoch. Every epoch has a different order.

    Args:
        step: the number of the step, from 0.
        size: the number of items of the data set.
        batch_size: rows of the global batch.
        seed: the seed of the orders.
        stride: use every stride-th item, from a random first one in every epoch. With a stride of
            the window length, the windows of an epoch do not overlap.
    """
    epoch, position = divmod(step, updates_per_epoch(size, batch_size, stride))
    order = _epoch_order(size, (seed,), epoch, stride)
    return order[position * batch_size : (position + 1) * batch_size]


def mixture_indices(
    step: int,
    *,
    sizes: tuple[int, ...],
    weights: tuple[float, ...],
    batch_size: int,
    seed: int,
    stride: int = 1,
) -> tuple[Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
    """Return the data set of each row of the global batch of `step`, and the item in that data set.

    Rows are in proportion to `weights`, whatever the sizes: in every SLOTS rows each part has
    exactly its share. Each part has separate epochs: every item once, in a new order each time.

    Args:
        step: the number of the step, from 0.
        sizes: the number of items of every part.
        weights: the share of every part; they sum to 1.
        batch_size: rows of the global batch.
        seed: the seed of the orders.
        stride: see `indices`.
    """
    shares, parts, ranks = _schedule(weights, seed)
    period, slot = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), SLOTS)
    part = parts[slot]
    rows_before = period * shares[part] + ranks[slot]
    epoch, position = np.divmod(rows_before, (np.array(sizes) // stride)[part])
    items = [
        _epoch_order(sizes[k], (seed, k), e, stride)[p]
        for k, e, p in zip(part.tolist(), epoch.tolist(), position.tolist(), strict=True)
    ]
    return part, np.array(items)


@functools.lru_cache(maxsize=1)
def _schedule(weights: tuple[float, ...], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign the SLOTS rows of a period to the parts, in random order.

    Return the number of slots of each part, the part of each slot, and for each slot the number of
    earlier slots of the same part.
    """
    exact = np.array(weights) * SLOTS
    shares = np.floor(exact).astype(int)
    largest_remainders = np.argsort(shares - exact, kind="stable")[: SLOTS - shares.sum()]
    shares[largest_remainders] += 1
    if shares.min() == 0:
        raise UserError(
            f"config.data.path: a part of weight {min(weights):.2g} has not one row in {SLOTS}; "
            "give it more, or leave it out"
        )
    random = np.random.default_rng((seed, len(weights)))
    parts = random.permutation(np.repeat(np.arange(len(weights)), shares))
    ranks = np.zeros(SLOTS, int)
    for part, share in enumerate(shares):
        ranks[parts == part] = np.arange(share)
    return shares, parts, ranks


@functools.lru_cache(maxsize=64)
def _epoch_order(size: int, seed: tuple[int, ...], epoch: int, stride: int) -> Int[np.ndarray, "N"]:
    random = np.random.default_rng((*seed, epoch))
    phase = random.integers(stride)
    return phase + stride * random.permutation(size // stride)
