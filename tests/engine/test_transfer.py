"""Test which params a transfer of K layers restores, and how differing shapes are handled."""

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
def test_transfer_restores_the_embeddings_and_the_first_blocks(layers, expected):
    assert sorted(transfer.transferred_names(NAMES, layers)) == sorted(expected)


def test_final_norm_belongs_to_the_last_block():
    names = [*NAMES, "ln_f/scale"]
    transferred = [
        layers
        for layers in range(-1, 5)
        if "ln_f/scale" in transfer.transferred_names(names, layers)
    ]
    assert transferred == [4]


@pytest.mark.parametrize("layers", [-2, 5])
def test_wrong_number_of_layers_is_refused(layers):
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


def test_merge_replaces_stored_params_and_leaves_the_others():
    stored = {"tokens": np.ones((6, 2)), "h0/kernel": np.full((2, 2), 2.0)}
    merged, restored_rows = transfer.merge(fresh(), stored)
    flat = flatten_dict(merged, sep="/")
    assert {name: float(array.mean()) for name, array in flat.items()} == {
        "tokens": 1,
        "h0/kernel": 2,
        "positions": 0,
        "clf/kernel": 0,
    }
    assert transfer.transfer_status(merged, restored_rows) == {
        "tokens": "restored",
        "h0/kernel": "restored",
        "positions": "fresh",
        "clf/kernel": "fresh",
    }


def test_longer_embedding_keeps_its_last_rows():
    merged, restored_rows = transfer.merge(fresh(), {"tokens": np.ones((4, 2))})
    assert merged["tokens"].tolist() == [[1, 1]] * 4 + [[0, 0]] * 2
    assert transfer.transfer_status(merged, restored_rows)["tokens"] == "restored 4 of 6 rows"


def test_shorter_embedding_takes_the_first_rows():
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
        ({"h1/kernel": np.ones((2, 2))}, "the checkpoint's h1/kernel is not a param of this model"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(stored, message):
    with pytest.raises(UserError, match=r"^config\.init\.path: .*" + message):
        transfer.merge(fresh(), stored)


def test_merge_does_not_change_its_arguments():
    tree, stored = fresh(), {"tokens": np.ones((4, 2))}
    transfer.merge(tree, stored)
    assert not tree["tokens"].any() and stored["tokens"].shape == (4, 2)


def test_summary_counts_arrays_by_part_and_status():
    merged = transfer.merge(fresh(), {"tokens": np.ones((4, 2)), "h0/kernel": np.ones((2, 2))})
    lines = [
        line.split()
        for line in transfer.status_summary(transfer.transfer_status(*merged)).splitlines()[1:]
    ]
    assert ["tokens", "restored", "4", "of", "6", "rows", "(1", "arrays)"] in lines
    assert ["h0", "restored", "(1", "arrays)"] in lines
    assert ["clf", "fresh", "(1", "arrays)"] in lines
