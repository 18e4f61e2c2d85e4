"""Which items a batch holds, as a function of the step, and how ragged streams become arrays."""

import numpy as np
import pytest

from gpt1_jax.engine import order, packing
from gpt1_jax.errors import UserError

ROWS = dict(size=23, batch_size=4, seed=5)


def test_every_item_comes_at_most_once_an_epoch_and_whole_batches_only():
    assert order.updates_per_epoch(23, 4) == 5  # the last 3 of 23 are dropped, as published
    for epoch in range(3):
        seen = np.concatenate(
            [order.indices(step, **ROWS) for step in range(5 * epoch, 5 * epoch + 5)]
        )
        assert len(set(seen)) == 20 and set(seen) <= set(range(23))


def test_every_item_comes_exactly_once_where_the_batches_divide():
    seen = np.concatenate([order.indices(step, size=24, batch_size=4, seed=0) for step in range(6)])
    assert sorted(seen) == list(range(24))


def test_epochs_and_seeds_have_orders_of_their_own():
    first = order.indices(0, size=1000, batch_size=100, seed=0)
    assert set(first) != set(order.indices(10, size=1000, batch_size=100, seed=0))
    assert set(first) != set(order.indices(0, size=1000, batch_size=100, seed=1))


def test_a_batch_depends_on_its_step_alone():
    forward = {step: order.indices(step, **ROWS) for step in range(20)}
    for step in np.random.default_rng(0).permutation(20):
        np.testing.assert_array_equal(order.indices(int(step), **ROWS), forward[step])


def test_windows_tile_the_corpus_and_start_elsewhere_every_epoch():
    rows = dict(size=1003, batch_size=10, seed=0, stride=10)
    phases = set()
    for epoch in range(5):
        starts = np.sort(
            np.concatenate(
                [order.indices(step, **rows) for step in range(10 * epoch, 10 * epoch + 10)]
            )
        )
        assert (
            (np.diff(starts) == 10).all()
            and len(starts) == 100
            and 0 <= starts[0] < 10
            and starts[-1] < 1003
        )
        phases.add(int(starts[0]))
    assert len(phases) > 1


def test_too_little_data_for_one_batch_is_refused():
    with pytest.raises(UserError, match=r"config\.batch_size: 8 is more than the 7 examples"):
        order.updates_per_epoch(7, 8)
    with pytest.raises(UserError, match="the 2 examples"):
        order.indices(0, size=29, batch_size=4, seed=0, stride=10)


STREAMS = [
    [list(range(1, length + 1)), [7] * other]
    for length, other in ((3, 5), (20, 2), (9, 9), (40, 30), (4, 4))
]
LABELS = np.eye(5, dtype=np.float32)


def test_streams_become_padded_arrays():
    batch = packing.PackedExamples(STREAMS, LABELS)[[0, 2]]
    assert (
        batch["tokens"].shape == (2, 2, 16) and batch["tokens"].dtype == np.int32
    )  # 16, the smallest length that holds 9
    for row, index in enumerate((0, 2)):
        for stream, ids in enumerate(STREAMS[index]):
            line, weights = batch["tokens"][row, stream], batch["weights"][row, stream]
            assert line[: len(ids)].tolist() == ids and not line[len(ids) :].any()
            assert weights.tolist() == [1.0] * len(ids) + [0.0] * (16 - len(ids))
            assert batch["extract"][row, stream] == 16 * stream + len(ids) - 1
    np.testing.assert_array_equal(batch["label"], LABELS[[0, 2]])


@pytest.mark.parametrize(("indices", "longest"), [([0], 5), ([1, 2], 20), (np.array([0, 2]), 9)])
def test_the_padded_length_is_the_smallest_of_a_few_that_holds_the_batch(indices, longest):
    expected = min(length for length in packing.LENGTHS if length >= longest)
    assert packing.PackedExamples(STREAMS, LABELS)[indices]["tokens"].shape[-1] == expected


