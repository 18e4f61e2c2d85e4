"""Define the blocks of the GPT-1 decoder: attention, MLP, residual sums and normalization.

Letters: B batch, L length, S keys, D width, H heads, d = D / H.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, UInt32

from gpt1_jax.models.attention import attend, masked_attention, merge_heads, split_heads
from gpt1_jax.models.dropout import hash_key
from gpt1_jax.models.gelu import gelu_project
from gpt1_jax.models.linear import project
from gpt1_jax.models.residual_norm import (
    NormParams,
    add_branch,
    layer_norm,
    residual_norm,
)

INIT = nn.initializers.normal(0.02)  # every weight, also the residual projections; biases are 0


class Linear(nn.Module):
    """Multiply by a matrix. The operation that follows adds `bias`, which it can do in one pass."""

    inputs: int
    outputs: int
    dtype: DTypeLike

    def setup(self):
        kernel = self.param("kernel", INIT, (self.inputs, self.outputs))
        self.matrix = kernel.astype(self.dtype)
        self.bias = self.param("bias", nn.initializers.zeros, (self.outputs,))

    def __call__(self, x: Float[Array, "*N I"]) -> Float[Array, "*N O"]:
        """Return the product without the bias."""
        return project(x, self.matrix)


class ResidualNorm(nn.Module):
    """Add a branch to the residual stream, after dropout, and normalize the sum (post-LN).

    A call does both in one pass. Pre-LN does them apart: `normalize` before the branch, `add` after
    it.
    """

    width: int
    rate: float

    def setup(self):
        self.scale = self.param("scale", nn.initializers.ones, (self.width,))
        self.bias = self.param("bias", nn.initializers.zeros, (self.width,))

    def __call__(
        self,
        x: Float[Array, "B L D"],
        branch: Float[Array, "B L D"],
        branch_bias: Float[Array, "D"],
        train: bool,
    ) -> Float[Array, "B L D"]:
        """Return the normalized sum; `branch` is without its bias."""
        params = NormParams(branch_bias, self.scale, self.bias)
        return residual_norm(x, branch, params, self.words(train), self.rate)

    def normalize(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Return the normalized residual stream."""
        return layer_norm(x, self.scale, self.bias)

    def add(
        self,
        x: Float[Array, "B L D"],
        branch: Float[Array, "B L D"],
        branch_bias: Float[Array, "D"],
        train: bool,
    ) -> Float[Array, "B L D"]:
        """Return the sum; `branch` is without its bias."""
        return add_branch(x, branch, branch_bias, self.words(train), self.rate)

    def words(self, train: bool) -> UInt32[Array, "2"] | None:
        """Return the words of the dropout mask; None without dropout."""
        return hash_key(self.make_rng("dropout")) if train and self.rate else None


class Attention(nn.Module):
    """Apply masked multi-head self-attention with one projection to queries, keys and values.

    The result lacks the bias of the last projection, `c_proj.bias`.
    """

    width: int
    heads: int
    rate: float
    kind: str
    dtype: DTypeLike

    def setup(self):
        self.c_attn = Linear(self.width, 3 * self.width, self.dtype)
        self.c_proj = Linear(self.width, self.width, self.dtype)

    def __call__(
        self, x: Float[Array, "B L D"], segment_ids: Int[Array, "B L"] | None, train: bool
    ) -> Float[Array, "B L D"]:
        """Attend among whole texts; arguments as for `Transformer`."""
        key = self.make_rng("dropout") if train and self.rate else None
        y = attend(
            self.kind,
            self.c_attn(x),
            self.c_attn.bias,
            segment_ids,
            heads=self.heads,
            rate=self.rate,
            key=key,
        )
        return self.c_proj(y)

    def decode(
        self, x: Float[Array, "B L D"], positions: Int[Array, "B L"]
    ) -> Float[Array, "B L D"]:
        """Add keys and values of `x` to the KV cache. Attend to all keys up to each query."""
        q, k, v = split_heads(
            self.c_attn(x) + self.c_attn.bias.astype(self.dtype)[None, None], self.heads
        )
        k = self.update_cache("key", k, positions)
        v = self.update_cache("value", v, positions)
        mask = jnp.arange(k.shape[2])[None, None] <= positions[:, :, None]
        return self.c_proj(merge_heads(masked_attention(q, k, v, mask)))

    def update_cache(
        self, name: str, new: Float[Array, "B H L d"], positions: Int[Array, "B L"]
    ) -> Float[Array, "B H S d"]:
        """Write new keys or values into the KV cache and return all of them.

        Positions beyond the size of the cache are dropped. The cache is [B*H S d]: with separate
        axes for rows and heads, XLA copies all of it at every token of a single row.
        """
        positions = jnp.repeat(positions, self.heads, axis=0)
        rows = jnp.arange(len(positions))[:, None]
        new_rows = new.reshape(len(positions), *new.shape[2:])
        cache = self.get_variable("cache", name).at[rows, positions].set(new_rows, mode="drop")
        self.put_variable("cache", name, cache)
        return cache.reshape(*new.shape[:2], *cache.shape[1:])


class MLP(nn.Module):
    """Apply two layers with GELU between them. The result lacks the last bias, `c_proj.bias`."""

    width: int
    ffn: int
    dtype: DTypeLike

    def setup(self):
        self.c_fc = Linear(self.width, self.ffn, self.dtype)
        self.c_proj = Linear(self.ffn, self.width, self.dtype)

    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        return gelu_project(self.c_fc(x), self.c_fc.bias, self.c_proj.matrix)


class Block(nn.Module):
    """Apply attention and the MLP. Normalize after each residual sum (post-LN).

    With `pre_norm`, normalize the input of attention and of the MLP instead (pre-LN).
    """

    width: int
    heads: int
    ffn: int
    attn_dropout: float
    resid_dropout: float
    attention: str
    dtype: DTypeLike
    pre_norm: bool

    def setup(self):
        self.attn = Attention(self.width, self.heads, self.attn_dropout, self.attention, self.dtype)
        self.ln_1 = ResidualNorm(self.width, self.resid_dropout)
        self.mlp = MLP(self.width, self.ffn, self.dtype)
        self.ln_2 = ResidualNorm(self.width, self.resid_dropout)

    def __call__(
        self, x: Float[Array, "B L D"], segment_ids: Int[Array, "B L"] | None, train: bool
    ) -> Float[Array, "B L D"]:
        """Return the output of the block for whole texts; arguments as for `Transformer`."""
        return self.apply_branches(x, lambda y: self.attn(y, segment_ids, train), train)

    def decode(
        self, x: Float[Array, "B L D"], positions: Int[Array, "B L"]
    ) -> Float[Array, "B L D"]:
        """Return the output of the block for the next tokens and update the KV cache."""
        return self.apply_branches(x, lambda y: self.attn.decode(y, positions), train=False)

    def apply_branches(
        self, x: Float[Array, "B L D"], attend: Callable, train: bool
    ) -> Float[Array, "B L D"]:
        """Return the output of the block, with the attention `attend`."""
        attn_bias, mlp_bias = self.attn.c_proj.bias, self.mlp.c_proj.bias
        if self.pre_norm:
            x = self.ln_1.add(x, attend(self.ln_1.normalize(x)), attn_bias, train)
            return self.ln_2.add(x, self.mlp(self.ln_2.normalize(x)), mlp_bias, train)
        x = self.ln_1(x, attend(x), attn_bias, train)
        return self.ln_2(x, self.mlp(x), mlp_bias, train)
