"""Build the language model of pretraining, and compute its loss of windows of text."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from gpt1_jax.engine import losses, optim
from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.trainers.optim_config import OptimConfig, optim_config


class Objective(NamedTuple):
    """Hold what pretraining optimizes: a model, its loss, and the settings of the optimizer.

    The loss is (params, batch, key) -> (loss, metrics) of one device's rows.
    """

    model: LanguageModel
    loss: Callable
    optim_config: OptimConfig


def objective(config: ConfigDict, model: Mapping[str, Any], vocab_size: int) -> Objective:
    """Return what a pretraining run optimizes.

    Args:
        config: the configuration of the run, except for config.model.
        model: the name and the sizes of the body.
        vocab_size: the number of token ids.
    """
    sizes = dict(model)
    body = factory.make_body(
        sizes.pop("name"), vocab_size, sizes, table_dropout=config.published.table_dropout
    )
    language_model = LanguageModel(body)
    softmax_positions = config.published.softmax_positions

    def loss(params, batch, key):
        tokens, options = batch["tokens"], {"softmax_positions": softmax_positions}
        return mean_loss(language_model, params, tokens, key, **options), {}

    warmup = config.optim.warmup_steps / config.steps
    settings = optim_config(config, optim.warmup_cosine, config.steps, warmup)
    return Objective(language_model, loss, settings)


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


def _loss_arguments(model, params, tokens, key, softmax_positions) -> tuple[Any, ...]:
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    train, rngs = key is not None, None if key is None else {"dropout": key}
    hidden, embedding = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    rows = losses.softmax_rows(embedding, model.body.vocab_size, softmax_positions)
    return hidden, rows, targets, jnp.ones(targets.shape)
