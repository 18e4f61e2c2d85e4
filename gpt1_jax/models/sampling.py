"""Generate text from a language model; every token costs one decode step.

Letters: B batch, L length, D width, V vocabulary, E rows of the embedding.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from gpt1_jax.models.heads import LanguageModel


class SamplingParams(NamedTuple):
    """Describe the choice of a token. The default samples from the full distribution of the model.

    Attributes:
        greedy: take the most probable token and ignore the other fields.
        temperature: divisor of the logits, above 0.
        top_k: sample from this number of most probable tokens; 0 for all.
        top_p: sample from the fewest most probable tokens whose probabilities sum to this, above 0
            and up to 1.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


class _Sampler(NamedTuple):
    """Hold the static arguments of a decode step.

    Attributes:
        body: body of the language model.
        sampling_params: rule for choosing a token.
        vocab_size: number of first token ids to sample from.
    """

    body: nn.Module
    sampling_params: SamplingParams
    vocab_size: int


class _Weights(NamedTuple):
    """Hold the params of a body and its embedding matrix."""

    params: Mapping
    embedding: Float[Array, "E D"]


def generate(
    model: LanguageModel,
    params: Mapping,
    prompts: Sequence[Sequence[int]],
    length: int,
    keys: Key[Array, "B"],
    sampling_params: SamplingParams,
    vocabulary: int | None = None,
) -> Iterator[Int[np.ndarray, "B"]]:
    """Return an iterator over the next token of every row, up to `length` tokens.

    A text ends at the context: at most `context` tokens come before its last one. After its end, a
    row yields -1. The iterator stops when all rows have ended. The tokens of a row depend only on
    its prompt and its key. The batch size may change the rounding of matrix products, nothing
    else.

    Args:
        model: the language model.
        params: its params.
        prompts: token ids, 1 to `context` of them for each row; rows may differ in length.
        length: largest number of tokens to generate, at least 1.
        keys: a random key for every row.
        sampling_params: the rule for choosing a token.
        vocabulary: number of first token ids to sample from; all of them by default.

    Raises:
        ValueError: a prompt is empty or longer than the context, or the number of keys is not the
            number of prompts.
    """
    body, context = model.body, model.body.context
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if not (shortest >= 1 and longest <= context and len(keys) == len(prompts)):
        raise ValueError(
            f"{len(keys)} keys and {len(prompts)} prompts of {shortest} to {longest} tokens found; "
            f"a key for each prompt expected, and 1 to {context} tokens"
        )
    length = min(length, context + 1 - shortest)
    # Sizes are powers of 2, so that prompts of other lengths reuse the compiled programs.
    tokens = _pad(prompts, min(_next_power_of_2(longest), context))
    cache = body.init_cache(len(prompts), min(_next_power_of_2(longest + length - 1), context))
    sampler = _Sampler(body, sampling_params, vocabulary or body.vocab_size)
    decode = functools.partial(_decode_step, sampler, _prepare_weights(body, params))
    steps = enumerate(_decode_loop(decode, cache, tokens, lengths, keys, length))
    return (
        np.where(lengths + step <= context, np.asarray(next_tokens)[:, 0], -1)
        for step, next_tokens in steps
    )


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _pad(prompts: Sequence[Sequence[int]], length: int) -> Int[np.ndarray, "B L"]:
    tokens = np.zeros((len(prompts), length), np.int32)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    return tokens


def _prepare_weights(body: nn.Module, params: Mapping) -> _Weights:
    """Return the weights with matrices cast to the body's dtype once, not at every token."""
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, body.dtype if leaf.ndim > 1 else leaf.dtype), params
    )
    return _Weights(params, _embedding(body, params))


@functools.partial(jax.jit, static_argnums=0)
def _embedding(body: nn.Module, params: Mapping) -> Float[Array, "E D"]:
    embedding: Any = body.apply({"params": params}, False, method="embedding")
    return embedding


def _decode_loop(
    decode: Callable,
    cache: Mapping[str, Any],
    tokens: Int[np.ndarray, "B L"],
    lengths: Int[np.ndarray, "B"],
    keys: Key[Array, "B"],
    length: int,
) -> Iterator[Int[Array, "B 1"]]:
    """Yield the next tokens `length` times; start from an empty cache and the prompts `tokens`."""
    next_tokens, cache = decode(cache, tokens, lengths, keys, np.int32(0))
    for step in range(1, length):
        # The device computes the next token while the caller handles this one.
        later_tokens, cache = decode(
            cache, next_tokens, np.ones_like(lengths), keys, np.int32(step)
        )
        yield next_tokens
        next_tokens = later_tokens
    yield next_tokens


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _decode_step(
    sampler: _Sampler,
    weights: _Weights,
    cache: Mapping[str, Any],
    tokens: Int[Array, "B L"],
    lengths: Int[Array, "B"],
    keys: Key[Array, "B"],
    step: Int[Array, ""],
) -> tuple[Int[Array, "B 1"], Mapping[str, Any]]:
    """Return the token that follows `tokens` in every row, and the cache after `tokens`.

    The random draw is number `step` of each key.
    """
    hidden, variables = sampler.body.apply(
        {"params": weights.params, "cache": cache},
        tokens,
        weights.embedding,
        lengths,
        method="decode",
        mutable="cache",
    )
    last = jnp.take_along_axis(hidden, lengths[:, None, None] - 1, axis=1)[:, 0]
    # The product takes the whole embedding. A slice of its first rows would be a copy.
    logits = jnp.einsum("bd,td->bt", last, weights.embedding, preferred_element_type=jnp.float32)
    logits = logits[:, : sampler.vocab_size]
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
    choose = functools.partial(choose_token, sampler.sampling_params)
    return jax.vmap(choose)(keys, logits)[:, None], variables["cache"]


def choose_token(
    sampling_params: SamplingParams, key: Key[Array, ""], logits: Float[Array, "V"]
) -> Int[Array, ""]:
    """Return one token id, chosen by `sampling_params`."""
    if sampling_params.greedy:
        return logits.argmax()
    logits = logits / sampling_params.temperature
    if 0 < sampling_params.top_k < len(logits):
        top_logits, tokens = jax.lax.top_k(logits, sampling_params.top_k)
        logits = jnp.full_like(logits, -jnp.inf).at[tokens].set(top_logits)
    if sampling_params.top_p < 1.0:
        probabilities = jax.nn.softmax(logits)
        threshold = nucleus_threshold(probabilities, sampling_params.top_p)
        logits = jnp.where(probabilities >= threshold, logits, -jnp.inf)
    return jax.random.categorical(key, logits)


def nucleus_threshold(probabilities: Float[Array, "V"], top_p: float) -> Float[Array, ""]:
    """Return the largest threshold such that probabilities of at least it sum to `top_p` or more.

    The threshold is found bit by bit, at a tenth of the cost of sorting. This works because
    non-negative floats are in the order of their bits.
    """

    def set_bit(step, threshold):
        candidate = threshold | (jnp.uint32(1 << 30) >> step)
        above = probabilities >= jax.lax.bitcast_convert_type(candidate, jnp.float32)
        enough = jnp.sum(probabilities, where=above) >= top_p
        return jnp.where(enough, candidate, threshold)

    threshold = jax.lax.fori_loop(0, 31, set_bit, jnp.uint32(0))
    return jax.lax.bitcast_convert_type(threshold, jnp.float32)