def test_no_batch_is_padded_above_the_longest_example():
    assert 40 not in packing.LENGTHS
    assert packing.PackedExamples(STREAMS, LABELS)[[3]]["tokens"].shape[-1] == 40


# Three streams each: [start] context [delimiter] answer [extract]. The third has nothing in common but the first token, the fourth all.
CHOICES = [
    [[50, *range(1, 11), 51, *answer, 52] for answer in ([20], [21, 22, 23], [21, 24])],
    [[50, 1, 2, 51, *answer, 52] for answer in ([20, 21], [20, 22, 23], [20])],
    [[50, 7, 52], [50, 8, 8, 52], [50, 9, 52]],
    [[50, 1, 51, 20, 52]] * 2 + [[50, 1, 51, 20]],
]
PREFIXES = [11, 4, 0, 3]  # the last token that the streams have in common is not of it


@pytest.mark.parametrize("index", range(4))
def test_a_shared_prefix_is_laid_down_once(index):
    batch = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)[[index]]
    tokens, segment_ids = batch["tokens"][0, 0], batch["segment_ids"][0, 0]
    assert (
        batch["tokens"].shape
        == batch["segment_ids"].shape
        == batch["weights"].shape
        == (1, 1, len(tokens))
    )
    assert (segment_ids == 0).sum() == PREFIXES[index]
    used = (segment_ids >= 0).sum()
    assert (
        (np.diff(segment_ids[:used]) >= 0).all()
        and (segment_ids[used:] == -1).all()
        and not tokens[used:].any()
    )
    for branch, stream in enumerate(CHOICES[index], start=1):
        held = (segment_ids == 0) | (segment_ids == branch)
        assert tokens[held].tolist() == stream
        assert batch["extract"][0, branch - 1] == np.flatnonzero(held)[-1]


@pytest.mark.parametrize("index", range(4))
def test_its_weights_make_the_mean_of_the_streams_means(index):
    # Any loss that depends on a token and the one before it: the prefix's tokens must have one next token for all streams.
    cost = np.random.default_rng(0).random((60, 60))
    expected = np.mean([cost[stream[:-1], stream[1:]].mean() for stream in CHOICES[index]])
    batch = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)[[index]]
    tokens, weights = batch["tokens"][0, 0], batch["weights"][0, 0, 1:]
    assert np.average(cost[tokens[:-1], tokens[1:]], weights=weights) == pytest.approx(
        expected, abs=1e-6
    )
    # A shared token is predicted once, a branch's first one with the prefix, padding never.
    assert (weights > 0).sum() == PREFIXES[index] + sum(
        len(stream) - PREFIXES[index] - 1 for stream in CHOICES[index]
    )


@pytest.mark.parametrize("share_prefix", [False, True])
def test_streams_count_by_their_importance_in_the_mean_over_a_batch(share_prefix):
    cost, stream_weight = (
        np.random.default_rng(0).random((60, 60)),
        [[1.0, 0.0, 3.0], [2.0, 5.0, 0.5], [0.0, 1.0, 0.0], [4.0, 1.0, 1.0]],
    )
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


def test_rows_with_a_shared_prefix_have_few_lengths_and_the_context_is_that_of_a_stream():
    dataset = packing.PackedExamples(CHOICES, LABELS[:4], share_prefix=True)
    assert [dataset.length(index) for index in range(4)] == [
        11 + 3 + 5 + 4,
        4 + 3 + 4 + 2,
        3 + 4 + 3,
        3 + 2 + 2 + 1,
    ]
    assert dataset.longest == 16
    assert dataset[[1]]["tokens"].shape == (1, 1, 16) and dataset[[0, 2]]["tokens"].shape == (
        2,
        1,
        23,
    )


