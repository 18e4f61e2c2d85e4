"""Test the padded arrays of batches, with a row for every stream and with shared prefixes."""

import numpy as np
import pytest

from gpt1_jax.engine import packing

STREAMS = [
    [list(range(1, length + 1)), [7] * other]
    for length, other in ((3, 5), (20, 2), (9, 9), (40, 30), (4, 4))
]
LABELS = np.eye(5, dtype=np.float32)


def test_streams_become_padded_arrays():
    batch = packing.PackedExamples(STREAMS, LABELS)[[0, 2]]
    assert batch["tokens"].shape == (2, 2, 16)  # 16 is the smallest length that holds 9
    assert batch["tokens"].dtype == np.int32
    for row, index in enumerate((0, 2)):
        for stream, ids in enumerate(STREAMS[index]):
            line, weights = batch["tokens"][row, stream], batch["weights"][row, stream]
            assert line[: len(ids)].tolist() == ids and not line[len(ids) :].any()
            assert weights.tolist() == [1.0] * len(ids) + [0.0] * (16 - len(ids))
            assert batch["extract"][row, stream] == 16 * stream + len(ids) - 1
    np.testing.assert_array_equal(batch["label"], LABELS[[0, 2]])


@pytest.mark.parametrize(("indices", "longest"), [([0], 5), ([1, 2], 20), (np.array([0, 2]), 9)])
def test_padded_length_is_the_smallest_allowed_one_that_holds_the_batch(indices, longest):
    expected = min(length for length in packing.LENGTHS if length >= longest)
    assert packing.PackedExamples(STREAMS, LABELS)[indices]["tokens"].shape[-1] == expected


def test_batch_is_not_padded_above_the_longest_example():
    assert 40 not in packing.LENGTHS
    assert packing.PackedExamples(STREAMS, LABELS)[[3]]["tokens"].shape[-1] == 40


# Three streams each: [start] context [delimiter] answer [extract]. The streams of the third example
# share only the first token; those of the fourth share all tokens.
CHOICES = [
    [[50, *range(1, 11), 51, *answer, 52] for answer in ([20], [21, 22, 23], [21, 24])],
    [[50, 1, 2, 51, *answer, 52] for answer in ([20, 21], [20, 22, 23], [20])],
    [[50, 7, 52], [50, 8, 8, 52], [50, 9, 52]],
    [[50, 1, 51, 20, 52]] * 2 + [[50, 1, 51, 20]],
]
PREFIXES = [11, 4, 0, 3]  # the last shared token does not belong to the prefix


@pytest.mark.parametrize("index", range(4))
def test_shared_prefix_is_stored_once(index):
    batch = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)[[index]]
    tokens, segment_ids = batch["tokens"][0, 0], batch["segment_ids"][0, 0]
    assert (
        batch["tokens"].shape
        == batch["segment_ids"].shape
        == batch["weights"].shape
        == (1, 1, len(tokens))
    )
    assert (segment_ids == 0).sum() == PREFIXES[index]
    length = (segment_ids >= 0).sum()
    assert (np.diff(segment_ids[:length]) >= 0).all()
    assert (segment_ids[length:] == -1).all() and not tokens[length:].any()
    for segment, stream in enumerate(CHOICES[index], start=1):
        members = (segment_ids == 0) | (segment_ids == segment)
        assert tokens[members].tolist() == stream
        assert batch["extract"][0, segment - 1] == np.flatnonzero(members)[-1]


@pytest.mark.parametrize("index", range(4))
def test_weights_of_a_shared_prefix_give_the_mean_of_the_streams_means(index):
    # The loss depends on a token and the one before it: the next token of a prefix token must be
    # the same in all streams.
    cost = np.random.default_rng(0).random((60, 60))
    expected = np.mean([cost[stream[:-1], stream[1:]].mean() for stream in CHOICES[index]])
    batch = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)[[index]]
    tokens, weights = batch["tokens"][0, 0], batch["weights"][0, 0, 1:]
    assert np.average(cost[tokens[:-1], tokens[1:]], weights=weights) == pytest.approx(
        expected, abs=1e-6
    )
    # A shared token is predicted once, a stream's first own token with the prefix, padding never.
    assert (weights > 0).sum() == PREFIXES[index] + sum(
        len(stream) - PREFIXES[index] - 1 for stream in CHOICES[index]
    )


