"""Test that a step computed twice changes nothing, and that a flipped bit is found."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt1_jax.engine import devices, step
from gpt1_jax.engine.replay import replayed
from gpt1_jax.errors import UserError

BATCH = devices.split({"x": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)})
OPTIMIZER = optax.adam(0.1)
BOTH = pytest.mark.parametrize("backend", ["pmap", "shard_map"])


@pytest.fixture
def state():
    params = {"body": {"kernel": jnp.ones(3)}, "bias": jnp.zeros(())}
    return devices.replicate({"params": params, "opt_state": OPTIMIZER.init(params)})


def compiled_step(backend: str):
    def loss(params, batch, key):
        noise = jax.random.normal(key, batch["x"].shape)
        outputs = (batch["x"] + noise) @ params["body"]["kernel"] + params["bias"]
        return jnp.mean(outputs**2), {}

    run = devices.parallelize(
        step.training_step(loss, OPTIMIZER, accumulate=1), donate=True, backend=backend
    )
    return lambda state, batch, number: run(state, batch, step.seed_and_step(3, number))


def flip_bit(state, name: str, device: int):
    """Flip the lowest bit of the first number of an array on one device."""

    def flip(leaf):
        arrays = [np.array(shard.data) for shard in leaf.addressable_shards]
        arrays[device].view(np.uint32).reshape(-1)[0] ^= 1
        placed = [
            jax.device_put(array, shard.device)
            for array, shard in zip(arrays, leaf.addressable_shards, strict=True)
        ]
        return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, placed)

    def change(path, leaf):
        found = jax.tree_util.keystr(path, simple=True, separator="/")
        return flip(leaf) if found == name else leaf

    return jax.tree_util.tree_map_with_path(change, state)


@BOTH
def test_replayed_steps_give_the_same_bits(backend, state):
    plain, checked = compiled_step(backend), compiled_step(backend)
    checked = replayed(checked, 2, backend)
    ends = []
    for run in (plain, checked):
        end = jax.tree.map(jnp.copy, state)
        for number in range(5):
            end, metrics = run(end, BATCH, number)
        ends.append(jax.device_get((end, metrics)))
    jax.tree.map(np.testing.assert_array_equal, *ends)


@BOTH
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("params/body/kernel", "params body/kernel"),
        ("params/bias", "params bias"),
        ("opt_state/0/nu/bias", "opt_state 0/nu/bias"),
    ],
)
@pytest.mark.parametrize("device", [0, 1])
def test_flipped_bit_is_found_on_every_device(backend, name, expected, device, state):
    run, calls = compiled_step(backend), []

    def faulty(state, batch, number):
        state, metrics = run(state, batch, number)
        calls.append(number)
        # Steps 2 and 4 are computed twice, so this is the second computation of step 4.
        return (flip_bit(state, name, device) if len(calls) == 6 else state), metrics

    checked = replayed(faulty, 2, backend)
    for number in range(3):
        state, _ = checked(state, BATCH, number)
    message = rf"^step 4: computed twice, {expected} differs on 1 of 2 devices; test the hardware"
    with pytest.raises(UserError, match=message):
        checked(state, BATCH, 3)
    assert calls == [0, 1, 1, 2, 3, 3]