@pytest.mark.parametrize("share_prefix", [False, True])
def test_room_bounds_the_predicted_tokens_of_every_part(share_prefix):
    dataset = packing.PackedExamples(CHOICES[:2] * 4, LABELS[[0] * 8], share_prefix=share_prefix)
    batch = packing.with_max_targets(dataset[range(8)], 4)
    predicted = (batch["weights"][:, :, 1:] > 0).reshape(4, -1).sum(axis=1)
    positions = batch["tokens"][:, :, 1:].size // 4
    assert predicted.max() <= batch["max_targets"].value <= positions + 8
    assert batch["max_targets"].value < predicted.max() + positions / 4 + 2


def test_hidden_labels_are_zeros():
    assert not packing.PackedExamples(STREAMS, None)[[0, 1]]["label"].any()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_an_evaluation_covers_every_example_once_in_batches_of_one_size(batch_size):
    dataset = packing.PackedExamples(STREAMS, LABELS)
    seen = []
    for chosen, batch in packing.evaluation_batches(dataset, batch_size):
        assert {len(array) for array in batch.values()} == {batch_size}
        np.testing.assert_array_equal(batch["label"][: len(chosen)], LABELS[list(chosen)])
        seen += chosen
    assert sorted(seen) == list(range(5))


def test_filling_repeats_the_first_row():
    batch = packing.pad_batch(
        {"tokens": np.array([[1, 2], [3, 4]]), "label": np.array([5.0, 6.0])}, 4
    )
    assert batch["tokens"].tolist() == [[1, 2], [3, 4], [1, 2], [1, 2]] and batch[
        "label"
    ].tolist() == [5, 6, 5, 5]


MIXTURE = dict(sizes=(57, 1000, 23), weights=(0.5, 0.3, 0.2), batch_size=50, seed=3, stride=1)


def rows(steps: int, **changed) -> list[tuple[int, int]]:
    drawn = [order.mixture_indices(step, **MIXTURE | changed) for step in range(steps)]
    return [
        (part, item)
        for parts, items in drawn
        for part, item in zip(parts.tolist(), items.tolist(), strict=True)
    ]


def test_parts_have_their_share_whatever_their_sizes():
    parts = np.array([part for part, _ in rows(2 * order.SLOTS // 50)])
    for period in np.split(parts, 2):
        assert np.bincount(period).tolist() == [5000, 3000, 2000]
    spread = np.array([np.bincount(batch, minlength=3) for batch in np.split(parts, 400)])
    assert np.abs(spread - [25, 15, 10]).max() < 20  # every batch has its mixture
    thirds = [part for part, _ in rows(order.SLOTS // 50, weights=(1 / 3, 1 / 3, 1 / 3))]
    assert sorted(np.bincount(thirds)) == [3333, 3333, 3334]


def test_every_part_has_epochs_of_its_own_also_across_the_end_of_the_schedule():
    drawn = rows(2 * order.SLOTS // 50)
    for part, size in enumerate(MIXTURE["sizes"]):
        items = [item for number, item in drawn if number == part]
        epochs = [items[start : start + size] for start in range(0, len(items) - size + 1, size)]
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs) and len(epochs) > 5
        assert epochs[0] != epochs[1]


def test_a_mixed_batch_depends_on_its_step_alone_and_windows_tile_every_part():
    strided = dict(sizes=(1003, 509, 203), stride=10)
    forward = [order.mixture_indices(step, **MIXTURE | strided) for step in range(10)]
    for step in (9, 0, 4):
        np.testing.assert_array_equal(
            order.mixture_indices(step, **MIXTURE | strided), forward[step]
        )
    starts = [item for part, item in rows(10, **strided) if part == 0][:100]
    assert (np.diff(np.sort(starts)) == 10).all()
    other = order.mixture_indices(0, **MIXTURE | strided | {"seed": 4})
    assert not np.array_equal(other[0], forward[0][0])


def test_a_weight_without_a_row_is_refused():
    with pytest.raises(
        UserError,
        match=r"config\.data\.path: a part of weight 1e-05 has not one row in 10000; give it more",
    ):
        order.mixture_indices(0, sizes=(9, 9), weights=(1 - 1e-5, 1e-5), batch_size=2, seed=0)