@pytest.mark.parametrize("share_prefix", [False, True])
def test_stream_weight_weights_the_mean_over_a_batch(share_prefix):
    cost = np.random.default_rng(0).random((60, 60))
    stream_weight = [[1.0, 0.0, 3.0], [2.0, 5.0, 0.5], [0.0, 1.0, 0.0], [4.0, 1.0, 1.0]]
    streams = [example[:3] for example in CHOICES]
    means = [[cost[stream[:-1], stream[1:]].mean() for stream in example] for example in streams]
    batch = packing.normalize_stream_weight(
        packing.PackedExamples(streams, LABELS[:4], share_prefix, stream_weight)[[2, 0, 1, 3]]
    )
    tokens, weights = batch["tokens"], batch["weights"][:, :, 1:]
    losses = cost[tokens[:, :, :-1], tokens[:, :, 1:]] * weights
    rows = losses.sum(axis=-1) / np.maximum(weights.sum(axis=-1), 1e-9)
    assert np.mean(rows * batch["stream_weight"]) == pytest.approx(
        np.average(np.ravel(means), weights=np.ravel(stream_weight)), abs=1e-6
    )


def test_shared_prefix_rows_are_padded_and_longest_is_that_of_a_stream():
    dataset = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)
    assert [dataset.length(index) for index in range(4)] == [
        11 + 3 + 5 + 4,
        4 + 3 + 4 + 2,
        3 + 4 + 3,
        3 + 2 + 2 + 1,
    ]
    assert dataset.longest == 16
    assert dataset[[1]]["tokens"].shape == (1, 1, 16)
    assert dataset[[0, 2]]["tokens"].shape == (2, 1, 23)


@pytest.mark.parametrize("share_prefix", [False, True])
def test_max_targets_bounds_the_predicted_tokens_of_every_part(share_prefix):
    dataset = packing.PackedExamples(CHOICES[:2] * 4, LABELS[[0] * 8], share_prefix=share_prefix)
    batch = packing.with_max_targets(dataset[range(8)], 4)
    predicted = (batch["weights"][:, :, 1:] > 0).reshape(4, -1).sum(axis=1)
    positions = batch["tokens"][:, :, 1:].size // 4
    assert predicted.max() <= batch["max_targets"].value <= positions + 8
    assert batch["max_targets"].value < predicted.max() + positions / 4 + 2


def test_hidden_labels_are_zeros():
    assert not packing.PackedExamples(STREAMS, None)[[0, 1]]["label"].any()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_evaluation_has_every_example_once_in_batches_of_one_size(batch_size):
    dataset = packing.PackedExamples(STREAMS, LABELS)
    indices = []
    for chosen, batch in packing.evaluation_batches(dataset, batch_size):
        assert {len(array) for array in batch.values()} == {batch_size}
        np.testing.assert_array_equal(batch["label"][: len(chosen)], LABELS[list(chosen)])
        indices += chosen
    assert sorted(indices) == list(range(5))


def test_padding_a_batch_repeats_the_first_row():
    batch = packing.pad_batch(
        {"tokens": np.array([[1, 2], [3, 4]]), "label": np.array([5.0, 6.0])}, 4
    )
    assert batch["tokens"].tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]]
    assert batch["label"].tolist() == [5, 6, 5, 5]


@pytest.mark.parametrize("parts", [1, 2])
def test_packed_rows_hold_every_stream_once(parts):
    indices = [4, 0, 2, 1]
    packed = packing.pack_rows(packing.PackedExamples(STREAMS, LABELS)[indices], parts)
    rows, length = packed["tokens"].shape[1:]
    assert packed["tokens"].shape == (parts, rows, 32) and rows < 2 * len(indices) // parts
    extract = packed["extract"].reshape(parts, -1)
    streams = [stream for index in indices for stream in STREAMS[index]]
    for number, ids in enumerate(streams):
        part, place = divmod(number, len(streams) // parts)
        row, end = divmod(int(extract[part, place]), length)
        span = part, row, slice(end + 1 - len(ids), end + 1)
        assert packed["tokens"][span].tolist() == ids
        assert set(packed["segment_ids"][span]) == {place + 1}
        assert packed["weights"][span].tolist() == [0.0] + [np.float32(1 / (len(ids) - 1))] * (
            len(ids) - 1
        )
    assert (packed["segment_ids"] >= 0).sum() == sum(map(len, streams))
    assert packed["stream_weight"].sum() == len(streams)
    np.testing.assert_array_equal(packed["label"], LABELS[indices])
