"""Compare GELU between two layers, and its GPU kernel, with automatic differentiation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gpt1_jax.models.gelu import gelu_gradient, gelu_project


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def test_values_and_gradients_are_those_of_automatic_differentiation():
    def plain(product, bias, kernel):
        return nn.gelu(product + bias[None, None], approximate=True) @ kernel

    inputs, results = (normal(0, 2, 5, 12), normal(1, 12), normal(2, 12, 6)), []
    for function in (gelu_project, plain):
        value, transpose = jax.vjp(function, *inputs)
        results.append((value, *transpose(normal(3, 2, 5, 6))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_kernel_equals_automatic_differentiation():
    x, outer = normal(0, 3, 100, 200), normal(1, 3, 100, 200)  # no multiples of a tile
    value, transpose = jax.vjp(lambda x: nn.gelu(x, approximate=True), x)
    (gradient,) = transpose(outer)
    expected = value, gradient, gradient.sum(axis=(0, 1))
    for one, other in zip(gelu_gradient(x, outer, interpret=True), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
