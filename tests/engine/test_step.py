"""Test that a training step does not depend on how its rows are spread over devices and time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt1_jax.engine import devices, losses, optim, step
from gpt1_jax.models.dropout import dropout

BATCH = {"tokens": np.random.default_rng(0).integers(0, 30, (8, 7)).astype(np.int32)}


def language_model(rate: float):
    """Return (params, loss) of one tanh layer with a tied embedding that has dropout `rate`."""
    random = np.random.default_rng(0)
    params = {
        "embedding": random.standard_normal((30, 8)),
        "kernel": random.standard_normal((8, 8)),
        "bias": np.zeros(8),
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)

    def loss(params, batch, key):
        inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
        embedding = dropout(params["embedding"], rate, key)
        hidden = jnp.tanh(embedding[inputs] @ params["kernel"] + params["bias"][None, None])
        value = losses.mean_language_model(hidden, embedding, targets, jnp.ones(targets.shape))
        return value, {"double": 2 * value}

    return params, loss


@pytest.fixture(scope="module")
def without_dropout():
    return language_model(0.0)


def train(params, loss, optimizer, *, accumulate=1, backend="pmap", updates=1):
    run = devices.parallelize(
        step.training_step(loss, optimizer, accumulate=accumulate), backend=backend
    )
    state = devices.replicate({"params": params, "opt_state": optimizer.init(params)})
    for number in range(updates):
        state, metrics = run(state, devices.split(BATCH), step.seed_and_step(3, number))
    return jax.device_get((state, metrics))


def assert_near(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), one, other)


def test_gradient_of_two_devices_is_that_of_one(without_dropout):
    # sgd(1) moves the params by minus the gradient. Adam would hide a gradient that is summed over
    # devices instead of averaged.
    params, loss = without_dropout
    state, metrics = train(params, loss, optax.sgd(1.0))
    (value, _), expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        params, jax.tree.map(jnp.asarray, BATCH), jax.random.key(0)
    )
    assert_near(
        jax.tree.map(lambda before, after: before - after, params, state["params"]), expected
    )
    assert metrics["loss"] == pytest.approx(float(value), abs=1e-6)
    assert metrics["double"] == pytest.approx(2 * float(value), abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(float(optax.tree.norm(expected)), rel=1e-5)


def test_accumulation_does_not_change_the_gradient(without_dropout):
    whole, parts = (
        train(*without_dropout, optax.sgd(1.0), accumulate=accumulate) for accumulate in (1, 4)
    )
    assert_near(whole, parts)


def test_both_backends_agree_bit_for_bit():
    params, loss = language_model(0.1)
    optimizer = optim.adam(
        0.01, optim.warmup_linear(10, 0.1), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
    )
    one, other = (
        train(params, loss, optimizer, backend=backend, updates=2)
        for backend in ("pmap", "shard_map")
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert any(
        (before != after).any()
        for before, after in zip(*map(jax.tree.leaves, (params, one[0]["params"])), strict=True)
    )


def test_every_step_device_and_seed_has_a_different_key():
    draw = devices.parallelize(
        lambda _, batch, numbers: devices.gather(jax.random.bits(step.step_key(numbers), (1,)))
    )
    bits = [
        draw({}, devices.split(BATCH), step.seed_and_step(*numbers))
        for numbers in ((0, 0), (0, 1), (1, 0))
    ]
    assert len(set(np.concatenate(bits).tolist())) == 6
    np.testing.assert_array_equal(bits[0], draw({}, devices.split(BATCH), step.seed_and_step(0, 0)))
