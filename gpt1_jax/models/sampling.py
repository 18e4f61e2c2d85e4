"""Text drawn from a language model, token by token, each at the cost of one token.

Letters: B batch, L length of a piece of text, V vocabulary, T rows of the table.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from gpt1_jax.models.heads import LanguageModel


class SamplingParams(NamedTuple):
    """How a token is chosen from the model's distribution over the token rows; by default it is drawn from all of it as it is.

    Attributes:
        greedy: take the most probable one; the others then say nothing.
        temperature: what the logits are divided by, above 0.
        top_k: draw among so many of the most probable tokens only; 0 among all.
        top_p: draw among the fewest of the most probable tokens that hold this much of the probability, above 0 and up to 1.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def generate(
    model: LanguageModel,
    params: Mapping,
    prompts: Sequence[Sequence[int]],
    length: int,
    keys: Key[Array, "B"],
    rule: SamplingParams,
    vocabulary: int | None = None,
) -> Iterator[Int[np.ndarray, "B"]]:
    """Goes on from `prompts`: an iterator over the next token of every row, up to `length` of them.

    A text ends at the context: the last token is the one that `context` tokens come before. From there on a row gives -1, and when
    all rows do, the iterator ends. What a row draws is a function of its prompt and its key, whatever the other rows (but for the
    rounding of products, which may differ between batch sizes).

    Args:
        prompts: ids, from 1 to `context` for each row; rows may differ in length.
        length: from 1.
        keys: a random key for every row.
        vocabulary: only the first so many token rows are ever given; all of them by default.

    Raises:
        ValueError: a prompt is empty or longer than the context, or there is not a key for each.
    """
    body, context = model.body, model.body.context
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if not (shortest >= 1 and longest <= context and len(keys) == len(prompts)):
        found = f"{len(keys)} keys and {len(prompts)} prompts of {shortest} to {longest} tokens"
        raise ValueError(
            f"{found} found; a key for each prompt expected, and 1 to {context} tokens"
        )
    length = min(length, context + 1 - shortest)
    # Sizes are powers of 2, so that prompts of other lengths share the compiled programs.
    cache = body.cache(len(prompts), min(_power(longest + length - 1), context))
    tokens = np.zeros((len(prompts), min(_power(longest), context)), np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    # Matrices are brought to the type in which they are used once, not at every token.
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, body.dtype if leaf.ndim > 1 else leaf.dtype), params
    )
    advance = functools.partial(
        _advance, body, rule, vocabulary or body.vocab_size, params, _table(body, params)
    )

    def draws(cache):
        drawn, cache = advance(cache, tokens, lengths, keys, np.int32(0))
        for count in range(1, length):
            # The next token is under way while the caller looks at this one.
            following, cache = advance(cache, drawn, np.ones_like(lengths), keys, np.int32(count))
            yield drawn
            drawn = following
        yield drawn

    return (
        np.where(count + lengths <= context, np.asarray(drawn)[:, 0], -1)
        for count, drawn in enumerate(draws(cache))
    )


def _power(number: int) -> int:
    """The next power of 2."""
    return 1 << (number - 1).bit_length()


@functools.partial(jax.jit, static_argnums=0)
def _table(body: nn.Module, params: Mapping) -> Float[Array, "T D"]:
    return body.apply({"params": params}, False, method="table")


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=5)
def _advance(
    body: nn.Module,
    rule: SamplingParams,
    vocabulary: int,
    params: Mapping,
    table: Float[Array, "T D"],
    cache: Mapping[str, Any],
    tokens: Int[Array, "B L"],
    lengths: Int[Array, "B"],
    keys: Key[Array, "B"],
    count: Int[Array, ""],
) -> tuple[Int[Array, "B 1"], Mapping[str, Any]]:
    """The token after a piece of text in each row, the `count`-th one drawn, and the state after the piece."""
    hidden, moved = body.apply(
        {"params": params, "cache": cache}, tokens, table, lengths, method="resume", mutable="cache"
    )
    last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]
    # The product takes the whole table, not a copy of its first rows.
    logits = jnp.einsum("bd,td->bt", last, table, preferred_element_type=jnp.float32)[
        :, :vocabulary
    ]
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, count)
    return jax.vmap(functools.partial(choose, rule))(keys, logits)[:, None], moved["cache"]


def choose(rule: SamplingParams, key: Key[Array, ""], logits: Float[Array, "V"]) -> Int[Array, ""]:
    """One token by the rule."""
    if rule.greedy:
        return logits.argmax()
    logits = logits / rule.temperature
    if 0 < rule.top_k < len(logits):
        best, tokens = jax.lax.top_k(logits, rule.top_k)
        logits = jnp.full_like(logits, -jnp.inf).at[tokens].set(best)
    if rule.top_p < 1.0:
        share = jax.nn.softmax(logits)
        logits = jnp.where(share >= _least(share, rule.top_p), logits, -jnp.inf)
    return jax.random.categorical(key, logits)


def _least(share: Float[Array, "V"], top_p: float) -> Float[Array, ""]:
    """The greatest share that, with all greater ones, makes `top_p` of the whole; found bit by bit, at a tenth of what sorting costs.

    Floats from 0 are in the order of their bits.
    """

    def lower(step, found):
        tried = found | (jnp.uint32(1 << 30) >> step)
        enough = (
            jnp.sum(share, where=share >= jax.lax.bitcast_convert_type(tried, jnp.float32)) >= top_p
        )
        return jnp.where(enough, tried, found)

    found = jax.lax.fori_loop(0, 31, lower, jnp.uint32(0))
    return jax.lax.bitcast_convert_type(found, jnp.float32)
