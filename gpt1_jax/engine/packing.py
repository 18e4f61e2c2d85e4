"""Pack examples, token streams of different lengths, into padded arrays.

Letters: N examples of the data set, B examples of a batch, C streams per example, R rows that hold
them, L length, K classes, P parts of a batch.
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

# A batch is padded to the smallest of these lengths that holds its longest row: few compilations
# and little padding. A row that holds several streams may be longer than the context.
LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["value"])
@dataclasses.dataclass(frozen=True)
class StaticInt:
    """Hold a number of a batch that compiled programs take as a constant, not as an array."""

    value: int


class PackedExamples:
    """Hold labeled examples and return batches of them as padded arrays.

    Args:
        streams: [N][C] lists of token ids, ready for the model (`text.formats`).
        labels: [N K] distributions or [N] numbers; None if they are hidden.
        share_prefix: store the tokens that all streams of an example share at their start only
            once. The remaining tokens of each stream follow in the same row, marked by segment
            ids: R is 1. Otherwise every stream has a row: R is C.
        stream_weight: [N][C] weights of the streams in the language model loss of their batch. If
            None, all streams weigh the same, as published.

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
        self._stream_weight = stream_weight
        self._labels = np.zeros(len(streams), np.float32) if labels is None else labels
        self._prefixes = [_prefix_length(example) for example in streams] if share_prefix else None
        self.longest = max(len(stream) for example in streams for stream in example)
        self._longest_row = max(self.length(index) for index in range(len(streams)))

    def __len__(self) -> int:
        return len(self._streams)

    def length(self, index: int) -> int:
        """Return the number of tokens of the longest row of an example."""
        lengths = [len(stream) for stream in self._streams[index]]
        if self._prefixes is None:
            return max(lengths)
        return sum(lengths) - (len(lengths) - 1) * self._prefixes[index]

    def __getitem__(self, indices: Sequence[int] | Int[np.ndarray, "B"]) -> dict[str, np.ndarray]:
        """Return the arrays of a batch of examples.

        tokens [B R L]: token ids, 0 on padding.
        weights [B R L]: weights of the tokens in the language model loss of their row: 1, and 0 on
            padding; for a shared prefix see `_pack_shared_prefix`.
        extract [B C]: the last token of each stream, among the R * L tokens of its example.
        label [B ...]: the labels.
        segment_ids [B R L], with a shared prefix only: 0 on the prefix, c on the other tokens of
            the c-th stream, -1 on padding.
        stream_weight [B R], if streams have weights: those of the rows (`normalize_stream_weight`).
        """
        indices = [int(i) for i in indices]
        streams = [self._streams[i] for i in indices]
        length = self.padded_length(indices)
        row_weight = stream_weight = self._stream_weights(indices)
        if self._prefixes is None:
            arrays = _pad_streams(streams, length)
        else:
            prefixes = [self._prefixes[i] for i in indices]
            arrays = _pack_shared_prefix(streams, prefixes, length, stream_weight)
            row_weight = [[sum(example)] for example in stream_weight]
        if self._stream_weight is not None:
            arrays["stream_weight"] = np.array(row_weight, np.float32)
        return {**arrays, "label": self._labels[indices]}

    def _stream_weights(self, indices: Sequence[int]) -> list[Sequence[float]]:
        if self._stream_weight is None:
            return [[1.0] * len(self._streams[i]) for i in indices]
        return [self._stream_weight[i] for i in indices]

    def padded_length(self, indices: Sequence[int]) -> int:
        """Return the length of the rows in a batch of examples."""
        longest = max(self.length(i) for i in indices)
        padded = next(length for length in (*LENGTHS, self._longest_row) if length >= longest)
        return min(padded, self._longest_row)


def _prefix_length(streams: Sequence[Sequence[int]]) -> int:
    """Return how many tokens at the start of the streams are stored once: all shared but the last.

    The last shared token opens the rest of every stream. So each token of the prefix has the same
    next token in all streams, and every stream has a token of its own.
    """
    shared = itertools.takewhile(lambda ids: len(set(ids)) == 1, zip(*streams, strict=False))
    return max(sum(1 for _ in shared) - 1, 0)


