"""Compile the kernels for accelerators that are not there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_cuda, needs_libtpu
from jax.sharding import NamedSharding, PartitionSpec

from gpt1_jax.engine import accelerators, devices, losses, topology
from gpt1_jax.models import gelu
from gpt1_jax.models.fused_attention import fused_attention
from gpt1_jax.models.residual_norm import NormParams, residual_norm

TARGETS = [
    pytest.param("v5e:1x1", marks=needs_libtpu),
    pytest.param("h100", marks=needs_cuda),
    pytest.param("l4", marks=needs_cuda),
]


def kernels(target: str, function, *shapes) -> str:
    """Compile a function of arrays (shape, dtype) for a target; return the program's text."""
    target = accelerators.find_target(target)
    mesh = devices.mesh_of(topology.devices(target)[:1])
    sharding = NamedSharding(mesh, PartitionSpec())
    inputs = [jax.ShapeDtypeStruct(*shape, sharding=sharding) for shape in shapes]
    compiled = jax.jit(function).lower(*inputs).compile(topology.compiler_options(target))
    return compiled.as_text()


# The widths of the sizes gpt1 and tiny, rows of one and of several tiles, with and without padding.
@pytest.mark.parametrize(
    ("length", "width", "heads", "dtype", "branches"),
    [
        (512, 768, 12, jnp.bfloat16, False),
        (640, 768, 12, jnp.float32, True),
        (64, 768, 12, jnp.float32, False),
        (48, 128, 4, jnp.bfloat16, True),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_fused_attention_compiles(target, length, width, heads, dtype, branches):
    def outputs_and_gradients(product, bias, segment_ids, words, gradient):
        segment_ids = segment_ids if branches else None
        attend = lambda product, bias: fused_attention(
            product, bias, segment_ids, words, heads, 0.1
        )
        output, transpose = jax.vjp(attend, product, bias)
        return output, transpose(gradient)

    text = kernels(
        target,
        outputs_and_gradients,
        ((2, length, 3 * width), dtype),
        ((3 * width,), jnp.float32),
        ((2, length), jnp.int32),
        ((2,), jnp.uint32),
        ((2, length, width), dtype),
    )
    assert "fused_attention_forward" in text and "fused_attention_backward" in text


@needs_cuda
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_kernels_of_a_gpu_compile(dtype):
    def all_kernels(x, vector, words, logits, targets):
        norm = lambda x: residual_norm(x, x, NormParams(vector, vector, vector), words, 0.1)
        y, transpose = jax.vjp(norm, x)
        softmax = losses._softmax_gradient(logits, targets, vector[:64], 1000, dtype)
        return y, transpose(y), gelu.gelu_gradient(x, x), softmax

    text = kernels(
        "h100",
        all_kernels,
        ((64, 768), dtype),
        ((768,), jnp.float32),
        ((2,), jnp.uint32),
        ((64, 1024), jnp.float32),
        ((64,), np.int32),
    )
    for name in ("residual_norm_forward", "residual_norm_backward", "gelu", "softmax_gradient"):
        assert name in text
