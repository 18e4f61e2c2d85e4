"""Test the items of batches as functions of seed and step, of one data set and of mixtures."""

import numpy as np
import pytest

from gpt1_jax.engine import order
from gpt1_jax.errors import UserError

ROWS = dict(size=23, batch_size=4, seed=5)


def test_epoch_has_whole_batches_without_repeated_items():
    assert order.updates_per_epoch(23, 4) == 5  # the last 3 of 23 are dropped, as published
    for epoch in range(3):
        items = np.concatenate(
            [order.indices(step, **ROWS) for step in range(5 * epoch, 5 * epoch + 5)]
        )
        assert len(set(items)) == 20 and set(items) <= set(range(23))


def test_epoch_of_whole_batches_has_every_item_once():
    items = np.concatenate(
        [order.indices(step, size=24, batch_size=4, seed=0) for step in range(6)]
    )
    assert sorted(items) == list(range(24))


def test_epochs_and_seeds_have_different_orders():
    first = order.indices(0, size=1000, batch_size=100, seed=0)
    assert set(first) != set(order.indices(10, size=1000, batch_size=100, seed=0))
    assert set(first) != set(order.indices(0, size=1000, batch_size=100, seed=1))


def test_batch_depends_only_on_its_step():
    forward = {step: order.indices(step, **ROWS) for step in range(20)}
    for step in np.random.default_rng(0).permutation(20):
        np.testing.assert_array_equal(order.indices(int(step), **ROWS), forward[step])


def test_windows_tile_the_corpus_from_another_phase_every_epoch():
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


MIXTURE = dict(sizes=(57, 1000, 23), weights=(0.5, 0.3, 0.2), batch_size=50, seed=3, stride=1)


def mixed_rows(steps: int, **changes) -> list[tuple[int, int]]:
    """Return (part, item) of every row of the first steps."""
    batches = [order.mixture_indices(step, **MIXTURE | changes) for step in range(steps)]
    return [
        (part, item)
        for parts, items in batches
        for part, item in zip(parts.tolist(), items.tolist(), strict=True)
    ]


def test_parts_have_exact_shares_whatever_their_sizes():
    parts = np.array([part for part, _ in mixed_rows(2 * order.SLOTS // 50)])
    for period in np.split(parts, 2):
        assert np.bincount(period).tolist() == [5000, 3000, 2000]
    counts = np.array([np.bincount(batch, minlength=3) for batch in np.split(parts, 400)])
    assert np.abs(counts - [25, 15, 10]).max() < 20  # every batch is a mixture
    thirds = [part for part, _ in mixed_rows(order.SLOTS // 50, weights=(1 / 3, 1 / 3, 1 / 3))]
    assert sorted(np.bincount(thirds)) == [3333, 3333, 3334]


def test_every_part_has_its_own_epochs_across_the_end_of_the_schedule():
    rows = mixed_rows(2 * order.SLOTS // 50)
    for part, size in enumerate(MIXTURE["sizes"]):
        items = [item for number, item in rows if number == part]
        epochs = [items[start : start + size] for start in range(0, len(items) - size + 1, size)]
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs) and len(epochs) > 5
        assert epochs[0] != epochs[1]


def test_mixed_batch_depends_only_on_its_step_and_windows_tile_every_part():
    strided = dict(sizes=(1003, 509, 203), stride=10)
    forward = [order.mixture_indices(step, **MIXTURE | strided) for step in range(10)]
    for step in (9, 0, 4):
        np.testing.assert_array_equal(
            order.mixture_indices(step, **MIXTURE | strided), forward[step]
        )
    starts = [item for part, item in mixed_rows(10, **strided) if part == 0][:100]
    assert (np.diff(np.sort(starts)) == 10).all()
    other_seed = order.mixture_indices(0, **MIXTURE | strided | {"seed": 4})
    assert not np.array_equal(other_seed[0], forward[0][0])


def test_weight_without_a_row_is_refused():
    with pytest.raises(
        UserError,
        match=r"config\.data\.path: a part of weight 1e-05 has not one row in 10000; give it more",
    ):
        order.mixture_indices(0, sizes=(9, 9), weights=(1 - 1e-5, 1e-5), batch_size=2, seed=0)
