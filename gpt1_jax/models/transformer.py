"""Define the GPT-1 decoder as published (openai/finetune-transformer-lm, train.py).

Letters: B batch, L length, S keys, D width, H heads, d = D / H, V vocabulary, E = V + context rows
of the embedding.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from gpt1_jax.errors import UserError
from gpt1_jax.models.attention import (
    attend,
    masked_attention,
    merge_heads,
    segment_mask,
    split_heads,
)
from gpt1_jax.models.dropout import dropout, hash_key
from gpt1_jax.models.gelu import gelu_project
from gpt1_jax.models.linear import project
from gpt1_jax.models.residual_norm import NormParams, residual_norm
from gpt1_jax.registry import MODELS

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
    """Add a branch to the residual stream, after dropout, and normalize the sum (post-LN)."""

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
        words = hash_key(self.make_rng("dropout")) if train and self.rate else None
        params = NormParams(branch_bias, self.scale, self.bias)
        return residual_norm(x, branch, params, words, self.rate)


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
    """Apply attention and the MLP. Normalize after each residual sum (post-LN)."""

    width: int
    heads: int
    ffn: int
    attn_dropout: float
    resid_dropout: float
    attention: str
    dtype: DTypeLike

    def setup(self):
        self.attn = Attention(self.width, self.heads, self.attn_dropout, self.attention, self.dtype)
        self.ln_1 = ResidualNorm(self.width, self.resid_dropout)
        self.mlp = MLP(self.width, self.ffn, self.dtype)
        self.ln_2 = ResidualNorm(self.width, self.resid_dropout)

    def __call__(
        self, x: Float[Array, "B L D"], segment_ids: Int[Array, "B L"] | None, train: bool
    ) -> Float[Array, "B L D"]:
        """Return the output of the block for whole texts; arguments as for `Transformer`."""
        x = self.ln_1(x, self.attn(x, segment_ids, train), self.attn.c_proj.bias, train)
        return self.ln_2(x, self.mlp(x), self.mlp.c_proj.bias, train)

    def decode(
        self, x: Float[Array, "B L D"], positions: Int[Array, "B L"]
    ) -> Float[Array, "B L D"]:
        """Return the output of the block for the next tokens and update the KV cache."""
        x = self.ln_1(x, self.attn.decode(x, positions), self.attn.c_proj.bias, train=False)
        return self.ln_2(x, self.mlp(x), self.mlp.c_proj.bias, train=False)


@MODELS.register("transformer")
class Transformer(nn.Module):
    """Map tokens to hidden states through the blocks h0, h1, ...

    There is no padding mask. Padding is on the right, so causality protects the real tokens.

    Attributes:
        attention: how whole texts are computed; see `attention.attend`.
        table_dropout: apply `embd_dropout` to the embedding matrix, as published. If False, apply
            it to the sums of token and position embeddings.
    """

    vocab_size: int
    context: int = 512
    layers: int = 12
    width: int = 768
    heads: int = 12
    ffn: int = 3072
    embd_dropout: float = 0.1
    attn_dropout: float = 0.1
    resid_dropout: float = 0.1
    attention: str = "auto"
    dtype: DTypeLike = jnp.float32
    table_dropout: bool = True

    def setup(self):
        if self.width % self.heads:
            raise UserError(
                f"config.model.heads: {self.heads} does not divide config.model.width={self.width}"
                "; choose a divisor of the width"
            )
        self.tokens = self.param("tokens", INIT, (self.vocab_size, self.width))
        self.positions = self.param("positions", INIT, (self.context, self.width))
        sizes = {"width": self.width, "heads": self.heads, "ffn": self.ffn}
        rates = {"attn_dropout": self.attn_dropout, "resid_dropout": self.resid_dropout}
        self.blocks = [
            Block(**sizes, **rates, attention=self.attention, dtype=self.dtype, name=f"h{layer}")
            for layer in range(self.layers)
        ]

    def embedding(self, train: bool) -> Float[Array, "E D"]:
        """Return the embedding matrix, tied between input and softmax: token rows, then positions.

        As published, dropout acts on the matrix once a step. All occurrences of a token lose the
        same features, and the softmax uses the same matrix.
        """
        embedding = jnp.concatenate([self.tokens, self.positions])
        if train and self.table_dropout:
            embedding = dropout(embedding, self.embd_dropout, self.make_rng("dropout"))
        return embedding.astype(self.dtype)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        embedding: Float[Array, "E D"],
        train: bool,
        segment_ids: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Return the hidden states after the last block.

        Args:
            tokens: token ids of whole texts.
            embedding: the result of `embedding(train)`.
            train: apply dropout.
            segment_ids: segments of rows that hold several streams with a common prefix: 0 on the
                prefix, then 1, 2, ... on the rest of each stream, and -1 on padding. A segment
                attends to the prefix and to itself, so its hidden states equal those of a row with
                the prefix and this segment alone.
        """
        if segment_ids is None:
            positions = jnp.arange(tokens.shape[-1])[None]
        else:
            # A token's position counts the tokens that it may attend to. Only padding may attend
            # to more than a context.
            counts = segment_mask(segment_ids).sum(axis=-1)
            positions = jnp.minimum(counts - 1, self.context - 1)
        x = embedding[tokens] + embedding[self.vocab_size + positions]
        if train and not self.table_dropout:
            x = dropout(x, self.embd_dropout, self.make_rng("dropout"))
        for block in self.blocks:
            x = block(x, segment_ids, train)
        return x

    def init_cache(self, batch: int, length: int) -> dict[str, Any]:
        """Return the collection "cache" of an empty text.

        It holds "past" [B], the number of tokens so far, and every block's keys and values
        [B*H S d] with S = `length`.

        Args:
            batch: number of rows.
            length: number of tokens that fit into each row, at most the context.
        """
        shape = (batch * self.heads, length, self.width // self.heads)
        cache: dict[str, Any] = {"past": jnp.zeros(batch, jnp.int32)}
        for layer in range(self.layers):
            key_value = {name: jnp.zeros(shape, self.dtype) for name in ("key", "value")}
            cache[f"h{layer}"] = {"attn": key_value}
        return cache

    def decode(
        self,
        tokens: Int[Array, "B L"],
        embedding: Float[Array, "E D"],
        lengths: Int[Array, "B"],
    ) -> Float[Array, "B L D"]:
        """Return the hidden states of the tokens that follow the cached ones.

        The mutable collection "cache" moves forward by `lengths`.

        Args:
            tokens: token ids of the next part of every text, padded on the right.
            embedding: the result of `embedding(False)`.
            lengths: number of tokens in every row before the padding. Nothing attends to padding,
                and its hidden states are meaningless.
        """
        past = self.get_variable("cache", "past")
        positions = past[:, None] + jnp.arange(tokens.shape[-1])[None]
        x = embedding[tokens]
        x = x + embedding[self.vocab_size + jnp.minimum(positions, self.context - 1)]
        for block in self.blocks:
            x = block.decode(x, positions)
        self.put_variable("cache", "past", past + lengths)
        return x

    def flops(self, length: int) -> int:
        """Return the operations per token of a forward pass, without the product of the softmax.

        Args:
            length: number of tokens of a text.
        """
        block = 4 * self.width**2 + 2 * self.width * self.ffn + 2 * length * self.width
        return 2 * self.layers * block
