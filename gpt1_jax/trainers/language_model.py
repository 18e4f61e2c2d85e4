"""Compute the language model loss of windows of text, for pretraining."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gpt1_jax.engine import losses
from gpt1_jax.models.heads import LanguageModel


def mean_loss(
    model: LanguageModel,
    params: Mapping,
    tokens: Any,
    key: jax.Array,
    *,
    softmax_positions: bool = True,
) -> jax.Array:
    """Return the mean language model loss of `tokens` [B L+1] with dropout, in nats per token.

    Each token but the first is predicted from those before it.

    Args:
        model: the language model.
        params: its params.
        tokens: token ids.
        key: random key of the dropout masks.
        softmax_positions: the softmax runs over the rows of positions too (`losses.softmax_rows`).
    """
    arguments = _loss_arguments(model, params, tokens, key, softmax_positions)
    return losses.mean_language_model(*arguments)


def row_losses(
    model: LanguageModel, params: Mapping, tokens: Any, *, softmax_positions: bool = True
) -> jax.Array:
    """Return the loss of every row of `tokens` without dropout; arguments as for `mean_loss`."""
    arguments = _loss_arguments(model, params, tokens, None, softmax_positions)
    return losses.language_model(*arguments)


def _loss_arguments(model, params, tokens, key, softmax_positions) -> tuple[jax.Array, ...]:
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    train, rngs = key is not None, None if key is None else {"dropout": key}
    hidden, embedding = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    rows = losses.softmax_rows(embedding, model.body.vocab_size, softmax_positions)
    return hidden, rows, targets, jnp.ones(targets.shape)
