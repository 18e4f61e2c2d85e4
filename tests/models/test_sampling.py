"""Text drawn token by token: the very tokens of the plain way, which passes over the whole text for each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models import sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.sampling import SamplingParams

from .conftest import BODIES, CONTEXT, VOCAB

TOKENS = jax.random.randint(jax.random.key(1), (3, CONTEXT), 0, VOCAB)
PROMPTS = [[3, 5, 7, 2, 2], [11], [2, 13, 1, 4, 1, 4]]
KEYS = jax.random.split(jax.random.key(7), 3)
WORDS = VOCAB - 3  # the others stand for special tokens, which are not to be drawn
DRAWN = SamplingParams(temperature=2.0, top_k=9, top_p=0.9)


@pytest.fixture
def sharp(make_body, fresh):
    """A model, and params with which draws follow the text and rows of the table that are no words would win most draws."""
    model = LanguageModel(make_body())
    params = fresh(model, TOKENS)
    for name in {"tokens", "positions"} & params.keys():
        beyond = jnp.arange(len(params[name])) >= (WORDS if name == "tokens" else 0)
        params[name] = jnp.where(beyond[:, None], 9.0, 3.0) * params[name]
    return model, params


def plainly(model, params, prompt, length, key, rule):
    """What `generate` draws for one prompt."""

    @jax.jit
    def following(text, last, key):
        hidden, table = model.apply({"params": params}, text, train=False)
        return sampling.choose(rule, key, table[:WORDS] @ hidden[0, last])

    text = list(prompt)
    for count in range(min(length, CONTEXT + 1 - len(prompt))):
        padded = jnp.array([text + [0] * (CONTEXT - len(text))])
        text.append(int(following(padded, len(text) - 1, jax.random.fold_in(key, count))))
    return text[len(prompt) :]


def drawn(sharp, prompts, keys=KEYS, rule=DRAWN):
    """[B L]; -1 where a row has ended."""
    return np.stack(
        list(sampling.generate(*sharp, prompts, 7, keys, rule, vocabulary=WORDS)), axis=1
    )


def test_pieces_have_the_hidden_states_of_the_whole(make_body, fresh, apply, parity):
    model = LanguageModel(make_body())
    params = fresh(model, TOKENS)
    whole, table = apply(model, params, TOKENS)

    @jax.jit
    def resume(cache, tokens, lengths):
        return model.body.apply(
            {"params": params, "cache": cache},
            tokens,
            table,
            lengths,
            method="resume",
            mutable="cache",
        )

    cache, past = model.body.cache(3, CONTEXT), np.zeros(3, int)
    for lengths in ([3, 1, 5], [2, 3, 0], [0, 1, 2], [1, 1, 1], [2, 2, 0]):
        piece = np.full((3, 5), 9)  # padding of one real token, so that seeing it would show
        for row, (start, length) in enumerate(zip(past, lengths, strict=True)):
            piece[row, :length] = TOKENS[row, start : start + length]
        hidden, moved = resume(cache, piece, jnp.array(lengths))
        cache = moved["cache"]
        for row, (start, length) in enumerate(zip(past, lengths, strict=True)):
            apart = jnp.abs(
                (hidden[row, :length] - whole[row, start : start + length]) @ table.T
            ).max(initial=0)
            parity("generation with the cache against without: logits, both bodies", apart, 1e-5)
        past += lengths
    assert (past == CONTEXT).all()


@pytest.mark.parametrize("rule", [SamplingParams(greedy=True), DRAWN])
def test_a_batch_of_prompts_is_carried_on_to_the_context_as_each_would_be_alone(sharp, rule):
    found = drawn(sharp, PROMPTS, rule=rule)
    assert found.shape == (3, 7) and found.max() < WORDS
    for row, (prompt, key) in enumerate(zip(PROMPTS, KEYS, strict=True)):
        expected = plainly(*sharp, prompt, 7, key, rule)
        np.testing.assert_array_equal(found[row], expected + [-1] * (7 - len(expected)))
    assert (found >= 0).sum(axis=1).tolist() == [
        4,
        7,
        3,
    ]  # to CONTEXT + 1 tokens, of which the last is never read


def test_rows_meet_neither_in_the_batch_nor_in_their_draws(sharp):
    first, other = (drawn(sharp, prompts) for prompts in (PROMPTS, PROMPTS[::-1]))
    np.testing.assert_array_equal(first[1], other[1])
    same = drawn(sharp, PROMPTS[:1] * 3)
    assert same.shape == (3, 4)  # nothing more is drawn once all rows have ended
    assert len({tuple(row) for row in same.tolist()}) == 3
    np.testing.assert_array_equal(same[0], first[0][:4])


def test_bfloat16_keeps_to_its_type(fresh):
    model = LanguageModel(BODIES["transformer"](dtype="bfloat16", layers=1))
    tokens = drawn((model, fresh(model, TOKENS)), PROMPTS)
    assert ((tokens >= 0).sum(axis=1) == [4, 7, 3]).all() and tokens.max() < WORDS


def test_prompts_that_do_not_fit_are_refused_at_once(sharp):
    for prompts, keys in (([[]], KEYS[:1]), ([[1] * (CONTEXT + 1)], KEYS[:1]), (PROMPTS, KEYS[:2])):
        with pytest.raises(
            ValueError, match=f"a key for each prompt expected, and 1 to {CONTEXT} tokens"
        ):
            sampling.generate(*sharp, prompts, 1, keys, DRAWN)


LOGITS = jnp.log(jnp.array([0.05, 0.4, 0.05, 0.1, 0.3, 0.1]))


def shares(rule, logits=LOGITS, draws=20_000):
    """How often each token is drawn; no more than 0.015 from its probability but for chance beyond four standard deviations."""
    tokens = jax.jit(jax.vmap(functools.partial(sampling.choose, rule), (0, None)))(
        jax.random.split(jax.random.key(0), draws), logits
    )
    return np.bincount(tokens, minlength=len(logits)) / draws


def test_draws_have_the_distribution_of_the_model():
    for temperature in (0.5, 1.0, 2.0):
        np.testing.assert_allclose(
            shares(SamplingParams(temperature=temperature)),
            jax.nn.softmax(LOGITS / temperature),
            atol=0.015,
        )


def test_top_k_is_so_many_tokens_even_where_they_tie():
    np.testing.assert_allclose(
        shares(SamplingParams(top_k=3)), np.array([0, 0.4, 0, 0.1, 0.3, 0]) / 0.8, atol=0.015
    )
    np.testing.assert_array_equal(
        shares(SamplingParams(top_k=1), jnp.array([1.0, 2.0, 2.0])), [0, 1, 0]
    )
    np.testing.assert_array_equal(
        shares(SamplingParams(greedy=True), jnp.array([1.0, 2.0, 2.0])), [0, 1, 0]
    )
    np.testing.assert_array_equal(shares(SamplingParams(top_k=99)), shares(SamplingParams()))


@pytest.mark.parametrize(
    ("top_p", "top_k", "kept"),
    [
        (0.39, 0, [1]),
        (0.41, 0, [1, 4]),
        (0.71, 0, [1, 3, 4, 5]),
        (0.91, 0, range(6)),
        (0.6, 2, [1, 4]),
        (0.5, 2, [1]),
    ],
)
def test_top_p_is_the_fewest_tokens_with_so_much_of_what_top_k_leaves(top_p, top_k, kept):
    expected = np.where(np.isin(np.arange(6), kept), np.exp(LOGITS), 0)
    np.testing.assert_allclose(
        shares(SamplingParams(top_p=top_p, top_k=top_k)), expected / expected.sum(), atol=0.015
    )


def test_the_least_share_is_the_one_that_sorting_finds():
    share = jax.nn.softmax(3 * jax.random.normal(jax.random.key(2), (1000,)))
    ordered = np.sort(share)[::-1]
    for top_p in (0.001, 0.3, 0.9, 0.999):
        np.testing.assert_array_equal(
            sampling._least(share, top_p),
            ordered[np.searchsorted(np.cumsum(ordered, dtype=np.float64), top_p)],
        )
