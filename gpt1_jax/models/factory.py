"""Make a body from its name and its sizes, and draw the params of a model."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from gpt1_jax.errors import UserError
from gpt1_jax.registry import MODELS

# Arguments of a body that are not in the model section of a config: vocab_size comes from the
# tokenizer, table_dropout from config.published, and the other two belong to every flax module.
NOT_SIZES = {"vocab_size", "table_dropout", "parent", "name"}
# Imported runs, and those of earlier versions, need not have these: the first does not describe the
# model, and the model is as published without the others.
OPTIONAL = {"attention", "learned_positions", "pre_norm"}


def make_body(name: str, vocab_size: int, sizes: Mapping[str, Any], **changes: Any) -> nn.Module:
    """Return the body that MODELS registers as `name`.

    Args:
        name: the key in MODELS.
        vocab_size: the number of token ids, special tokens included.
        sizes: the other arguments of the body, as in the model section of a config.
        changes: further arguments; they replace those in `sizes`.

    Raises:
        UserError: the name is unknown, or `sizes` does not fit the body.
    """
    check_sizes(name, sizes)
    return MODELS[name](vocab_size, **{**sizes, **changes})


def check_sizes(name: str, sizes: Mapping[str, Any]) -> None:
    """Raise a UserError unless `sizes` holds exactly the arguments of the body `name`."""
    expected = inspect.signature(MODELS[name]).parameters.keys() - NOT_SIZES
    mismatch = (expected ^ sizes.keys()) - (OPTIONAL & expected)
    if mismatch:
        raise UserError(
            f"config.model: the body {name} takes {', '.join(sorted(expected))}; the section lacks "
            f"or must not hold {', '.join(sorted(mismatch))}; select the body with --config"
        )


def default_sizes(name: str) -> dict[str, Any]:
    """Return the arguments of the body `name` with their defaults, the sizes of the paper."""
    parameters = inspect.signature(MODELS[name]).parameters
    return {
        size: parameter.default for size, parameter in parameters.items() if size not in NOT_SIZES
    }


def init_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """Return randomly initialized params of a model, drawn on the device in one program.

    Args:
        model: a flax module.
        seed: the seed of the initialization.
        *inputs: the inputs of the model's forward pass.
    """
    return _init_program(model)(jax.random.key(seed), *inputs)


def param_shapes(model: Any, *inputs: Any) -> Mapping:
    """Return the shapes of the params that `init_params` draws. Run nothing."""
    return jax.eval_shape(_init(model), jax.eval_shape(lambda: jax.random.key(0)), *inputs)


@functools.lru_cache(maxsize=32)
def _init_program(model: Any) -> Callable:
    return jax.jit(_init(model))


def _init(model: Any) -> Callable:
    def init(key, *inputs):
        return model.init({"params": key}, *inputs, train=False)["params"]

    return init
