"""Compute attention in tiles, by Pallas kernels for TPU and GPU with a gradient of their own.

A kernel never writes the attention weights or their dropout mask to memory. It computes them tile
by tile from queries and keys, by the online softmax (Dao et al. 2022), and keeps the logarithm of
each row's sum. The backward kernel computes the weights again from it. The bits of a dropout mask
are a function of (key, position), so both kernels draw the mask of `attention.plain`.

The kernels read queries, keys and values in the layout of their projection and write the gradient
in the same layout, so no array is transposed or concatenated around them.

Letters: B batch, L length, D width, W = 3 D, H heads, d = D / H, G heads of a program, T rows and
columns of a tile.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int, UInt32

from gpt1_jax.models.attention_kernels import Program, Saved, Sizes, backward_body, forward_body

LANES = 128  # columns of a memory tile of a TPU


class Platform(NamedTuple):
    """Describe how the kernels run on one platform.

    Attributes:
        is_tpu: compile for a TPU. A program then holds as many heads as fill whole memory tiles,
            and consecutive programs write the parts of a gradient. Otherwise compile for a GPU.
        largest_tile: largest T.
        interpret: run by XLA's own operations, for tests on the CPU.
    """

    is_tpu: bool
    largest_tile: int
    interpret: bool = False

    def sizes(self, length: int, width: int, heads: int, rate: float) -> Sizes:
        """Return the static sizes of a call.

        Long rows have the largest tile that needs no more padding than tiles of 128.
        """
        tile = min(self.largest_tile, max(16, 1 << (length - 1).bit_length()))
        while tile > 128 and -length % tile > -length % 128:
            tile //= 2
        group = heads_per_program(width, heads) if self.is_tpu else 1
        return Sizes(length, tile, -(-length // tile), heads, group, width // heads, rate)


GPU = Platform(is_tpu=False, largest_tile=64)
TPU = Platform(is_tpu=True, largest_tile=512)


def heads_per_program(width: int, heads: int) -> int:
    """Return the smallest number of heads that fill whole memory tiles of a TPU; 0 if none do."""
    size = width // heads
    counts = (count for count in range(1, heads + 1) if heads % count == 0)
    return next((count for count in counts if count * size % LANES == 0), 0)


def is_supported(width: int, heads: int) -> bool:
    """Return whether the kernels exist for these sizes, on TPU and GPU."""
    return width // heads in (16, 32, 64, 128) and heads_per_program(width, heads) > 0


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def fused_attention(
    product: Float[Array, "B L W"],
    bias: Float[Array, "W"],
    segment_ids: Int[Array, "B L"] | None,
    words: UInt32[Array, "2"],
    heads: int,
    rate: float,
    platform: Platform | None = None,
) -> Float[Array, "B L D"]:
    """Return causal self-attention of whole rows.

    Args:
        product: queries, keys and values side by side, without their bias.
        bias: their bias.
        segment_ids: see `Transformer.__call__`; None for rows of one text.
        words: the words of the dropout mask (`dropout.hash_key`); not read if `rate` is 0.
        heads: H.
        rate: dropout rate of the attention weights.
        platform: how to run; by default, as the platform needs for which the program is compiled.
    """
    return _forward(product, bias, segment_ids, words, heads, rate, platform)[0]


def _forward(product, bias, segment_ids, words, heads, rate, platform):
    call = functools.partial(_call_forward, heads=heads, rate=rate)
    inputs = product, bias, segment_ids, words
    output, logsumexp = _dispatch(call, platform, *inputs)
    return output, (*inputs, output, logsumexp)


def _backward(heads, rate, platform, residuals, gradient):
    call = functools.partial(_call_backward, heads=heads, rate=rate)
    return *_dispatch(call, platform, *residuals, gradient), None, None


fused_attention.defvjp(_forward, _backward)


def _dispatch(call: Callable, platform: Platform | None, *arguments: Any) -> Any:
    """Call `call(platform, *arguments)` for the platform that compiles it, or for `platform`."""
    if platform is not None:
        return call(platform, *arguments)
    gpu = functools.partial(call, GPU)
    return jax.lax.platform_dependent(
        *arguments,
        cpu=functools.partial(call, GPU._replace(interpret=True)),
        cuda=gpu,
        rocm=gpu,
        tpu=functools.partial(call, TPU),
    )


def _call_forward(
    platform: Platform, product, bias, segment_ids, words, *, heads: int, rate: float
):
    """Return the output [B L D] and the logs of the sums of all rows of weights [B H L]."""
    (batch, length, columns) = product.shape
    width = columns // 3
    sizes = platform.sizes(length, width, heads, rate)
    inputs = _Inputs.make(platform, sizes, product, bias, segment_ids, words)
    output_specs = [
        pl.BlockSpec((None, sizes.tile, sizes.group * sizes.size), lambda b, h, i: (b, i, h)),
        pl.BlockSpec((None, None, sizes.group, sizes.tile), lambda b, h, i: (b, h, 0, i)),
    ]
    padded = sizes.tiles * sizes.tile
    logsumexp_shape = (batch, heads // sizes.group, sizes.group, padded)
    output, logsumexp = _pallas_call(
        platform,
        lambda *refs: forward_body(sizes, inputs.program(refs), *refs[-2:]),
        name="fused_attention_forward",
        grid=(batch, heads // sizes.group, sizes.tiles),
        in_specs=inputs.specs(),
        out_specs=output_specs,
        out_shape=[
            jax.ShapeDtypeStruct((batch, padded, width), product.dtype),
            jax.ShapeDtypeStruct(logsumexp_shape, jnp.float32),
        ],
    )(*inputs.arrays)
    return output[:, :length], logsumexp.reshape(batch, heads, padded)[:, :, :length]


def _call_backward(
    platform: Platform,
    product,
    bias,
    segment_ids,
    words,
    output,
    logsumexp,
    gradient,
    *,
    heads: int,
    rate: float,
):
    """Return the gradients of `product` and `bias`."""
    batch, length, width = output.shape
    sizes = platform.sizes(length, width, heads, rate)
    inputs = _Inputs.make(platform, sizes, product, bias, segment_ids, words)
    padded, block = sizes.tiles * sizes.tile, sizes.group * sizes.size
    logsumexp = _pad(logsumexp, axis=2, length=padded).reshape(
        batch, heads // sizes.group, sizes.group, padded
    )
    saved = logsumexp, *(_pad(rows, axis=1, length=padded) for rows in (output, gradient))
    rows = pl.BlockSpec((None, padded, block), lambda b, h, *_: (b, 0, h))
    in_specs = [
        *inputs.specs(),
        pl.BlockSpec((None, None, sizes.group, padded), lambda b, h, *_: (b, h, 0, 0)),
        rows,
        rows,
    ]
    grid = (batch, heads // sizes.group, sizes.tiles)
    options: dict[str, Any]
    if platform.is_tpu:
        body, options = _tpu_backward(sizes, inputs, grid, block)
    else:
        body, options = _gpu_backward(sizes, inputs), dict(grid=grid)
    result, sums = _pallas_call(
        platform,
        body,
        name="fused_attention_backward",
        in_specs=in_specs,
        out_shape=[
            jax.ShapeDtypeStruct((batch, padded, 3 * width), product.dtype),
            jax.ShapeDtypeStruct((batch, sizes.tiles, 1, 3 * width), jnp.float32),
        ],
        **options,
    )(*inputs.arrays, *saved)
    return result[:, :length], sums.sum(axis=(0, 1, 2)).astype(bias.dtype)


def _gpu_backward(sizes: Sizes, inputs: "_Inputs") -> Callable:
    """Return the body for a GPU: every program writes its parts into the whole gradients."""

    def body(*refs):
        *rest, logsumexp, output, gradient, result, sums = refs
        row, block, tile = pl.program_id(0), pl.program_id(1), pl.program_id(2)

        def write(part, head, value):
            columns = pl.ds((part * sizes.heads + block) * sizes.size, sizes.size)
            rows = sizes.rows(tile)
            result[row, rows, columns] = value.astype(result.dtype)
            sums[row, tile, 0, columns] = value.sum(axis=0)

        saved = Saved(logsumexp, output, gradient)
        backward_body(sizes, inputs.program(rest), saved, write)

    return body


def _tpu_backward(
    sizes: Sizes, inputs: "_Inputs", grid: tuple[int, ...], block: int
) -> tuple[Callable, dict[str, Any]]:
    """Return the body for a TPU and its grid, which has a last axis for the parts of the gradient.

    The first program of this axis computes all three parts. Every program writes one of them, so
    that the writing of blocks overlaps with the next computation.
    """

    def body(*refs):
        *rest, logsumexp, output, gradient, result, sums, parts, part_sums = refs
        program, part = inputs.program(rest), pl.program_id(3)

        def write(part, head, value):
            columns = sizes.columns(head)
            parts[part, :, columns] = value.astype(parts.dtype)
            part_sums[part, :, columns] = value.sum(axis=0, keepdims=True)

        @pl.when(part == 0)
        def _():
            backward_body(sizes, program, Saved(logsumexp, output, gradient), write)

        result[...] = parts[part]
        sums[...] = part_sums[part]

    blocks = grid[1]
    return body, dict(
        grid=(*grid, 3),
        out_specs=[
            pl.BlockSpec((None, sizes.tile, block), lambda b, h, i, p: (b, i, p * blocks + h)),
            pl.BlockSpec((None, None, 1, block), lambda b, h, i, p: (b, i, 0, p * blocks + h)),
        ],
        scratch_shapes=[
            pltpu.VMEM((3, sizes.tile, block), inputs.arrays[1].dtype),
            pltpu.VMEM((3, 1, block), jnp.float32),
        ],
    )


class _Inputs(NamedTuple):
    """Hold the inputs that both kernels read.

    Attributes:
        platform: how the kernels run.
        sizes: static sizes.
        arrays: the words of the dropout mask; the padded queries, keys and values, then their
            bias; any segment ids, as a column and as a row. On a TPU, the second and the third
            occur once for each part, because a block holds columns of one part.
    """

    platform: Platform
    sizes: Sizes
    arrays: tuple[Array, ...]

    @classmethod
    def make(cls, platform, sizes, product, bias, segment_ids, words) -> "_Inputs":
        padded = sizes.tiles * sizes.tile
        parts = (_pad(product, axis=1, length=padded),) * (3 if platform.is_tpu else 1)
        biases = (bias.astype(product.dtype)[None],) * len(parts)
        if segment_ids is None:
            return cls(platform, sizes, (words, *parts, *biases))
        segment_ids = _pad(segment_ids, axis=1, length=padded, value=-1)
        segments = segment_ids[:, :, None], segment_ids[:, None, :]
        return cls(platform, sizes, (words, *parts, *biases, *segments))

    def specs(self) -> list[pl.BlockSpec]:
        """Return the block of each array that a program reads."""
        sizes = self.sizes
        padded, width = sizes.tiles * sizes.tile, sizes.group * sizes.size
        blocks = sizes.heads // sizes.group
        if self.platform.is_tpu:
            rows = lambda part: lambda b, h, *_: (b, 0, part * blocks + h)
            row = lambda part: lambda b, h, *_: (0, part * blocks + h)
            specs = [
                pl.BlockSpec(memory_space=pltpu.SMEM),
                *(pl.BlockSpec((None, padded, width), rows(part)) for part in range(3)),
                *(pl.BlockSpec((1, width), row(part)) for part in range(3)),
            ]
        else:
            rows, row = self.arrays[1].shape[1:], self.arrays[2].shape
            specs = [
                pl.BlockSpec((2,), lambda *_: (0,)),
                pl.BlockSpec((None, *rows), lambda b, *_: (b, 0, 0)),
                pl.BlockSpec(row, lambda *_: (0, 0)),
            ]
        if len(self.arrays) > len(specs):
            specs.append(pl.BlockSpec((None, padded, 1), lambda b, *_: (b, 0, 0)))
            specs.append(pl.BlockSpec((None, 1, padded), lambda b, *_: (b, 0, 0)))
        return specs

    def program(self, refs) -> Program:
        """Return what this program knows, from the references to these inputs."""
        sizes, block = self.sizes, pl.program_id(1)
        count = 3 if self.platform.is_tpu else 1
        parts, biases = refs[1 : 1 + count], refs[1 + count : 1 + 2 * count]
        segments = refs[1 + 2 * count : len(self.arrays)]

        def read(part, tile, head):
            rows, columns = sizes.rows(tile), sizes.columns(head)
            if self.platform.is_tpu:
                return parts[part][rows, columns] + biases[part][:, columns]
            columns = pl.ds((part * sizes.heads + block) * sizes.size, sizes.size)
            return parts[0][rows, columns] + biases[0][:, columns]

        sequence = pl.program_id(0) * sizes.heads + block * sizes.group
        return Program(sequence, pl.program_id(2), refs[0], read, tuple(segments) or None)


def _pallas_call(platform: Platform, body: Callable, *, name: str, **options: Any) -> Callable:
    if platform.is_tpu:
        parallel = ("parallel", "parallel", *["arbitrary"] * (len(options["grid"]) - 2))
        params = pltpu.CompilerParams(dimension_semantics=parallel)  # pyright: ignore[reportArgumentType]
    else:
        params = triton.CompilerParams(num_warps=4, num_stages=2)
    if platform.interpret:
        params = None
    return pl.pallas_call(
        body, interpret=platform.interpret, compiler_params=params, name=name, **options
    )


def _pad(array: Array, *, axis: int, length: int, value: int = 0) -> Array:
    """Return the array with `value` after the end of an axis, up to `length`."""
    missing = length - array.shape[axis]
    if not missing:
        return array
    widths = [(0, missing if number == axis else 0) for number in range(array.ndim)]
    return jnp.pad(array, widths, constant_values=value)
