"""Compare the GPU kernel of the softmax gradient with jax.nn, interpreted on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt1_jax.engine import softmax_kernel


def test_kernel_equals_the_plain_way(monkeypatch):
    monkeypatch.setattr(softmax_kernel, "TILE", 64)  # several tiles, the last one not full
    random = np.random.default_rng(0)
    logits = jnp.asarray(5 * random.standard_normal((5, 200)), jnp.float32)
    targets = jnp.asarray(random.integers(0, 190, 5), jnp.int32)
    weights = jnp.asarray(random.random(5), jnp.float32)
    log_sums, gradient = softmax_kernel.softmax_gradient(
        logits, targets, weights, count=190, dtype=jnp.float32, interpret=True
    )
    counted = logits[:, :190]
    expected = (jax.nn.softmax(counted) - jax.nn.one_hot(targets, 190)) * weights[:, None]
    np.testing.assert_allclose(log_sums, jax.nn.logsumexp(counted, axis=1), rtol=1e-6)
    np.testing.assert_allclose(gradient[:, :190], expected, atol=1e-6)
    assert (gradient[:, 190:] == 0).all()
