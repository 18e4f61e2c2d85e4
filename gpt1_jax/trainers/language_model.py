"""Compute the language model loss of windows of text, for pretraining."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gpt1_jax.engine import losses
from gpt1_jax.models.heads import LanguageModel


def row_losses(
    model: LanguageModel,
    params: Mapping,
    tokens: Any,
    *,
    train: bool,
    key: Any = None,
    softmax_positions: bool = True,
) -> jax.Array:
    """Return the language model loss of every row of `tokens` [B L+1], in nats per token.

    Each token but the first is predicted from those before it.

    Args:
        model: the language model.
        params: its params.
        tokens: token ids.
        train: use dropout, with the random key `key`.
        key: see `train`.
        softmax_positions: the softmax runs over the rows of positions too (`losses.softmax_rows`).
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, embedding = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    rows = losses.softmax_rows(embedding, model.body.vocab_size, softmax_positions)
    return losses.language_model(hidden, rows, targets, jnp.ones(targets.shape))
