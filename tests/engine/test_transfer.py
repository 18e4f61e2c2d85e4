"""Which params a transfer of K layers takes, and what happens where shapes differ."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from gpt1_jax.engine import transfer
from gpt1_jax.errors import UserError

NAMES = [
    "h0/attn/kernel",
    "h0/ln/scale",
    "h1/attn/kernel",
    "h10/attn/kernel",
    "h2/attn/kernel",
    "positions",
    "tokens",
]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (-1, []),
        (0, ["positions", "tokens"]),
        (1, ["h0/attn/kernel", "h0/ln/scale", "positions", "tokens"]),
        (2, ["h0/attn/kernel", "h0/ln/scale", "h1/attn/kernel", "positions", "tokens"]),
        (4, sorted(NAMES)[:3] + sorted(NAMES)[4:]),  # h10 is not h1
    ],
)
def test_a_transfer_takes_the_embeddings_and_the_first_blocks(layers, expected):
    assert sorted(transfer.transferred_names(NAMES, layers)) == sorted(expected)


@pytest.mark.parametrize("layers", [-2, 5])
def test_more_layers_than_there_are_is_refused(layers):
    with pytest.raises(
        UserError, match=rf"config\.init\.layers: {layers} is not between -1 .* the 4 blocks"
    ):
        transfer.transferred_names(NAMES, layers)


def fresh():
    return {
        "tokens": np.zeros((6, 2)),
        "positions": np.zeros((3, 2)),
        "h0": {"kernel": np.zeros((2, 2))},
        "clf": {"kernel": np.zeros((2, 1))},
    }


def test_stored_arrays_take_their_places_and_the_rest_stays():
    stored = {"tokens": np.ones((6, 2)), "h0/kernel": np.full((2, 2), 2.0)}
    merged, kept = transfer.merge(fresh(), stored)
    flat = flatten_dict(merged, sep="/")
    assert {name: float(array.mean()) for name, array in flat.items()} == {
        "tokens": 1,
        "h0/kernel": 2,
        "positions": 0,
        "clf/kernel": 0,
    }
    assert transfer.transfer_status(merged, kept) == {
        "tokens": "restored",
        "h0/kernel": "restored",
        "positions": "fresh",
        "clf/kernel": "fresh",
    }


def test_a_longer_table_keeps_its_own_last_rows():
    merged, kept = transfer.merge(fresh(), {"tokens": np.ones((4, 2))})
    assert merged["tokens"].tolist() == [[1, 1]] * 4 + [[0, 0]] * 2
    assert transfer.transfer_status(merged, kept)["tokens"] == "restored 4 of 6 rows"


def test_a_shorter_table_takes_the_first_rows():
    merged, _ = transfer.merge(fresh(), {"positions": np.arange(10.0).reshape(5, 2)})
    assert merged["positions"].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (
            {"tokens": np.ones((6, 3))},
            r"tokens is \(6, 3\) in the checkpoint and \(6, 2\) in this model",
        ),
        ({"h0/kernel": np.ones((3, 2))}, r"h0/kernel is \(3, 2\)"),
        ({"h1/kernel": np.ones((2, 2))}, "the checkpoint's h1/kernel has no place in this model"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(stored, message):
    with pytest.raises(UserError, match=r"^config\.init\.path: .*" + message):
        transfer.merge(fresh(), stored)


def test_merging_changes_neither_of_its_arguments():
    tree, stored = fresh(), {"tokens": np.ones((4, 2))}
    transfer.merge(tree, stored)
    assert not tree["tokens"].any() and stored["tokens"].shape == (4, 2)


def test_the_table_counts_arrays_by_part_and_fate():
    merged = transfer.merge(fresh(), {"tokens": np.ones((4, 2)), "h0/kernel": np.ones((2, 2))})
    lines = [
        line.split()
        for line in transfer.status_summary(transfer.transfer_status(*merged)).splitlines()[1:]
    ]
    assert ["tokens", "restored", "4", "of", "6", "rows", "(1", "arrays)"] in lines
    assert ["h0", "restored", "(1", "arrays)"] in lines and [
        "clf",
        "fresh",
        "(1",
        "arrays)",
    ] in lines
