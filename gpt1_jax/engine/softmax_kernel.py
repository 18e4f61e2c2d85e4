"""Compute the gradient of a softmax in one pass over its logits, as a Pallas kernel for a GPU.

XLA reads the logits of a row three times: for the maximum, for the sum and for the gradient. The
kernel reads a row from memory once; the second time, it comes from the cache.

Letters: P positions, V columns.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

TILE = 4_096  # columns that a program holds at one time


def softmax_gradient(
    logits: Float[Array, "P V"],
    targets: Int[Array, "P"],
    weights: Float[Array, "P"],
    count: int,
    dtype: DTypeLike,
    interpret: bool = False,
) -> tuple[Float[Array, "P"], Float[Array, "P V"]]:
    """Return logsumexp(logits) and (softmax(logits) - one-hot(targets)) * weights.

    Args:
        logits: logits.
        targets: column of the one in each row.
        weights: factors of the rows.
        count: the softmax runs over so many first columns; the gradient of the others is 0.
        dtype: type of the second result.
        interpret: run by XLA's own operations, for tests on the CPU.
    """
    rows, columns = logits.shape
    number = pl.BlockSpec((1,), lambda i: (i,))
    row = pl.BlockSpec((None, pl.cdiv(columns, TILE) * TILE), lambda i: (i, 0))
    return pl.pallas_call(
        functools.partial(_body, columns, count),
        grid=(rows,),
        in_specs=[row, number, number],
        out_specs=[number, row],
        out_shape=[
            jax.ShapeDtypeStruct((rows,), jnp.float32),
            jax.ShapeDtypeStruct((rows, columns), dtype),
        ],
        compiler_params=None if interpret else triton.CompilerParams(num_warps=8, num_stages=2),
        interpret=interpret,
        name="softmax_gradient",
    )(logits, targets, weights)


def _body(columns: int, count: int, logits, targets, weights, log_sums, gradient) -> None:
    def column_numbers(step):
        return step * TILE + jax.lax.iota(jnp.int32, TILE)

    def load(step):
        mask = column_numbers(step) < count
        tile = logits.at[pl.ds(step * TILE, TILE)]
        return triton.load(tile, mask=mask, other=-jnp.inf).astype(jnp.float32)

    def add_tile(step, carry):
        largest, total = carry
        tile = load(step)
        new_largest = jnp.maximum(largest, jnp.max(tile))
        sums = jnp.sum(jnp.exp(tile - new_largest))
        return new_largest, total * jnp.exp(largest - new_largest) + sums

    tiles = pl.cdiv(columns, TILE)
    start = jnp.float32(-1e30), jnp.float32(0)  # finite, so that the first difference is no nan
    largest, total = jax.lax.fori_loop(0, tiles, add_tile, start)
    log_sum = largest + jnp.log(total)
    target, weight = targets[0], weights[0]

    def write_tile(step, _):
        numbers = column_numbers(step)
        is_target = (numbers == target).astype(jnp.float32)
        values = (jnp.exp(load(step) - log_sum) - is_target) * weight
        tile = gradient.at[pl.ds(step * TILE, TILE)]
        triton.store(tile, values.astype(gradient.dtype), mask=numbers < columns)

    jax.lax.fori_loop(0, tiles, write_tile, None)
    log_sums[0] = log_sum
