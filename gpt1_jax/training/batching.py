"""(dataset, seed, step) -> host batch: pure functions, so that a run resumes from its step number alone.

Letters: B examples of a batch, C streams, L length, K classes.
"""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from gpt1_jax.errors import UserError

# Batches of ragged streams are padded to the smallest of these that holds their longest: few compilations, little padding.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
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


def indices(step: int, *, size: int, batch_size: int, seed: int, stride: int = 1) -> Int[np.ndarray, "B"]:
    """Which items the global batch of `step` holds: every item once an epoch, in an order of that epoch's own.

    Args:
        size: of the dataset.
        stride: with a stride, items are taken that far apart, from a random phase in every epoch: the windows of a corpus then
            tile it, and start elsewhere the next time.
    """
    epoch, position = divmod(step, updates_per_epoch(size, batch_size, stride))
    return _order(size, (seed,), epoch, stride)[position * batch_size : (position + 1) * batch_size]


def mixed(
    step: int, *, sizes: tuple[int, ...], weights: tuple[float, ...], batch_size: int, seed: int, stride: int = 1
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
    epoch, position = np.divmod(period * shares[part] + ranks[slot], (np.array(sizes) // stride)[part])
    items = [_order(sizes[k], (seed, k), e, stride)[p] for k, e, p in zip(part.tolist(), epoch.tolist(), position.tolist(), strict=True)]
    return part, np.array(items)


@functools.lru_cache(maxsize=1)
def _schedule(weights: tuple[float, ...], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots of each part, the part of each slot, and how many slots of that part lie before it."""
    exact = np.array(weights) * SLOTS
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: SLOTS - shares.sum()]] += 1  # the largest remainders
    if shares.min() == 0:
        raise UserError(f"config.data.path: a part of weight {min(weights):.2g} has not one row in {SLOTS}; give it more, or leave it out")
    slots = np.random.default_rng((seed, len(weights))).permutation(np.repeat(np.arange(len(weights)), shares))
    ranks = np.zeros(SLOTS, int)
    for part, share in enumerate(shares):
        ranks[slots == part] = np.arange(share)
    return shares, slots, ranks


@functools.lru_cache(maxsize=16)
def _order(size: int, seed: tuple[int, ...], epoch: int, stride: int) -> Int[np.ndarray, "N"]:
    random = np.random.default_rng((*seed, epoch))
    phase = random.integers(stride)
    return phase + stride * random.permutation(size // stride)


class Streams:
    """Labelled examples as padded arrays.

    Args:
        streams: [N][C] lists of ids, ready for the model (`text.formats`).
        labels: [N K] distributions or [N] numbers; None where they are hidden.
    """

    def __init__(self, streams: Sequence[Sequence[Sequence[int]]], labels: Float[np.ndarray, "N ..."] | None):
        self._streams = streams
        self._labels = np.zeros(len(streams), np.float32) if labels is None else labels
        self.longest = max(map(self.length, range(len(streams))))

    def __len__(self) -> int:
        return len(self._streams)

    def length(self, index: int) -> int:
        """Tokens of the longest stream of an example."""
        return max(map(len, self._streams[index]))

    def __getitem__(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Arrays tokens [B C L], mask [B C L] (1 on tokens), extract [B C] (index of the last token), label."""
        chosen = [self._streams[i] for i in indices]
        lengths = np.array([[len(stream) for stream in example] for example in chosen])
        padded = min(next(length for length in (*LENGTHS, self.longest) if length >= lengths.max()), self.longest)
        tokens = np.zeros((*lengths.shape, padded), np.int32)
        for example, row in zip(chosen, tokens, strict=True):
            for stream, line in zip(example, row, strict=True):
                line[: len(stream)] = stream
        return {
            "tokens": tokens,
            "mask": (np.arange(padded) < lengths[..., None]).astype(np.float32),
            "extract": (lengths - 1).astype(np.int32),
            "label": self._labels[list(indices)],
        }


def with_room(batch: dict[str, np.ndarray], parts: int) -> dict[str, np.ndarray]:
    """The batch with "room" [B R] added: R * B / `parts` bounds the predicted tokens in each of the parts it will be cut into.

    Only the shape of "room" says something: to a compiled step it is a constant. It comes in quarters of the batch, so that there are
    few of them.
    """
    predicted = batch["mask"][:, :, 1:].reshape(parts, -1)
    quarter = math.ceil(predicted.shape[1] / 4)
    positions = quarter * math.ceil(predicted.sum(axis=1).max() / quarter)
    rows = len(batch["mask"])
    return {**batch, "room": np.zeros((rows, math.ceil(positions * parts / rows)), np.bool_)}


def fill(batch: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """The batch with copies of its first row added up to `size`, so that a last batch has the shape of the others.

    Who evaluates it drops what comes back for the rows that were added.
    """
    missing = size - len(batch["tokens"])
    return {name: np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) for name, array in batch.items()}


def evaluation(dataset: Streams, batch_size: int) -> Iterator[tuple[Sequence[int], dict[str, np.ndarray]]]:
    """Every example once, in batches of exactly `batch_size`: (indices [at most B], batch). Alike in length, so little padding."""
    order = sorted(range(len(dataset)), key=dataset.length)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield chosen, fill(dataset[chosen], batch_size)
