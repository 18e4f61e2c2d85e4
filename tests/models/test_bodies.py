"""Check the interface of every body; each test runs for each body."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS

from .conftest import CONTEXT, VOCAB

TOKENS = jax.random.randint(jax.random.key(1), (2, CONTEXT), 0, VOCAB)


def without_dropout(make_body, **changes):
    """Return a body without dropout, except for the rates in `changes`."""
    names = ("embd_dropout", "attn_dropout", "resid_dropout")
    rates = {name: 0.0 for name in names if hasattr(make_body(), name)}
    return make_body(**{**rates, **changes})


def embedding_of(body, params):
    return body.apply({"params": params}, False, method="embedding")


def test_registry_lists_both_bodies():
    assert list(MODELS) == ["lstm", "transformer"]


def test_hidden_states_depend_on_earlier_inputs_only(make_body, random_params):
    body = make_body()
    # Every position has its own token, so a row of the embedding is the input of one position.
    tokens = jnp.arange(CONTEXT)[None]
    params = random_params(LanguageModel(body), tokens)
    embedding = embedding_of(body, params)

    def hidden(rows):
        whole = jnp.concatenate([rows, embedding[CONTEXT:]])
        return body.apply({"params": params}, tokens, whole, False)[0]

    jacobian = jax.jit(jax.jacrev(hidden))(embedding[:CONTEXT])  # [L D L D]
    influence = np.abs(jacobian).max(axis=(1, 3))
    assert (influence[np.triu_indices(CONTEXT, 1)] == 0).all()
    assert (influence[np.tril_indices(CONTEXT)] > 0).all()


def test_padding_on_the_right_does_not_change_hidden_states(make_body, random_params, apply):
    model = LanguageModel(make_body())
    params = random_params(model, TOKENS)
    whole, _ = apply(model, params, TOKENS)
    padded, _ = apply(model, params, TOKENS.at[:, 5:].set(0))
    short, _ = apply(model, params, TOKENS[:, :5])
    np.testing.assert_array_equal(whole[:, :5], padded[:, :5])
    np.testing.assert_allclose(whole[:, :5], short, atol=1e-5)
    assert np.abs(whole[:, 5:] - padded[:, 5:]).max() > 0.01


# Lengths of the shared prefix and of every segment of each packed row; padded to 14 tokens.
PACKED_ROWS = (3, (2, 5, 1)), (0, (3, 6, 2))


def segments_of(prefix, lengths):
    row = np.repeat(range(len(lengths) + 1), (prefix, *lengths))
    return np.pad(row, (0, 14 - len(row)), constant_values=-1)


def test_segments_equal_separate_streams(make_body, random_params, apply):
    body = make_body()
    tokens = np.random.default_rng(4).integers(0, VOCAB, (2, 14))
    segment_ids = np.stack([segments_of(*row) for row in PACKED_ROWS])
    members = [
        (row, (segment_ids[row] == 0) | (segment_ids[row] == segment))
        for row in range(2)
        for segment in (1, 2, 3)
    ]
    streams = np.stack(
        [np.pad(tokens[row][member], (0, CONTEXT - member.sum())) for row, member in members]
    )
    params = random_params(LanguageModel(body), TOKENS)
    embedding = embedding_of(body, params)
    expected = apply(body, params, streams, embedding)
    hidden = apply(body, params, tokens, embedding, segment_ids=jnp.asarray(segment_ids))
    for (row, member), stream in zip(members, expected, strict=True):
        np.testing.assert_allclose(hidden[row][member], stream[: member.sum()], atol=1e-5)
    assert np.isfinite(hidden).all()  # on padding too; gradients would become NaN otherwise
    unsegmented = apply(body, params, tokens, embedding)
    assert all(np.abs(hidden[row] - unsegmented[row]).max() > 0.01 for row in range(2))


def test_rows_of_a_batch_are_independent(make_body, random_params, apply):
    model = LanguageModel(make_body())
    params = random_params(model, TOKENS)
    both, _ = apply(model, params, TOKENS)
    one, _ = apply(model, params, TOKENS[:1])
    np.testing.assert_allclose(both[:1], one, atol=1e-5)


def test_evaluation_is_deterministic_and_without_dropout(make_body, random_params, apply):
    model = LanguageModel(make_body(embd_dropout=0.5))
    params = random_params(model, TOKENS)
    first, embedding = apply(model, params, TOKENS)
    second, _ = apply(model, params, TOKENS)
    np.testing.assert_array_equal(first, second)
    assert (embedding != 0).all()


def test_training_pass_depends_on_the_key_only(make_body, random_params, apply):
    model = LanguageModel(make_body())
    params = random_params(model, TOKENS)

    def hidden(seed):
        return apply(model, params, TOKENS, train=True, seed=seed)[0]

    np.testing.assert_array_equal(hidden(0), hidden(0))
    assert np.abs(hidden(0) - hidden(1)).max() > 0.01


def test_embedding_dropout_is_shared_by_input_and_softmax(make_body, random_params, apply):
    body = without_dropout(make_body, embd_dropout=0.5)
    params = random_params(LanguageModel(body), TOKENS)
    plain = embedding_of(body, params)
    hidden, embedding = apply(LanguageModel(body), params, TOKENS, train=True)
    mask = np.asarray(embedding != 0)
    np.testing.assert_allclose(embedding[mask], 2 * plain[mask], rtol=1e-6)
    assert 0.3 < mask.mean() < 0.7
    assert len({row.tobytes() for row in mask}) == len(mask)  # every row has its own mask
    # A pass without dropout that reads the returned embedding gives the same hidden states.
    second = jax.jit(lambda params: body.apply({"params": params}, TOKENS, embedding, False))
    np.testing.assert_allclose(hidden, second(params), atol=1e-6)


def test_dropout_on_inputs_keeps_the_embedding_whole(make_body, random_params, apply):
    body = without_dropout(make_body, embd_dropout=0.5, table_dropout=False)
    model, tokens = LanguageModel(body), jnp.ones((2, CONTEXT), jnp.int32)
    params = random_params(model, tokens[:1])
    noisy, embedding = apply(model, params, tokens[:1], train=True)
    np.testing.assert_array_equal(embedding, embedding_of(body, params))
    clean, _ = apply(model, params, tokens[:1])
    assert (np.abs(noisy - clean).max(axis=-1) > 1e-3).mean() > 0.5
    # Occurrences of one token lose different features, so equal rows of a batch differ.
    noisy, _ = apply(model, params, tokens, train=True)
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["attn_dropout", "resid_dropout"])
def test_every_other_dropout_acts_alone(make_body, random_params, apply, name):
    if not hasattr(make_body(), name):
        pytest.skip(f"this body has no {name}")
    body = without_dropout(make_body, **{name: 0.5})
    params = random_params(LanguageModel(body), TOKENS)
    clean, _ = apply(LanguageModel(body), params, TOKENS)
    noisy, embedding = apply(LanguageModel(body), params, TOKENS, train=True)
    assert np.abs(clean - noisy).max() > 0.01 and (embedding != 0).all()


def test_bfloat16_is_close_to_float32_with_float32_params(make_body, random_params, apply):
    exact = LanguageModel(without_dropout(make_body))
    params = random_params(exact, TOKENS)
    half = LanguageModel(without_dropout(make_body, dtype="bfloat16"))
    for train in (False, True):
        expected, _ = apply(exact, params, TOKENS, train=train)
        hidden, embedding = apply(half, params, TOKENS, train=train)
        assert hidden.dtype == embedding.dtype == jnp.bfloat16
        error = np.abs(hidden.astype(jnp.float32) - expected).max()
        assert 0 < error < 0.06 * np.abs(expected).max()
    leaves = jax.tree.leaves(random_params(half, TOKENS))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
