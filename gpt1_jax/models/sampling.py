"""Text drawn from a language model, token by token."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gpt1_jax.models.heads import LanguageModel


@functools.partial(jax.jit, static_argnames=("model", "length"))
def sample(model: LanguageModel, params: Mapping, start: Int[Array, "B"], length: int, key: Array) -> Int[Array, "B L"]:
    """`length` tokens after each of the `start` tokens, each drawn from the model's own distribution over the token rows.

    Position rows, which the training softmax knows too, are never drawn. Every token costs a pass over the whole text: made for a
    glance at a run, not for much text.

    Args:
        length: at most the model's context.
    """

    def draw(place, texts):
        hidden, table = model.apply({"params": params}, texts[:, :length], train=False)
        state = jax.lax.dynamic_index_in_dim(hidden, place, axis=1, keepdims=False).astype(jnp.float32)
        logits = state @ table[: model.body.vocab_size].astype(jnp.float32).T
        return texts.at[:, place + 1].set(jax.random.categorical(jax.random.fold_in(key, place), logits))

    texts = jnp.zeros((len(start), length + 1), jnp.int32).at[:, 0].set(start)
    return jax.lax.fori_loop(0, length, draw, texts)[:, 1:]
