"""Compute self-attention of whole rows: the plain way, in blocks, or by fused kernels.

All ways give the same values, gradients and dropout masks, but for rounding.

Letters: B batch, L length, S keys, D width, W = 3 D, H heads, d = D / H.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from gpt1_jax.errors import UserError
from gpt1_jax.models import fused_attention
from gpt1_jax.models.blocked_attention import BLOCK, blocked_attention
from gpt1_jax.models.dropout import dropout, hash_key

KINDS = ("auto", "plain", "fused")  # values of config.model.attention


def attend(
    kind: str,
    product: Float[Array, "B L W"],
    bias: Float[Array, "W"],
    segment_ids: Int[Array, "B L"] | None,
    heads: int,
    rate: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "B L D"]:
    """Return causal self-attention of whole rows.

    Args:
        kind: "plain" or "fused"; "auto" is fused on TPU and GPU where the kernels support the
            sizes, else in blocks for long rows, else plain.
        product: queries, keys and values side by side, without their bias.
        bias: their bias.
        segment_ids: see `Transformer.__call__`; None for rows of one text.
        heads: H.
        rate: dropout rate of the attention weights.
        key: random key of the dropout mask; None without dropout.

    Raises:
        UserError: the fused kernels do not support the sizes.
    """
    width = product.shape[-1] // 3
    words = jnp.zeros(2, jnp.uint32) if key is None else hash_key(key)
    rate = 0.0 if key is None else rate
    if _is_fused(kind, width, heads):
        return fused_attention.fused_attention(product, bias, segment_ids, words, heads, rate)
    qkv = split_heads(product + bias.astype(product.dtype)[None, None], heads)
    length = product.shape[1]
    if kind == "auto" and length > BLOCK:
        return merge_heads(blocked_attention(qkv, segment_ids, words, rate))
    mask = causal_mask(length)[None] if segment_ids is None else segment_mask(segment_ids)
    q, k, v = qkv
    return merge_heads(masked_attention(q, k, v, mask, rate, key))


def _is_fused(kind: str, width: int, heads: int) -> bool:
    if kind == "plain":
        return False
    supported = fused_attention.is_supported(width, heads)
    if kind == "fused" and not supported:
        raise UserError(
            f"config.model.attention: no fused kernel for config.model.width={width} and "
            f"config.model.heads={heads}; choose plain, or heads of 16, 32, 64 or 128 columns in a "
            "width that is a multiple of 128"
        )
    return supported and (kind == "fused" or jax.default_backend() != "cpu")


def split_heads(qkv: Float[Array, "B L W"], heads: int) -> Float[Array, "3 B H L d"]:
    """Return queries, keys and values by head; their products are then plain matrix products."""
    batch, length, width = qkv.shape
    qkv = qkv.reshape(batch, length, 3, heads, width // (3 * heads))
    return qkv.transpose(2, 0, 3, 1, 4)


def merge_heads(y: Float[Array, "B H L d"]) -> Float[Array, "B L D"]:
    """Return the outputs of all heads side by side."""
    return y.transpose(0, 2, 1, 3).reshape(len(y), y.shape[2], -1)


def masked_attention(
    q: Float[Array, "B H L d"],
    k: Float[Array, "B H S d"],
    v: Float[Array, "B H S d"],
    mask: Bool[Array, "#B L S"],
    rate: float = 0.0,
    key: Key[Array, ""] | None = None,
) -> Float[Array, "B H L d"]:
    """Return the attention of queries to the keys that `mask` allows; others as for `attend`."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)
    scores = scores / jnp.sqrt(jnp.float32(q.shape[-1]))
    att = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e9))
    if key is not None:
        att = dropout(att, rate, key)
    return jnp.einsum("bhqk,bhkd->bhqd", att.astype(v.dtype), v)


def causal_mask(length: int) -> Bool[Array, "L L"]:
    """Return the mask that is True where a query (row) may attend to a key (column)."""
    return jnp.tril(jnp.ones((length, length), bool))


def segment_mask(segment_ids: Int[Array, "B L"]) -> Bool[Array, "B L L"]:
    """Return the causal mask of rows with segments, without attention between segments.

    `Transformer.__call__` describes the segment ids.
    """
    query, key = segment_ids[:, :, None], segment_ids[:, None, :]
    return causal_mask(segment_ids.shape[-1])[None] & ((key == 0) | (key == query))
