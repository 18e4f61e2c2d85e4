"""The GPT-1 decoder as published (openai/finetune-transformer-lm, train.py).

Letters: B batch, L length, D width, H heads, V vocabulary, T rows of the table.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gpt1_jax.errors import UserError
from gpt1_jax.models.dropout import dropout
from gpt1_jax.registry import MODELS

INIT = nn.initializers.normal(0.02)  # every weight, residual projections too; biases 0


class Attention(nn.Module):
    """Masked multi-head self-attention; one projection to queries, keys and values."""

    heads: int
    attn_dropout: float
    resid_dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        seen: Bool[Array, "#B L S"] | None,
        train: bool,
        places: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """What the queries find among the keys that they have `seen`; with `places`, among those of the text so far in the cache."""
        batch, length, width = x.shape
        qkv = nn.Dense(3 * width, kernel_init=INIT, dtype=self.dtype, name="c_attn")(x)
        # [3 B H L d], so that the two products below are plain matrix products over the leading axes.
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads).transpose(
            2, 0, 3, 1, 4
        )
        query, key, value = qkv[0], qkv[1], qkv[2]
        if places is not None:
            key, value = self._extended("key", key, places), self._extended("value", value, places)
            seen = jnp.arange(key.shape[2])[None, None] <= places[:, :, None]
        scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=jnp.float32)
        scores = scores / jnp.sqrt(jnp.float32(width // self.heads))
        weights = jax.nn.softmax(jnp.where(seen[:, None], scores, -1e9))
        if train:
            weights = dropout(weights, self.attn_dropout, self.make_rng("dropout"))
        mixed = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(self.dtype), value)
        mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, length, width)
        mixed = nn.Dense(width, kernel_init=INIT, dtype=self.dtype, name="c_proj")(mixed)
        return dropout(mixed, self.resid_dropout, self.make_rng("dropout")) if train else mixed

    def _extended(
        self, name: str, piece: Float[Array, "B H L d"], places: Int[Array, "B L"]
    ) -> Float[Array, "B H S d"]:
        """The cache's keys or values with those of a piece of text at its places; a place that it has no room for is left out.

        They are kept as [B*H S d]: with rows and heads apart, XLA copies all of them at every token of a single row.
        """
        places = jnp.repeat(places, self.heads, axis=0)
        rows = jnp.arange(len(places))[:, None]
        whole = (
            self.get_variable("cache", name)
            .at[rows, places]
            .set(piece.reshape(len(places), *piece.shape[2:]), mode="drop")
        )
        self.put_variable("cache", name, whole)
        return whole.reshape(*piece.shape[:2], *whole.shape[1:])


class MLP(nn.Module):
    """Two layers with the tanh form of GELU between them."""

    ffn: int
    resid_dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"], train: bool) -> Float[Array, "B L D"]:
        inner = nn.gelu(
            nn.Dense(self.ffn, kernel_init=INIT, dtype=self.dtype, name="c_fc")(x), approximate=True
        )
        out = nn.Dense(x.shape[-1], kernel_init=INIT, dtype=self.dtype, name="c_proj")(inner)
        return dropout(out, self.resid_dropout, self.make_rng("dropout")) if train else out


class Block(nn.Module):
    """One layer, normalised after each residual sum (post-LN)."""

    heads: int
    ffn: int
    attn_dropout: float
    resid_dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        seen: Bool[Array, "#B L S"] | None,
        train: bool,
        places: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        attention = Attention(
            self.heads, self.attn_dropout, self.resid_dropout, self.dtype, name="attn"
        )
        x = nn.LayerNorm(1e-5, dtype=self.dtype, use_fast_variance=False, name="ln_1")(
            x + attention(x, seen, train, places)
        )
        mlp = MLP(self.ffn, self.resid_dropout, self.dtype, name="mlp")
        return nn.LayerNorm(1e-5, dtype=self.dtype, use_fast_variance=False, name="ln_2")(
            x + mlp(x, train)
        )


@MODELS.register("transformer")
class Transformer(nn.Module):
    """The body: tokens -> hidden states, through blocks h0, h1, ...

    There is no padding mask: causality and padding on the right protect the real tokens.

    Attributes:
        table_dropout: `embd_dropout` falls on the table, as published; otherwise on the sums of token and position.
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
    dtype: DTypeLike = jnp.float32
    table_dropout: bool = True

    def setup(self):
        if self.width % self.heads:
            raise UserError(
                f"config.model.heads: {self.heads} does not divide config.model.width={self.width}"
            )
        self.tokens = self.param("tokens", INIT, (self.vocab_size, self.width))
        self.positions = self.param("positions", INIT, (self.context, self.width))
        for layer in range(self.layers):
            block = Block(self.heads, self.ffn, self.attn_dropout, self.resid_dropout, self.dtype)
            setattr(self, f"h{layer}", block)

    def table(self, train: bool) -> Float[Array, "T D"]:
        """Token rows, then position rows, which input and softmax share: T = vocab_size + context.

        As published, dropout falls on the table itself, once a step: all occurrences of a token lose the same features, and the
        softmax sees the same losses.
        """
        table = jnp.concatenate([self.tokens, self.positions])
        if train and self.table_dropout:
            table = dropout(table, self.embd_dropout, self.make_rng("dropout"))
        return table.astype(self.dtype)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        table: Float[Array, "T D"],
        train: bool,
        segment_ids: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Hidden states after the last block.

        Args:
            table: what `table(train)` gave.
            segment_ids: of rows that hold several streams with a common beginning: 0 on the shared prefix, then 1, 2, ... on what
                follows it in each of the streams, one after the other, and -1 on padding. A branch sees the prefix and itself, so
                its hidden states are those of the prefix and the branch alone.
        """
        if segment_ids is None:
            seen, positions = causal(tokens.shape[-1])[None], jnp.arange(tokens.shape[-1])[None]
        else:
            seen = branching(segment_ids)
            positions = jnp.minimum(
                seen.sum(axis=-1) - 1, self.context - 1
            )  # only padding may see more than a context
        hidden = table[tokens] + table[self.vocab_size + positions]
        if train and not self.table_dropout:
            hidden = dropout(hidden, self.embd_dropout, self.make_rng("dropout"))
        for layer in range(self.layers):
            hidden = getattr(self, f"h{layer}")(hidden, seen, train)
        return hidden

    def cache(self, batch: int, length: int) -> dict[str, Any]:
        """The collection "cache" before any text: of `batch` rows, with room for `length` tokens each, at most the context.

        "past" [B] counts the tokens so far; of every block the keys and values [B*H S d] of their places.
        """
        shape = (batch * self.heads, length, self.width // self.heads)
        empty = lambda: {"attn": {name: jnp.zeros(shape, self.dtype) for name in ("key", "value")}}
        return {
            "past": jnp.zeros(batch, jnp.int32),
            **{f"h{layer}": empty() for layer in range(self.layers)},
        }

    def resume(
        self, tokens: Int[Array, "B L"], table: Float[Array, "T D"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B L D"]:
        """Hidden states of a piece of text that goes on from the mutable collection "cache", which is moved on past it.

        Args:
            table: what `table(False)` gave.
            lengths: tokens of every row's piece. What is right of them is padding: its states mean nothing and nobody sees it.
        """
        past = self.get_variable("cache", "past")
        places = past[:, None] + jnp.arange(tokens.shape[-1])[None]
        hidden = table[tokens] + table[self.vocab_size + jnp.minimum(places, self.context - 1)]
        for layer in range(self.layers):
            hidden = getattr(self, f"h{layer}")(hidden, None, False, places)
        self.put_variable("cache", "past", past + lengths)
        return hidden

    def flops(self, length: int) -> int:
        """Floating-point operations a token of a forward pass over `length` tokens, without the softmax's product."""
        block = 4 * self.width**2 + 2 * self.width * self.ffn + 2 * length * self.width
        return 2 * self.layers * block


def causal(length: int) -> Bool[Array, "L L"]:
    """True where a query (row) may see a key (column)."""
    return jnp.tril(jnp.ones((length, length), bool))


def branching(segment_ids: Int[Array, "B L"]) -> Bool[Array, "B L L"]:
    """The same where a row segment_ids (`Transformer.__call__`): no query sees the segment_ids beside its own."""
    query, key = segment_ids[:, :, None], segment_ids[:, None, :]
    return causal(segment_ids.shape[-1])[None] & ((key == 0) | (key == query))
