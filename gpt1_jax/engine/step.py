"""Define the training step of one device: accumulate and average gradients, then optimize."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import UInt32

from gpt1_jax.engine.devices import AXIS

NOT_FINITE = "not_finite"  # name of a metric of the step


def seed_and_step(seed: int, step: int) -> UInt32[np.ndarray, "2"]:
    """Return the run's seed and the step's number, as a compiled step takes them.

    They are an argument, not a constant, so that runs of other seeds share the program.
    """
    return np.array([seed, step], np.uint32)


def step_key(seed_and_step: UInt32[jax.Array, "2"]) -> jax.Array:
    """Return the random key of one step on one device.

    It is a pure function of seed, step and device, so that a resumed run draws the same numbers.
    """
    key = jax.random.fold_in(jax.random.key(seed_and_step[0]), seed_and_step[1])
    return jax.random.fold_in(key, jax.lax.axis_index(AXIS))


def training_step(
    loss: Callable, optimizer: optax.GradientTransformation, *, accumulate: int
) -> Callable:
    """Return step(state, batch, seed_and_step) -> (state, metrics), for `devices.parallelize`.

    The state is {"params", "opt_state"}. The metrics are means over all rows of the global batch,
    with "loss" and "grad_norm" (before clipping) added, and NOT_FINITE: the number of elements of
    the new state that are not finite, which the loop does not accept.

    Args:
        loss: (params, batch, key) -> (loss, metrics), a mean over the batch's rows; the metrics are
            scalars.
        optimizer: receives the averaged gradients, because it clips them.
        accumulate: parts into which the device's rows are cut. The parts run one after the other,
            to save memory.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)

    def accumulated_gradient(params, batch, key):
        if accumulate == 1:
            return gradient(params, batch, key)
        parts = jax.tree.map(lambda leaf: leaf.reshape(accumulate, -1, *leaf.shape[1:]), batch)
        keys = jax.random.split(key, accumulate)

        def add(total, part):
            return jax.tree.map(jnp.add, total, gradient(params, *part)), None

        first = jax.tree.map(lambda leaf: leaf[0], (parts, keys))
        others = jax.tree.map(lambda leaf: leaf[1:], (parts, keys))
        total, _ = jax.lax.scan(add, gradient(params, *first), others)
        return jax.tree.map(lambda leaf: leaf / accumulate, total)

    def step(state, batch, seed_and_step):
        params, key = state["params"], step_key(seed_and_step)
        (value, metrics), grads = accumulated_gradient(params, batch, key)
        grads, metrics = jax.lax.pmean((grads, {**metrics, "loss": value}), AXIS)
        updates, opt_state = optimizer.update(grads, state["opt_state"], params)
        state = {"params": optax.apply_updates(params, updates), "opt_state": opt_state}
        metrics = {**metrics, "grad_norm": optax.tree.norm(grads)}
        return state, {**metrics, NOT_FINITE: _not_finite(state)}

    return step


def _not_finite(state: Mapping) -> jax.Array:
    """Return the number of float elements of the state that are not finite.

    XLA counts while it writes the state, so nothing is read again.
    """
    leaves = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    counts = (jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in leaves)
    total: Any = sum(counts)
    return total