def _pad_streams(
    examples: Sequence[Sequence[Sequence[int]]], padded_length: int
) -> dict[str, np.ndarray]:
    """Return the arrays of a batch with one row for every stream."""
    lengths = np.array([[len(stream) for stream in example] for example in examples])
    tokens = np.zeros((*lengths.shape, padded_length), np.int32)
    for number, example in enumerate(examples):
        for place, stream in enumerate(example):
            tokens[number, place, : len(stream)] = stream
    return {
        "tokens": tokens,
        "weights": (np.arange(padded_length) < lengths[..., None]).astype(np.float32),
        "extract": (padded_length * np.arange(lengths.shape[1]) + lengths - 1).astype(np.int32),
    }


def _pack_shared_prefix(
    examples: Sequence[Sequence[Sequence[int]]],
    prefixes: Sequence[int],
    padded_length: int,
    stream_weight: Sequence[Sequence[float]],
) -> dict[str, np.ndarray]:
    """Return the arrays of a batch with one row per example: the prefix, then the other tokens.

    The published loss is a mean over the predicted tokens of each stream, then over streams. So a
    token weighs its stream's weight / (predicted tokens of its stream). A token that all streams
    share weighs the sum over the streams. After the prefix, all streams continue with the same
    token. It is predicted once, from the prefix, so only its copy in the first stream has a weight.
    """
    shape = (len(examples), 1, padded_length)
    tokens, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    segment_ids = np.full(shape, -1, np.int32)
    extract = np.zeros((len(examples), len(examples[0])), np.int32)
    for example, (streams, prefix) in enumerate(zip(examples, prefixes, strict=True)):
        row = example, 0
        tokens[row][:prefix] = streams[0][:prefix]
        segment_ids[row][:prefix] = 0
        token_weights = [
            weight / max(len(stream) - 1, 1)
            for weight, stream in zip(stream_weight[example], streams, strict=True)
        ]
        weights[row][: prefix + 1] = sum(token_weights)
        end = prefix
        for number, stream in enumerate(streams):
            start, end = end, end + len(stream) - prefix
            tokens[row][start:end] = stream[prefix:]
            segment_ids[row][start:end] = number + 1
            weights[row][start + 1 : end] = token_weights[number]
            extract[example, number] = end - 1
    return {"tokens": tokens, "segment_ids": segment_ids, "weights": weights, "extract": extract}


def pack_rows(batch: dict[str, np.ndarray], parts: int) -> dict[str, np.ndarray]:
    """Return the batch with several streams in a row, so that fewer of its tokens are padding.

    tokens, weights, segment_ids [P R L]: the rows of each part. A segment is a whole stream; a
    token weighs its stream's weight / (predicted tokens of its stream).
    extract [B C]: the last token of each stream, among the R * L tokens of its part.
    stream_weight [P R]: the sums of the weights of the streams in a row.
    label [B ...]: as before.

    The streams of a part are put into rows from the longest to the shortest, each into the first
    row with room for it. R is a multiple of an eighth of a part's streams, so that few programs are
    compiled.

    Args:
        batch: the arrays that `PackedExamples` returns, with a row for every stream.
        parts: equal parts into which the devices and the accumulation cut the batch.
    """
    length = batch["tokens"].shape[-1]
    tokens = batch["tokens"].reshape(parts, -1, length)
    lengths = (batch["weights"] > 0).sum(axis=-1).reshape(parts, -1)
    stream_weight = batch.get("stream_weight", np.ones(lengths.size, np.float32))
    stream_weight = stream_weight.reshape(lengths.shape)
    slots = [_slots(part, length) for part in lengths]
    multiple = math.ceil(lengths.shape[1] / 8)
    used = 1 + max(row for part in slots for row, _ in part)
    rows = multiple * math.ceil(used / multiple)
    shape = (parts, rows, length)
    arrays = {
        "tokens": np.zeros(shape, np.int32),
        "weights": np.zeros(shape, np.float32),
        "segment_ids": np.full(shape, -1, np.int32),
        "extract": np.zeros(lengths.shape, np.int32),
        "stream_weight": np.zeros(shape[:2], np.float32),
    }
    for part, stream in np.ndindex(*lengths.shape):
        row, start = slots[part][stream]
        end = start + lengths[part, stream]
        weight = stream_weight[part, stream]
        arrays["tokens"][part, row, start:end] = tokens[part, stream, : end - start]
        arrays["weights"][part, row, start + 1 : end] = weight / max(end - start - 1, 1)
        arrays["segment_ids"][part, row, start:end] = stream + 1
        arrays["extract"][part, stream] = row * length + end - 1
        arrays["stream_weight"][part, row] += weight
    arrays["extract"] = arrays["extract"].reshape(batch["extract"].shape)
    return {**arrays, "label": batch["label"]}


