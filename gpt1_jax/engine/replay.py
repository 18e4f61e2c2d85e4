"""Compute training steps twice and compare the results, to find silent errors of the hardware."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gpt1_jax.engine import devices
from gpt1_jax.engine.devices import AXIS
from gpt1_jax.errors import UserError


def replayed(train_step: Callable, every: int, backend: str = "pmap") -> Callable:
    """Return `train_step`, which computes every `every`-th step twice and compares bit by bit.

    A compared step needs memory for two more states, because the step takes over that of its
    argument.

    Args:
        train_step: (state, batch, step) -> (state, metrics), as for `loop.train`.
        every: the interval in steps.
        backend: as for `devices.parallelize`.

    Raises (the returned function):
        UserError: the results differ on one of the devices.
    """
    copy = jax.jit(lambda state: jax.tree.map(jnp.copy, state))
    compare = devices.parallelize(_count_differing_devices, backend=backend)
    no_rows = devices.split({"rows": np.zeros(jax.device_count(), np.int32)})

    def run(state, batch, number):
        if (number + 1) % every:
            return train_step(state, batch, number)
        results = train_step(copy(state), batch, number), train_step(state, batch, number)
        one, other = ({**state, "metrics": metrics} for state, metrics in results)
        counts = jax.device_get(compare({"one": one, "other": other}, no_rows, np.int32(0)))
        for item in ("params", *counts):
            for path, count in jax.tree_util.tree_leaves_with_path(counts[item]):
                if count:
                    name = jax.tree_util.keystr(path, simple=True, separator="/")
                    raise UserError(
                        f"step {number + 1}: computed twice, {item} {name} differs on {count} of "
                        f"{jax.device_count()} devices; test the hardware (the checkpoints hold "
                        "only earlier steps)"
                    )
        return results[1]

    return run


def _count_differing_devices(results: Mapping, batch: Mapping, _) -> dict:
    """Return for every array the number of devices on which `one` and `other` differ."""

    def count(one, other):
        differ = jnp.any(_bits(one) != _bits(other))
        return jax.lax.psum(differ.astype(jnp.int32), AXIS)

    return dict(jax.tree.map(count, results["one"], results["other"]))


def _bits(x: jax.Array) -> jax.Array:
    """Return the bits of floats as integers, so that nan equals nan, and 0 does not equal -0."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
