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
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int, UInt32

from gpt1_jax.models.attention_kernels import Program, Saved, Sizes, backward_body, forward_body

LANES = 128  # columns of a memory tile of a TPU
RESIDUALS = "fused_attention"  # name of what the backward kernel needs, for jax.checkpoint


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def fused_attention(
    qkv: Float[Array, "B L W"],
    segment_ids: Int[Array, "B L"] | None,
    words: UInt32[Array, "2"],
    heads: int,
    rate: float,
    platform: Platform | None = None,
) -> Float[Array, "B L D"]:
    """Return causal self-attention of whole rows.

    Args:
        qkv: queries, keys and values side by side.
        segment_ids: see `Transformer.__call__`; None for rows of one text.
        words: the words of the dropout mask (`dropout.hash_key`); not read if `rate` is 0.
        heads: H.
        rate: dropout rate of the attention weights.
        platform: how to run; by default, as the platform needs for which the program is compiled.
    """
    return _forward(qkv, segment_ids, words, heads, rate, platform)[0]


def _forward(qkv, segment_ids, words, heads, rate, platform):
    call = functools.partial(_call_forward, heads=heads, rate=rate)
    results = _dispatch(call, platform, qkv, segment_ids, words)
    output, logsumexp = checkpoint_name(results, RESIDUALS)
    return output, (qkv, segment_ids, words, output, logsumexp)


def _backward(heads, rate, platform, residuals, gradient):
    call = functools.partial(_call_backward, heads=heads, rate=rate)
    return _dispatch(call, platform, *residuals, gradient), None, None


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


def _call_forward(platform: Platform, qkv, segment_ids, words, *, heads: int, rate: float):
    """Return the output [B L D] and the logs of the sums of all rows of weights [B H L]."""
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    sizes = platform.sizes(length, width, heads, rate)
    inputs = _Inputs.make(platform, sizes, qkv, segment_ids, words)
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
            jax.ShapeDtypeStruct((batch, padded, width), qkv.dtype),
            jax.ShapeDtypeStruct(logsumexp_shape, jnp.float32),
        ],
    )(*inputs.arrays)
    return output[:, :length], logsumexp.reshape(batch, heads, padded)[:, :, :length]


