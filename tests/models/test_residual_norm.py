"""Compare the residual sum with its layer norm, and its GPU kernels, with NumPy and flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.dropout import dropout, hash_key
from gpt1_jax.models.residual_norm import NormParams, residual_norm

KEY = jax.random.key(1)
SHAPE = (3, 23, 48)  # more rows than a program of the backward kernel sums up; no power of 2


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


INPUTS = normal(0, *SHAPE), normal(1, *SHAPE), NormParams(*(normal(seed, 48) for seed in (2, 3, 4)))


def flax_norm(x, branch, params: NormParams, rate: float):
    """Return the same result by flax's layer norm."""
    branch = dropout(branch + params.branch_bias[None, None], rate, KEY)
    variables = {"params": {"scale": params.scale, "bias": params.bias}}
    return nn.LayerNorm(1e-5, use_fast_variance=False).apply(variables, x + branch)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("interpret", [False, True], ids=["XLA", "kernels"])
def test_values_and_gradients_are_those_of_the_separate_operations(interpret, rate):
    words = hash_key(KEY) if rate else None
    ours = lambda *inputs: residual_norm(*inputs, words, rate, interpret)
    results = []
    for function in (ours, lambda *inputs: flax_norm(*inputs, rate)):
        value, transpose = jax.vjp(function, *INPUTS)
        results.append(jax.tree.leaves((value, transpose(normal(5, *SHAPE)))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interpret", [False, True], ids=["XLA", "kernels"])
def test_half_precision_keeps_its_type_and_is_near_the_exact_result(interpret):
    half = jax.tree.map(lambda array: array.astype(jnp.bfloat16), INPUTS[:2])
    value = residual_norm(*half, INPUTS[2], None, 0.0, interpret)
    assert value.dtype == jnp.bfloat16
    exact = flax_norm(*INPUTS, 0.0)
    np.testing.assert_allclose(value.astype(jnp.float32), exact, rtol=0.05, atol=0.05)
