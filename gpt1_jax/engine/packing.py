"""Examples as padded arrays: batches of token streams of different lengths.

Letters: B examples of a batch, C streams, R rows that hold them, L length, K classes.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

# Batches of ragged rows are padded to the smallest of these that holds their longest: few compilations, little padding. A row that
# segment_ids may be longer than the context.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["value"])
@dataclasses.dataclass(frozen=True)
class StaticInt:
    """A number in a batch that compiled programs take as a constant: no array, part of the tree."""

    value: int


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


def with_max_targets(batch: dict[str, Any], parts: int) -> dict[str, Any]:
    """Return the batch with "max_targets", a bound on the predicted tokens in each part of it.

    The bound is static: a compiled step takes it as a constant. It comes in quarters of a part, so
    that few programs are compiled.

    Args:
        batch: as `PackedExamples` gives it.
        parts: equal parts into which the devices and the accumulation cut the batch.
    """
    predicted = (batch["weights"][:, :, 1:] != 0).reshape(parts, -1)
    examples = len(batch["weights"]) // parts
    quarter = math.ceil(predicted.shape[1] / 4)
    targets = quarter * math.ceil(predicted.sum(axis=1).max() / quarter)
    return {**batch, "max_targets": StaticInt(examples * math.ceil(targets / examples))}


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