def _call_backward(
    platform: Platform,
    qkv,
    segment_ids,
    words,
    output,
    logsumexp,
    gradient,
    *,
    heads: int,
    rate: float,
):
    """Return the gradient of `qkv`."""
    batch, length, width = output.shape
    sizes = platform.sizes(length, width, heads, rate)
    inputs = _Inputs.make(platform, sizes, qkv, segment_ids, words)
    padded, block = sizes.tiles * sizes.tile, sizes.group * sizes.size
    products = output.astype(jnp.float32) * gradient.astype(jnp.float32)
    delta = products.reshape(batch, length, heads, sizes.size).sum(axis=3).swapaxes(1, 2)
    by_group = lambda rows: _pad(rows, axis=2, length=padded).reshape(
        batch, heads // sizes.group, sizes.group, padded
    )
    row_spec = pl.BlockSpec((None, None, sizes.group, padded), lambda b, h, *_: (b, h, 0, 0))
    in_specs = [
        *inputs.specs(),
        row_spec,
        row_spec,
        pl.BlockSpec((None, padded, block), lambda b, h, *_: (b, 0, h)),
    ]
    grid = (batch, heads // sizes.group, sizes.tiles)
    options: dict[str, Any]
    if platform.is_tpu:
        body, options = _tpu_backward(sizes, inputs, grid, block)
    else:
        body, options = _gpu_backward(sizes, inputs), dict(grid=grid)
    result = _pallas_call(
        platform,
        body,
        name="fused_attention_backward",
        in_specs=in_specs,
        out_shape=jax.ShapeDtypeStruct((batch, padded, 3 * width), qkv.dtype),
        **options,
    )(*inputs.arrays, by_group(logsumexp), by_group(delta), _pad(gradient, axis=1, length=padded))
    return result[:, :length]


def _gpu_backward(sizes: Sizes, inputs: "_Inputs") -> Callable:
    """Return the body for a GPU: every program writes its three tiles into the whole gradient."""

    def body(*refs):
        *rest, logsumexp, delta, gradient, result = refs
        saved = Saved(logsumexp, delta, gradient)
        rows = pl.ds(pl.program_id(2) * sizes.tile, sizes.tile)

        def write(part, head, value):
            column = (part * sizes.heads + pl.program_id(1)) * sizes.size
            result[pl.program_id(0), rows, pl.ds(column, sizes.size)] = value.astype(result.dtype)

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
        *rest, logsumexp, delta, gradient, result, scratch = refs
        saved = Saved(logsumexp, delta, gradient)
        program, part = inputs.program(rest), pl.program_id(3)

        def write(part, head, value):
            scratch[part, :, sizes.columns(head)] = value.astype(scratch.dtype)

        @pl.when(part == 0)
        def _():
            backward_body(sizes, program, saved, write)

        result[...] = scratch[part]

    blocks = grid[1]
    return body, dict(
        grid=(*grid, 3),
        out_specs=pl.BlockSpec(
            (None, sizes.tile, block), lambda b, h, i, part: (b, i, part * blocks + h)
        ),
        scratch_shapes=[pltpu.VMEM((3, sizes.tile, block), inputs.arrays[1].dtype)],
    )


class _Inputs(NamedTuple):
    """Hold the inputs that both kernels read.

    Attributes:
        platform: how the kernels run.
        sizes: static sizes.
        arrays: the words of the dropout mask; the padded queries, keys and values, on a TPU once
            for each part, because a block holds columns of one part; any segment ids, as a column
            and as a row.
    """

    platform: Platform
    sizes: Sizes
    arrays: tuple[Array, ...]

    @classmethod
    def make(cls, platform, sizes, qkv, segment_ids, words) -> "_Inputs":
        padded = sizes.tiles * sizes.tile
        parts = (_pad(qkv, axis=1, length=padded),) * (3 if platform.is_tpu else 1)
        if segment_ids is None:
            return cls(platform, sizes, (words, *parts))
        segment_ids = _pad(segment_ids, axis=1, length=padded, value=-1)
        segments = segment_ids[:, :, None], segment_ids[:, None, :]
        return cls(platform, sizes, (words, *parts, *segments))

    def specs(self) -> list[pl.BlockSpec]:
        """Return the block of each array that a program reads."""
        sizes = self.sizes
        padded, width = sizes.tiles * sizes.tile, sizes.group * sizes.size
        blocks = sizes.heads // sizes.group
        if self.platform.is_tpu:
            columns = lambda part: lambda b, h, *_: (b, 0, part * blocks + h)
            parts = [pl.BlockSpec((None, padded, width), columns(part)) for part in range(3)]
            specs = [pl.BlockSpec(memory_space=pltpu.SMEM), *parts]
        else:
            row = pl.BlockSpec((None, *self.arrays[1].shape[1:]), lambda b, *_: (b, 0, 0))
            specs = [pl.BlockSpec((2,), lambda *_: (0,)), row]
        if len(self.arrays) > len(specs):
            specs.append(pl.BlockSpec((None, padded, 1), lambda b, *_: (b, 0, 0)))
            specs.append(pl.BlockSpec((None, 1, padded), lambda b, *_: (b, 0, 0)))
        return specs

    def program(self, refs) -> Program:
        """Return what this program knows, from the references to these inputs."""
        sizes, block = self.sizes, pl.program_id(1)
        count = 3 if self.platform.is_tpu else 1
        parts, segments = refs[1 : 1 + count], refs[1 + count : len(self.arrays)]

        def read(part, tile, head):
            rows = pl.ds(tile * sizes.tile, sizes.tile)
            if self.platform.is_tpu:
                return parts[part][rows, sizes.columns(head)]
            return parts[0][rows, pl.ds((part * sizes.heads + block) * sizes.size, sizes.size)]

        sequence = pl.program_id(0) * sizes.heads + block * sizes.group
        return Program(sequence, pl.program_id(2), refs[0], read, tuple(segments) or None)


def _pallas_call(platform: Platform, body: Callable, *, name: str, **options: Any) -> Callable:
    if platform.is_tpu:
        parallel = ("parallel", "parallel", *["arbitrary"] * (len(options["grid"]) - 2))
        params = pltpu.CompilerParams(dimension_semantics=parallel)
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
