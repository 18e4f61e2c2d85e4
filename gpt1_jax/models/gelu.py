"""Apply GELU between two layers, with a gradient that keeps one array: the input of GELU.

The gradient computes GELU again. On a GPU, a Pallas kernel computes GELU, the gradient of its input
and the gradient of the bias in one pass; XLA's own programs take three there. On other platforms,
XLA compiles `_plain_gradient`.

Letters: N rows, D width, F width between the layers, R rows and C columns of a tile.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from gpt1_jax.models.linear import matrix_gradient, project, project_gradient

ROWS, COLUMNS = 32, 128  # R and C
TILES = 8  # tiles that one program sums up


@jax.custom_vjp
def gelu_project(
    product: Float[Array, "*N F"], bias: Float[Array, "F"], kernel: Float[Array, "F D"]
) -> Float[Array, "*N D"]:
    """Return GELU(product + bias) @ kernel, with the tanh form of GELU."""
    return _forward(product, bias, kernel)[0]


def _forward(product, bias, kernel):
    x = product + bias.astype(product.dtype).reshape((1,) * (product.ndim - 1) + (-1,))
    return project(nn.gelu(x, approximate=True), kernel), (x, kernel)


def _backward(inputs, gradient):
    x, kernel = inputs
    outer = project_gradient(gradient, kernel)
    activation, x_gradient, sums = jax.lax.platform_dependent(
        x, outer, cuda=gelu_gradient, rocm=gelu_gradient, default=_plain_gradient
    )
    return x_gradient, sums, matrix_gradient(activation, gradient)


gelu_project.defvjp(_forward, _backward)


def _plain_gradient(x, outer):
    # The barrier keeps XLA from storing GELU or its parts in the forward pass instead.
    x = jax.lax.optimization_barrier(x)
    activation, transpose = jax.vjp(functools.partial(nn.gelu, approximate=True), x)
    (gradient,) = transpose(outer)
    sums = gradient.astype(jnp.float32).sum(axis=tuple(range(x.ndim - 1)))
    return activation, gradient, sums


def gelu_gradient(
    x: Float[Array, "*N F"], outer: Float[Array, "*N F"], interpret: bool = False
) -> tuple[Float[Array, "*N F"], Float[Array, "*N F"], Float[Array, "F"]]:
    """Return GELU(x), the gradient of x for the gradient `outer` of GELU(x), and its row sums.

    `interpret` runs the kernel by XLA's own operations, for tests on the CPU.
    """
    width = x.shape[-1]
    rows = x.size // width
    grid = pl.cdiv(rows, ROWS * TILES), pl.cdiv(width, COLUMNS)
    array = jax.ShapeDtypeStruct((rows, width), x.dtype)
    block = pl.BlockSpec((ROWS * TILES, COLUMNS), lambda i, j: (i, j))
    activation, gradient, sums = pl.pallas_call(
        functools.partial(_body, rows, width),
        grid=grid,
        in_specs=[block, block],
        out_specs=[block, block, pl.BlockSpec((None, COLUMNS), lambda i, j: (i, j))],
        out_shape=[array, array, jax.ShapeDtypeStruct((grid[0], width), jnp.float32)],
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4),
        name="gelu_gradient",
    )(x.reshape(rows, width), outer.reshape(rows, width))
    return activation.reshape(x.shape), gradient.reshape(x.shape), sums.sum(axis=0)


def _body(rows: int, width: int, x, outer, activation, gradient, sums) -> None:
    first_row, first_column = pl.program_id(0) * ROWS * TILES, pl.program_id(1) * COLUMNS
    columns = first_column + jax.lax.broadcasted_iota(jnp.int32, (ROWS, COLUMNS), 1)

    def add_tile(step, total):
        numbers = jax.lax.broadcasted_iota(jnp.int32, (ROWS, COLUMNS), 0)
        mask = (first_row + step * ROWS + numbers < rows) & (columns < width)
        tile = pl.ds(step * ROWS, ROWS), slice(None)

        def load(array):
            return triton.load(array.at[tile], mask=mask, other=0.0).astype(jnp.float32)

        def store(array, values):
            triton.store(array.at[tile], values.astype(array.dtype), mask=mask)

        values, slope = _gelu_and_slope(load(x))
        product = load(outer) * slope
        store(activation, values)
        store(gradient, product)
        return total + product.sum(axis=0)

    total = jax.lax.fori_loop(0, TILES, add_tile, jnp.zeros(COLUMNS, jnp.float32))
    mask = first_column + jax.lax.iota(jnp.int32, COLUMNS) < width
    triton.store(sums.at[:], total, mask=mask)


def _gelu_and_slope(x: Float[Array, "R C"]) -> tuple[Float[Array, "R C"], Float[Array, "R C"]]:
    """Return 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), and its derivative."""
    factor = (2 / jnp.pi) ** 0.5
    tanh = jnp.tanh(factor * (x + 0.044715 * x**3))
    u_slope = factor * (1 + 3 * 0.044715 * x**2)
    half = 0.5 * (1 + tanh)
    return x * half, half + 0.5 * x * (1 - tanh**2) * u_slope
