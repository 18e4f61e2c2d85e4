"""The per-device training step: gradients, accumulated and averaged over devices, then the optimiser."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import UInt32

from gpt1_jax.engine.devices import AXIS


def seed_and_step(seed: int, step: int) -> UInt32[np.ndarray, "2"]:
    """What a compiled step is told of where it is: an argument, so that runs of other seeds share the program."""
    return np.array([seed, step], np.uint32)


def step_key(moment: UInt32[jax.Array, "2"]) -> jax.Array:
    """The random key of one step on one device, a pure function of seed and step, so that a resumed run draws the same."""
    return jax.random.fold_in(
        jax.random.fold_in(jax.random.key(moment[0]), moment[1]), jax.lax.axis_index(AXIS)
    )


def training_step(
    loss: Callable, optimizer: optax.GradientTransformation, *, accumulate: int
) -> Callable:
    """step(state, batch, moment) -> (state, metrics), to be run by `devices.parallelise`.

    Args:
        loss: (params, batch, key) -> (loss, metrics), a mean over the batch's rows; metrics are scalars.
        optimizer: clips, so it must see the averaged gradients.
        accumulate: parts into which the device's rows are cut, one after the other, to save memory; the sum is the same.

    The state is {"params", "opt_state"}; the metrics are means over all rows, with "loss" and "grad_norm" (before clipping) added.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)

    def accumulated(params, batch, random):
        if accumulate == 1:
            return gradient(params, batch, random)
        parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), batch)
        keys = jax.random.split(random, accumulate)

        def add(total, part):
            return jax.tree.map(jnp.add, total, gradient(params, *part)), None

        first = jax.tree.map(lambda leaf: leaf[0], (parts, keys))
        rest = jax.tree.map(lambda leaf: leaf[1:], (parts, keys))
        total, _ = jax.lax.scan(add, gradient(params, *first), rest)
        return jax.tree.map(lambda leaf: leaf / accumulate, total)

    def step(state, batch, moment):
        (value, metrics), grads = accumulated(state["params"], batch, step_key(moment))
        grads, metrics = jax.lax.pmean((grads, {**metrics, "loss": value}), AXIS)
        updates, opt_state = optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        return {"params": params, "opt_state": opt_state}, {
            **metrics,
            "grad_norm": optax.tree.norm(grads),
        }

    return step
