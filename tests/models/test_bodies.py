"""The contract that every body keeps, each test run for each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS

from .conftest import CONTEXT, VOCAB

TOKENS = jax.random.randint(jax.random.key(1), (2, CONTEXT), 0, VOCAB)


def noiseless(make_body, **changes):
    """A body whose only dropout is what `changes` says."""
    rates = [
        name
        for name in ("embd_dropout", "attn_dropout", "resid_dropout")
        if hasattr(make_body(), name)
    ]
    return make_body(**{**dict.fromkeys(rates, 0.0), **changes})


def test_the_registry_knows_both():
    assert list(MODELS) == ["lstm", "transformer"]


def test_no_hidden_state_sees_a_later_input(make_body, fresh):
    body = make_body()
    tokens = jnp.arange(CONTEXT)[
        None
    ]  # a token a position, so a row of the table is the input of one position
    params = fresh(LanguageModel(body), tokens)
    table = body.apply({"params": params}, False, method="table")

    def hidden(rows):
        return body.apply(
            {"params": params}, tokens, jnp.concatenate([rows, table[CONTEXT:]]), False
        )[0]

    jacobian = jax.jit(jax.jacfwd(hidden))(table[:CONTEXT])  # [L D L D]
    reach = np.abs(jacobian).max(axis=(1, 3))
    assert (reach[np.triu_indices(CONTEXT, 1)] == 0).all()
    assert (reach[np.tril_indices(CONTEXT)] > 0).all()


def test_padding_on_the_right_changes_nothing_on_the_left(make_body, fresh, apply):
    model = LanguageModel(make_body())
    params = fresh(model, TOKENS)
    whole, _ = apply(model, params, TOKENS)
    padded, _ = apply(model, params, TOKENS.at[:, 5:].set(0))
    short, _ = apply(model, params, TOKENS[:, :5])
    np.testing.assert_array_equal(whole[:, :5], padded[:, :5])
    np.testing.assert_allclose(whole[:, :5], short, atol=1e-5)
    assert np.abs(whole[:, 5:] - padded[:, 5:]).max() > 0.01


# Of each row that segment_ids: tokens of the shared prefix, then of every branch; the row of 14 ends in padding.
BRANCHING = (3, (2, 5, 1)), (0, (3, 6, 2))


def branching_row(prefix, lengths):
    row = np.repeat(range(len(lengths) + 1), (prefix, *lengths))
    return np.pad(row, (0, 14 - len(row)), constant_values=-1)


def test_a_branch_has_the_hidden_states_of_a_stream_of_its_own(make_body, fresh, apply):
    body = make_body()
    tokens = np.random.default_rng(4).integers(0, VOCAB, (2, 14))
    segment_ids = np.stack([branching_row(*row) for row in BRANCHING])
    own = [
        (row, (segment_ids[row] == 0) | (segment_ids[row] == branch))
        for row in range(2)
        for branch in (1, 2, 3)
    ]
    streams = np.stack([np.pad(tokens[row][held], (0, CONTEXT - held.sum())) for row, held in own])
    params = fresh(LanguageModel(body), TOKENS)
    table = body.apply({"params": params}, False, method="table")
    expected = apply(body, params, streams, table)
    found = apply(body, params, tokens, table, segment_ids=jnp.asarray(segment_ids))
    for (row, held), stream in zip(own, expected, strict=True):
        np.testing.assert_allclose(found[row][held], stream[: held.sum()], atol=1e-5)
    assert np.isfinite(found).all()  # padding, too, or gradients would be lost
    alone = apply(body, params, tokens, table)
    assert all(np.abs(found[row] - alone[row]).max() > 0.01 for row in range(2))


def test_rows_of_a_batch_do_not_meet(make_body, fresh, apply):
    model = LanguageModel(make_body())
    params = fresh(model, TOKENS)
    both, _ = apply(model, params, TOKENS)
    one, _ = apply(model, params, TOKENS[:1])
    np.testing.assert_allclose(both[:1], one, atol=1e-5)


def test_evaluation_draws_nothing_and_repeats_itself(make_body, fresh, apply):
    model = LanguageModel(make_body(embd_dropout=0.5))
    params = fresh(model, TOKENS)
    first, table = apply(model, params, TOKENS)
    again, _ = apply(model, params, TOKENS)
    np.testing.assert_array_equal(first, again)
    assert (table != 0).all()


def test_training_is_a_function_of_the_key(make_body, fresh, apply):
    model = LanguageModel(make_body())
    params = fresh(model, TOKENS)
    draw = lambda seed: apply(model, params, TOKENS, train=True, seed=seed)[0]
    np.testing.assert_array_equal(draw(0), draw(0))
    assert np.abs(draw(0) - draw(1)).max() > 0.01


def test_the_tables_dropout_is_one_mask_for_input_and_softmax(make_body, fresh, apply):
    body = noiseless(make_body, embd_dropout=0.5)
    params = fresh(LanguageModel(body), TOKENS)
    plain = body.apply({"params": params}, False, method="table")
    hidden, table = apply(LanguageModel(body), params, TOKENS, train=True)
    kept = table != 0
    np.testing.assert_allclose(table[kept], 2 * plain[kept], rtol=1e-6)
    assert 0.3 < kept.mean() < 0.7 and len({row.tobytes() for row in np.asarray(kept)}) == len(
        table
    )  # every row its own
    # The hidden states are those of a pass that reads its inputs from the very table that the softmax gets.
    again = jax.jit(lambda params: body.apply({"params": params}, TOKENS, table, False))(params)
    np.testing.assert_allclose(hidden, again, atol=1e-6)


def test_or_the_embeddings_are_dropped_and_the_table_is_whole(make_body, fresh, apply):
    body = noiseless(make_body, embd_dropout=0.5, table_dropout=False)
    same = jnp.ones((1, CONTEXT), jnp.int32)
    params = fresh(LanguageModel(body), same)
    plain = body.apply({"params": params}, False, method="table")
    noisy, table = apply(LanguageModel(body), params, same, train=True)
    np.testing.assert_array_equal(table, plain)
    calm, _ = apply(LanguageModel(body), params, same)
    assert (np.abs(noisy - calm).max(axis=-1) > 1e-3).mean() > 0.5
    # Of one token, twice: its occurrences lose different features, so different rows of a batch differ too.
    noisy, _ = apply(LanguageModel(body), params, jnp.ones((2, CONTEXT), jnp.int32), train=True)
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


@pytest.mark.parametrize("place", ["attn_dropout", "resid_dropout"])
def test_every_other_place_drops_by_itself(make_body, fresh, apply, place):
    if not hasattr(make_body(), place):
        pytest.skip(f"this body has no {place}")
    body = noiseless(make_body, **{place: 0.5})
    params = fresh(LanguageModel(body), TOKENS)
    calm, _ = apply(LanguageModel(body), params, TOKENS)
    noisy, table = apply(LanguageModel(body), params, TOKENS, train=True)
    assert np.abs(calm - noisy).max() > 0.01 and (table != 0).all()


def test_bfloat16_stays_near_float32_with_float32_params(make_body, fresh, apply):
    exact = LanguageModel(noiseless(make_body))
    params = fresh(exact, TOKENS)
    half = LanguageModel(noiseless(make_body, dtype="bfloat16"))
    for train in (False, True):
        hidden, _ = apply(exact, params, TOKENS, train=train)
        rough, table = apply(half, params, TOKENS, train=train)
        assert rough.dtype == table.dtype == jnp.bfloat16
        assert 0 < np.abs(rough.astype(jnp.float32) - hidden).max() < 0.06 * np.abs(hidden).max()
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh(half, TOKENS))} == {jnp.dtype("float32")}
