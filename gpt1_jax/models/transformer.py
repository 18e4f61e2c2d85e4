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
from gpt1_jax.models.attention import segment_mask
from gpt1_jax.models.blocks import INIT, Block, ResidualNorm
from gpt1_jax.models.dropout import dropout
from gpt1_jax.registry import MODELS


@MODELS.register("transformer")
class Transformer(nn.Module):
    """Map tokens to hidden states through the blocks h0, h1, ...

    There is no padding mask. Padding is on the right, so causality protects the real tokens.

    Attributes:
        attention: how whole texts are computed; see `attention.attend`.
        table_dropout: apply `embd_dropout` to the embedding matrix, as published. If False, apply
            it to the sums of token and position embeddings.
        learned_positions: add an embedding of the position to that of the token, as published. If
            False, only causality tells the order of the tokens.
        pre_norm: normalize before attention and MLP, and once more after the last block (`ln_f`),
            instead of after each residual sum, as published.
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
    learned_positions: bool = True
    pre_norm: bool = False

    def setup(self):
        if self.width % self.heads:
            raise UserError(
                f"config.model.heads: {self.heads} does not divide config.model.width={self.width}"
                "; choose a divisor of the width"
            )
        self.tokens = self.param("tokens", INIT, (self.vocab_size, self.width))
        if self.learned_positions:
            self.positions = self.param("positions", INIT, (self.context, self.width))
        sizes = {"width": self.width, "heads": self.heads, "ffn": self.ffn}
        rates = {"attn_dropout": self.attn_dropout, "resid_dropout": self.resid_dropout}
        options = {"attention": self.attention, "dtype": self.dtype, "pre_norm": self.pre_norm}
        self.blocks = [
            Block(**sizes, **rates, **options, name=f"h{layer}") for layer in range(self.layers)
        ]
        if self.pre_norm:
            self.ln_f = ResidualNorm(self.width, 0.0)

    def embedding(self, train: bool) -> Float[Array, "E D"]:
        """Return the embedding matrix, tied between input and softmax: token rows, then positions.

        As published, dropout acts on the matrix once a step. All occurrences of a token lose the
        same features, and the softmax uses the same matrix.
        """
        embedding = self.tokens
        if self.learned_positions:
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
            segment_ids: segments of rows that hold several streams: 0 on a common prefix, if there
                is one, then 1, 2, ... on the rest of each stream, and -1 on padding. A segment
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
        x = self.embed(tokens, positions, embedding)
        if train and not self.table_dropout:
            x = dropout(x, self.embd_dropout, self.make_rng("dropout"))
        for block in self.blocks:
            x = block(x, segment_ids, train)
        return self.ln_f.normalize(x) if self.pre_norm else x

    def embed(
        self,
        tokens: Int[Array, "B L"],
        positions: Int[Array, "#B L"],
        embedding: Float[Array, "E D"],
    ) -> Float[Array, "B L D"]:
        """Return the sums of token and position embeddings; without positions, the former."""
        x = embedding[tokens]
        if self.learned_positions:
            x = x + embedding[self.vocab_size + positions]
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
        x = self.embed(tokens, jnp.minimum(positions, self.context - 1), embedding)
        for block in self.blocks:
            x = block.decode(x, positions)
        self.put_variable("cache", "past", past + lengths)
        return self.ln_f.normalize(x) if self.pre_norm else x

    def flops(self, length: int) -> int:
        """Return the operations per token of a forward pass, without the product of the softmax.

        Args:
            length: number of tokens of a text.
        """
        block = 4 * self.width**2 + 2 * self.width * self.ffn + 2 * length * self.width
        return 2 * self.layers * block
