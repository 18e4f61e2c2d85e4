"""(dataset, seed, step) -> host batch: pure functions, so that a run resumes from its step number alone.

Letters: B examples of a batch, C streams, R rows that hold them, L length, K classes.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from gpt1_jax.errors import UserError

# Batches of ragged rows are padded to the smallest of these that holds their longest: few compilations, little padding. A row that
# segment_ids may be longer than the context.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
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


class PackedExamples:
    """Labelled examples as padded arrays.

    Args:
        streams: [N][C] lists of ids, ready for the model (`text.formats`).
        labels: [N K] distributions or [N] numbers; None where they are hidden.
        share_prefix: what an example's streams have in common at their start is laid down once: R is 1, and their rests follow it in
            the same row, one after the other, as segment_ids. Otherwise R is C.
        stream_weight: [N][C], the share of every stream in the language model loss of its batch, a mean weighted so; all alike without,
            as published.

    Attributes:
        longest: tokens of the longest stream, which is the context that a model needs.
    """

    def __init__(
        self,
        streams: Sequence[Sequence[Sequence[int]]],
        labels: Float[np.ndarray, "N ..."] | None,
        share_prefix: bool = False,
        stream_weight: Sequence[Sequence[float]] | None = None,
    ):
        self._streams = streams
        self._importance = stream_weight
        self._labels = np.zeros(len(streams), np.float32) if labels is None else labels
        self._prefixes = [_prefix(example) for example in streams] if share_prefix else None
        self.longest = max(len(stream) for example in streams for stream in example)
        self._longest_row = max(map(self.length, range(len(streams))))

    def __len__(self) -> int:
        return len(self._streams)

    def length(self, index: int) -> int:
        """Tokens of the longest row of an example."""
        lengths = list(map(len, self._streams[index]))
        if self._prefixes is None:
            return max(lengths)
        return sum(lengths) - (len(lengths) - 1) * self._prefixes[index]

    def __getitem__(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Arrays for a batch of examples.

        tokens [B R L]; weights [B R L], of the tokens in their row's language model loss: 1, and 0 on padding (a shared prefix: see
        `_branching`); extract [B C], where each stream ends among the R * L tokens of its example; label; with shared prefixes
        segment_ids [B R L]: 0 on the prefix, c on the c-th stream's own tokens, -1 on padding; and where streams differ in it stream_weight
        [B R], of the rows (see `normalize_stream_weight`).
        """
        indices = [int(i) for i in indices]
        chosen = [self._streams[i] for i in indices]
        shares = (
            [[1.0] * len(example) for example in chosen]
            if self._importance is None
            else [self._importance[i] for i in indices]
        )
        longest = max(map(self.length, indices))
        padded = min(
            next(length for length in (*LENGTHS, self._longest_row) if length >= longest),
            self._longest_row,
        )
        if self._prefixes is None:
            arrays = _apart(chosen, padded)
        else:
            arrays = _branching(chosen, [self._prefixes[i] for i in indices], padded, shares)
        if self._importance is not None:
            rows = shares if self._prefixes is None else [[sum(own)] for own in shares]
            arrays["stream_weight"] = np.array(rows, np.float32)
        return {**arrays, "label": self._labels[indices]}


def _prefix(streams: Sequence[Sequence[int]]) -> int:
    """Tokens at the start of the streams that are laid down once: all common ones but the last.

    The last one opens every branch, so that each token of the prefix has the same next token for all streams, and every branch has
    a token.
    """
    common = itertools.takewhile(lambda ids: len(set(ids)) == 1, zip(*streams, strict=False))
    return max(sum(1 for _ in common) - 1, 0)


def _apart(examples: Sequence[Sequence[Sequence[int]]], padded: int) -> dict[str, np.ndarray]:
    """A row for every stream."""
    lengths = np.array([[len(stream) for stream in example] for example in examples])
    tokens = np.zeros((*lengths.shape, padded), np.int32)
    for example, rows in zip(examples, tokens, strict=True):
        for stream, row in zip(example, rows, strict=True):
            row[: len(stream)] = stream
    return {
        "tokens": tokens,
        "weights": (np.arange(padded) < lengths[..., None]).astype(np.float32),
        "extract": (padded * np.arange(lengths.shape[1]) + lengths - 1).astype(np.int32),
    }


def _branching(
    examples: Sequence[Sequence[Sequence[int]]],
    prefixes: Sequence[int],
    padded: int,
    shares: Sequence[Sequence[float]],
) -> dict[str, np.ndarray]:
    """A row for every example: the prefix, then what follows it in each stream.

    The published loss is a mean over the predicted tokens of each stream, then over streams. So a token weighs 1 / (predicted tokens
    of its stream), times that stream's share, and one that several streams have in common the sum of theirs; the first tokens of the
    segment_ids are the same token, predicted once, from the prefix before the first of them.
    """
    shape = (len(examples), 1, padded)
    tokens, segment_ids, weights = (
        np.zeros(shape, np.int32),
        np.full(shape, -1, np.int32),
        np.zeros(shape, np.float32),
    )
    extract = np.zeros((len(examples), len(examples[0])), np.int32)
    for example, (streams, prefix) in enumerate(zip(examples, prefixes, strict=True)):
        row = example, 0
        tokens[row][:prefix] = streams[0][:prefix]
        segment_ids[row][:prefix] = 0
        each = [
            share / max(len(stream) - 1, 1)
            for share, stream in zip(shares[example], streams, strict=True)
        ]
        weights[row][: prefix + 1] = sum(each)
        end = prefix
        for number, stream in enumerate(streams):
            start, end = end, end + len(stream) - prefix
            tokens[row][start:end] = stream[prefix:]
            segment_ids[row][start:end] = number + 1
            weights[row][start + 1 : end] = each[number]
            extract[example, number] = end - 1
    return {"tokens": tokens, "segment_ids": segment_ids, "weights": weights, "extract": extract}


def normalize_stream_weight(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch with the stream_weight of its rows scaled to a mean of 1: factors for their losses."""
    return {**batch, "stream_weight": batch["stream_weight"] / batch["stream_weight"].mean()}


def with_max_targets(batch: dict[str, np.ndarray], parts: int) -> dict[str, np.ndarray]:
    """The batch with "max_targets" [B M] added: M * B / `parts` bounds the predicted tokens in each of the parts it will be cut into.

    Only the shape of "max_targets" says something: to a compiled step it is a constant. It comes in quarters of the batch, so that there are
    few of them.
    """
    predicted = (batch["weights"][:, :, 1:] != 0).reshape(parts, -1)
    quarter = math.ceil(predicted.shape[1] / 4)
    positions = quarter * math.ceil(predicted.sum(axis=1).max() / quarter)
    examples = len(batch["weights"])
    return {
        **batch,
        "max_targets": np.zeros((examples, math.ceil(positions * parts / examples)), np.bool_),
    }


def pad_batch(batch: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """The batch with copies of its first row added up to `size`, so that a last batch has the shape of the others.

    Who evaluates it drops what comes back for the rows that were added.
    """
    missing = size - len(batch["tokens"])
    return {
        name: np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
        for name, array in batch.items()
    }


def evaluation_batches(
    dataset: PackedExamples, batch_size: int
) -> Iterator[tuple[Sequence[int], dict[str, np.ndarray]]]:
    """Every example once, in batches of exactly `batch_size`: (indices [at most B], batch). Alike in length, so little padding."""
    order = sorted(range(len(dataset)), key=dataset.length)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield chosen, pad_batch(dataset[chosen], batch_size)
