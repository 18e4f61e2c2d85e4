"""Compute attention in blocks of queries, for long rows on a CPU.

A block of queries attends only to the keys up to its last one, which saves almost half of the work
of the plain way. The gradient keeps no attention weights: it computes them again, and draws the
dropout mask again, as the fused kernels do.

Letters: B batch, L length, D width, W = 3 D, H heads, d = D / H, Q queries of a block, S keys up to
the last of them.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from gpt1_jax.models.dropout import bits_at, drop

BLOCK = 128  # Q


class Block(NamedTuple):
    """Hold the static sizes of a block: its queries, the length of a row, and the dropout rate."""

    start: int
    stop: int
    length: int
    rate: float


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def blocked_attention(
    qkv: Float[Array, "3 B H L d"],
    segment_ids: Int[Array, "B L"] | None,
    words: UInt32[Array, "2"],
    rate: float,
) -> Float[Array, "B H L d"]:
    """Return causal self-attention of whole rows.

    Args:
        qkv: queries, keys and values.
        segment_ids: see `Transformer.__call__`; None for rows of one text.
        words: the words of the dropout mask (`dropout.hash_key`); not read if `rate` is 0.
        rate: dropout rate of the attention weights.
    """
    return _forward(qkv, segment_ids, words, rate)[0]


def _forward(qkv, segment_ids, words, rate):
    q, k, v = qkv
    outputs, sums = [], []
    for block in _blocks(qkv.shape[3], rate):
        scores = _scores(block, q, k, segment_ids)
        largest = scores.max(axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = weights.sum(axis=-1, keepdims=True)
        weights = _drop(block, weights, words).astype(v.dtype)
        output = _product("bhqk,bhkd->bhqd", weights, v[:, :, : block.stop])
        outputs.append((output / total).astype(v.dtype))
        sums.append(largest + jnp.log(total))
    output = jnp.concatenate(outputs, axis=2)
    return output, (qkv, segment_ids, words, output, jnp.concatenate(sums, axis=2))


def _backward(rate, saved, gradient):
    qkv, segment_ids, words, output, log_sums = saved
    q, k, v = qkv
    delta = _product("bhqd,bhqd->bhq", output, gradient)[..., None]
    query_gradients = []
    key_gradient, value_gradient = (jnp.zeros(k.shape, jnp.float32) for _ in range(2))
    for block in _blocks(qkv.shape[3], rate):
        own, before = slice(block.start, block.stop), slice(block.stop)
        weights = jnp.exp(_scores(block, q, k, segment_ids) - log_sums[:, :, own])
        outer, dtype = gradient[:, :, own], v.dtype
        dropped = _drop(block, weights, words).astype(dtype)
        weights_gradient = _product("bhqd,bhkd->bhqk", outer, v[:, :, before])
        weights_gradient = _drop(block, weights_gradient, words)
        scores_gradient = weights * (weights_gradient - delta[:, :, own])
        scores_gradient = (scores_gradient * q.shape[-1] ** -0.5).astype(dtype)
        query_gradients.append(_product("bhqk,bhkd->bhqd", scores_gradient, k[:, :, before]))
        add = lambda total, part, before=before: total.at[:, :, before].add(part)
        key_part = _product("bhqk,bhqd->bhkd", scores_gradient, q[:, :, own])
        key_gradient = add(key_gradient, key_part)
        value_gradient = add(value_gradient, _product("bhqk,bhqd->bhkd", dropped, outer))
    parts = jnp.concatenate(query_gradients, axis=2), key_gradient, value_gradient
    return jnp.stack(parts).astype(qkv.dtype), None, None


blocked_attention.defvjp(_forward, _backward)


def _blocks(length: int, rate: float) -> list[Block]:
    return [
        Block(start, min(start + BLOCK, length), length, rate) for start in range(0, length, BLOCK)
    ]


def _scores(block: Block, q, k, segment_ids) -> Float[Array, "B H Q S"]:
    """Return the scaled products of queries and keys, and a large negative number where masked."""
    own = q[:, :, block.start : block.stop]
    scores = _product("bhqd,bhkd->bhqk", own, k[:, :, : block.stop]) * q.shape[-1] ** -0.5
    return jnp.where(_mask(block, segment_ids)[:, None], scores, -1e9)


def _mask(block: Block, segment_ids) -> Bool[Array, "#B Q S"]:
    query = jnp.arange(block.start, block.stop)[:, None]
    mask = (jnp.arange(block.stop)[None] <= query)[None]
    if segment_ids is None:
        return mask
    query_ids = segment_ids[:, block.start : block.stop, None]
    key_ids = segment_ids[:, None, : block.stop]
    return mask & ((key_ids == 0) | (key_ids == query_ids))


def _drop(block: Block, weights: Float[Array, "B H Q S"], words) -> Float[Array, "B H Q S"]:
    """Apply the part of the dropout mask of all weights [B H L L] that covers a block."""
    if not block.rate:
        return weights
    axis = lambda number: jax.lax.broadcasted_iota(jnp.uint32, weights.shape, number)
    head = axis(0) * jnp.uint32(weights.shape[1]) + axis(1)
    query = head * jnp.uint32(block.length) + axis(2) + jnp.uint32(block.start)
    position = query * jnp.uint32(block.length) + axis(3)
    return drop(weights, bits_at(position, words[0], words[1]), block.rate)


def _product(formula: str, x: Array, y: Array) -> Float[Array, "..."]:
    return jnp.einsum(formula, x, y, preferred_element_type=jnp.float32)