def _slots(lengths: Int[np.ndarray, "S"], room: int) -> list[tuple[int, int]]:
    """Return the row and the first column of each stream in rows of `room` tokens."""
    slots, filled = [(0, 0)] * len(lengths), []
    for stream in np.argsort(-lengths, kind="stable"):
        length = int(lengths[stream])
        row = next((row for row, end in enumerate(filled) if end + length <= room), len(filled))
        if row == len(filled):
            filled.append(0)
        slots[stream] = row, filled[row]
        filled[row] += length
    return slots


def stream_weights(
    streams: Sequence[Sequence[Sequence[int]]],
    labels: np.ndarray,
    *,
    per_sequence_mean: bool,
    every_stream: bool,
) -> list[list[float]] | None:
    """Return the weights [N][C] of the streams in the auxiliary LM loss; None if all are equal.

    Args:
        streams: [N][C] lists of token ids.
        labels: [N] class ids.
        per_sequence_mean: all streams weigh the same, as published; otherwise a stream weighs as
            much as it has predicted tokens.
        every_stream: all streams of an example count, as published; otherwise that of its label.
    """
    if per_sequence_mean and every_stream:
        return None
    weights = []
    for example, label in zip(streams, labels, strict=True):
        row = []
        for number, stream in enumerate(example):
            weight = 1.0 if per_sequence_mean else float(len(stream) - 1)
            row.append(weight if every_stream or number == label else 0.0)
        weights.append(row)
    return weights


def normalize_stream_weight(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scale the stream_weight of a batch to a mean of 1: factors of the rows' losses."""
    return {**batch, "stream_weight": batch["stream_weight"] / batch["stream_weight"].mean()}


def with_max_targets(batch: dict[str, Any], parts: int) -> dict[str, Any]:
    """Return the batch with "max_targets", a bound on the predicted tokens in each part of it.

    The bound is static: a compiled step takes it as a constant. It comes in quarters of a part, so
    that few programs are compiled.

    Args:
        batch: the arrays that `PackedExamples` returns.
        parts: equal parts into which the devices and the accumulation cut the batch.
    """
    predicted = (batch["weights"][:, :, 1:] != 0).reshape(parts, -1)
    examples = len(batch["weights"]) // parts
    quarter = math.ceil(predicted.shape[1] / 4)
    targets = quarter * math.ceil(predicted.sum(axis=1).max() / quarter)
    return {**batch, "max_targets": StaticInt(examples * math.ceil(targets / examples))}


def pad_batch(batch: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Return the batch padded to `size` rows with copies of its first row.

    The last batch of an evaluation then has the shape of the others. The caller drops the results
    of the copies.
    """
    missing = size - len(batch["tokens"])
    return {
        name: np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
        for name, array in batch.items()
    }


def evaluation_batches(
    dataset: PackedExamples, batch_size: int
) -> Iterator[tuple[Sequence[int], dict[str, np.ndarray]]]:
    """Yield every example once, in batches of exactly `batch_size`: (indices, batch).

    A batch holds examples of similar lengths, so that there is little padding. The last batch may
    have fewer indices than rows.
    """
    order = sorted(range(len(dataset)), key=dataset.length)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        yield indices, pad_batch(dataset[indices], batch_size)
