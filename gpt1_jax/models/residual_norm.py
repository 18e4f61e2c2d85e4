"""Add a branch to the residual stream and normalize, with a gradient that reads each array once.

One operation covers the branch's bias, its dropout, the sum and the layer norm. Its gradient keeps
the inputs only and computes the rest again. On a GPU, both passes are Pallas kernels that hold
whole rows; XLA's own programs read every row several times there. On other platforms, XLA compiles
`_plain` and its gradient.

Letters: N rows, D width, R rows of a tile, W the power of 2 that holds D columns.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, UInt32

from gpt1_jax.models.dropout import bits_at, drop

EPSILON = 1e-5
ROWS = 4  # R
TILES = 16  # tiles that one program of the backward kernel sums up
_WORDS = pl.BlockSpec((2,), lambda i: (0,))


class NormParams(NamedTuple):
    """Hold the parameters of the operation.

    Attributes:
        branch_bias: bias of the branch.
        scale: factor of the normalized sum.
        bias: bias of the normalized sum.
    """

    branch_bias: Float[Array, "D"]
    scale: Float[Array, "D"]
    bias: Float[Array, "D"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def residual_norm(
    x: Float[Array, "*N D"],
    branch: Float[Array, "*N D"],
    params: NormParams,
    words: UInt32[Array, "2"] | None,
    rate: float,
    interpret: bool = False,
) -> Float[Array, "*N D"]:
    """Return scale * normalize(x + dropout(branch + branch_bias)) + bias.

    Args:
        x: the residual stream.
        branch: the output of attention or of the MLP, without its bias.
        params: the biases and the scale.
        words: the words of the dropout mask (`dropout.hash_key`); None without dropout.
        rate: dropout rate.
        interpret: run the kernels by XLA's own operations, for tests on the CPU.
    """
    if interpret:
        return _forward_kernel(x, branch, params, words, rate=rate, interpret=True)
    kernel = functools.partial(_forward_kernel, rate=rate)
    plain = functools.partial(_plain, rate=rate)
    return jax.lax.platform_dependent(
        x, branch, params, words, cuda=kernel, rocm=kernel, default=plain
    )


def _forward(x, branch, params, words, rate, interpret):
    inputs = x, branch, params, words
    return residual_norm(*inputs, rate, interpret), inputs


def _backward(rate, interpret, inputs, gradient):
    def plain(x, branch, params, words, gradient):
        function = lambda *inputs: _plain(*inputs, words, rate=rate)  # pyright: ignore[reportCallIssue]
        return jax.vjp(function, x, branch, params)[1](gradient)

    kernel = functools.partial(_backward_kernel, rate=rate)
    if interpret:
        return *kernel(*inputs, gradient, interpret=True), None  # pyright: ignore[reportCallIssue]
    gradients = jax.lax.platform_dependent(
        *inputs, gradient, cuda=kernel, rocm=kernel, default=plain
    )
    return *gradients, None


residual_norm.defvjp(_forward, _backward)


def add_branch(x, branch, branch_bias, words: UInt32[Array, "2"] | None, rate: float):
    """Return x + dropout(branch + branch_bias); arguments as for `residual_norm`."""
    branch = branch + branch_bias.astype(branch.dtype).reshape(_row(x))
    if words is not None:
        position = jax.lax.iota(jnp.uint32, branch.size).reshape(branch.shape)
        branch = drop(branch, bits_at(position, words[0], words[1]), rate)
    return x + branch


def layer_norm(x: Float[Array, "*N D"], scale: Float[Array, "D"], bias: Float[Array, "D"]):
    """Return scale * normalize(x) + bias."""
    total = x.astype(jnp.float32)
    centered = total - total.mean(axis=-1, keepdims=True)
    variance = jnp.square(centered).mean(axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(variance + EPSILON) * scale.reshape(_row(x))
    return (centered * factor + bias.reshape(_row(x))).astype(x.dtype)


def _row(x) -> tuple[int, ...]:
    """Return the shape of a vector [D] that is added to every row of `x`."""
    return (1,) * (x.ndim - 1) + (-1,)


def _plain(x, branch, params: NormParams, words, *, rate: float):
    total = add_branch(x, branch, params.branch_bias, words, rate)
    return layer_norm(total, params.scale, params.bias)


def _forward_kernel(x, branch, params: NormParams, words, *, rate: float, interpret: bool = False):
    rows, width = x.size // x.shape[-1], x.shape[-1]
    sizes = _Sizes(rows, width, rate if words is not None else 0.0)
    inputs = _inputs(x, branch, words, *params)
    tile = sizes.rows_spec(ROWS)
    y = pl.pallas_call(
        functools.partial(_forward_body, sizes),
        grid=(pl.cdiv(rows, ROWS),),
        in_specs=[_WORDS, tile, tile, *[sizes.vector_spec()] * 3],
        out_specs=tile,
        out_shape=jax.ShapeDtypeStruct((rows, width), x.dtype),
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4),
        name="residual_norm_forward",
    )(*inputs)
    return y.reshape(x.shape)


def _backward_kernel(
    x, branch, params: NormParams, words, gradient, *, rate: float, interpret: bool = False
):
    rows, width = x.size // x.shape[-1], x.shape[-1]
    sizes = _Sizes(rows, width, rate if words is not None else 0.0)
    programs = pl.cdiv(rows, ROWS * TILES)
    array = jax.ShapeDtypeStruct((rows, width), x.dtype)
    inputs = _inputs(x, branch, words, params.branch_bias, params.scale)
    tiles, vector = sizes.rows_spec(ROWS * TILES), sizes.vector_spec()
    x_gradient, branch_gradient, sums = pl.pallas_call(
        functools.partial(_backward_body, sizes),
        grid=(programs,),
        in_specs=[_WORDS, tiles, tiles, vector, vector, tiles],
        out_specs=[tiles, tiles, pl.BlockSpec((None, 3, sizes.columns), lambda i: (i, 0, 0))],
        out_shape=[array, array, jax.ShapeDtypeStruct((programs, 3, width), jnp.float32)],
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4),
        name="residual_norm_backward",
    )(*inputs, gradient.reshape(rows, width))
    params_gradient = NormParams(*sums.sum(axis=0))
    return x_gradient.reshape(x.shape), branch_gradient.reshape(x.shape), params_gradient


class _Sizes(NamedTuple):
    """Hold the static sizes: N, D and the dropout rate."""

    rows: int
    width: int
    rate: float

    @property
    def columns(self) -> int:
        """Return W."""
        return 1 << (self.width - 1).bit_length()

    def rows_spec(self, rows: int) -> pl.BlockSpec:
        """Return the block of a program that holds so many rows."""
        return pl.BlockSpec((rows, self.columns), lambda i: (i, 0))

    def vector_spec(self) -> pl.BlockSpec:
        """Return the block of a vector of D elements."""
        return pl.BlockSpec((self.columns,), lambda i: (0,))


class _Tile(NamedTuple):
    """Hold a tile of normalized rows and what its gradient needs.

    Attributes:
        normalized: the normalized sums, 0 in columns after D.
        factor: 1 / the standard deviation of each row.
        bits: random bits of the dropout mask; None without dropout.
    """

    normalized: Float[Array, "R W"]
    factor: Float[Array, "R 1"]
    bits: Any


def _inputs(x, branch, words, *vectors):
    words = jnp.zeros(2, jnp.uint32) if words is None else words
    arrays = [array.reshape(-1, array.shape[-1]) for array in (x, branch)]
    return words, *arrays, *vectors


def _forward_body(sizes: _Sizes, words, x, branch, branch_bias, scale, bias, y) -> None:
    first = pl.program_id(0) * ROWS
    tile = _normalize(sizes, first, 0, words, x, branch, branch_bias)
    values = tile.normalized * _vector(sizes, scale) + _vector(sizes, bias)
    _store(sizes, y, first, 0, values)


def _backward_body(
    sizes: _Sizes, words, x, branch, branch_bias, scale, gradient, x_gradient, branch_gradient, sums
) -> None:
    first, scale = pl.program_id(0) * ROWS * TILES, _vector(sizes, scale)

    def add_tile(step, totals):
        own = first + step * ROWS, step * ROWS
        tile = _normalize(sizes, *own, words, x, branch, branch_bias)
        outer = _load(sizes, gradient, *own)
        inner = outer * scale
        mean = lambda values: values.sum(axis=1, keepdims=True) / sizes.width
        correction = mean(inner) + tile.normalized * mean(inner * tile.normalized)
        total = tile.factor * (inner - correction)
        dropped = total if tile.bits is None else drop(total, tile.bits, sizes.rate)
        _store(sizes, x_gradient, *own, total)
        _store(sizes, branch_gradient, *own, dropped)
        parts = dropped, outer * tile.normalized, outer
        return tuple(a + part.sum(axis=0) for a, part in zip(totals, parts, strict=True))

    zeros = (jnp.zeros(sizes.columns, jnp.float32),) * 3
    mask = (jax.lax.iota(jnp.int32, sizes.columns) < sizes.width)[None]
    for part, total in enumerate(jax.lax.fori_loop(0, TILES, add_tile, zeros)):
        triton.store(sums.at[pl.ds(part, 1), :], total[None], mask=mask)


def _normalize(sizes: _Sizes, first, start, words, x, branch, branch_bias) -> _Tile:
    """Return the tile of the rows from number `first` on, which are at `start` of the block."""
    values = _load(sizes, branch, first, start) + _vector(sizes, branch_bias)
    rows, columns, mask = _positions(sizes, first)
    bits = None
    if sizes.rate:
        position = (rows * sizes.width + columns).astype(jnp.uint32)
        bits = bits_at(position, words[0], words[1])
        values = drop(values, bits, sizes.rate)
    total = _load(sizes, x, first, start) + values
    mean = total.sum(axis=1, keepdims=True) / sizes.width
    centered = jnp.where(mask, total - mean, 0.0)
    variance = jnp.square(centered).sum(axis=1, keepdims=True) / sizes.width
    factor = jax.lax.rsqrt(variance + EPSILON)
    return _Tile(centered * factor, factor, bits)


def _positions(sizes: _Sizes, first):
    """Return the row and the column of each element of a tile, and a mask of those that exist."""
    shape = ROWS, sizes.columns
    rows = first + jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    columns = jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    return rows, columns, (rows < sizes.rows) & (columns < sizes.width)


def _load(sizes: _Sizes, block, first, start) -> Float[Array, "R W"]:
    mask = _positions(sizes, first)[2]
    values = triton.load(block.at[pl.ds(start, ROWS), :], mask=mask, other=0.0)
    return values.astype(jnp.float32)


def _store(sizes: _Sizes, block, first, start, values: Float[Array, "R W"]) -> None:
    mask = _positions(sizes, first)[2]
    triton.store(block.at[pl.ds(start, ROWS), :], values.astype(block.dtype), mask=mask)


def _vector(sizes: _Sizes, block) -> Float[Array, "1 W"]:
    mask = jax.lax.iota(jnp.int32, sizes.columns) < sizes.width
    return triton.load(block.at[:], mask=mask, other=0.0).astype(jnp.float32)[None]
