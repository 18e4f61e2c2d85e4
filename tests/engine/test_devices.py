"""How a batch is spread over devices and hosts, and what a step gives back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import devices, peak_flops
from gpt1_jax.errors import UserError

BATCH = {"tokens": np.arange(24).reshape(8, 3), "label": np.arange(8.0)}


def test_the_tests_see_two_devices():
    assert jax.device_count() == 2


def test_a_batch_is_split_in_order():
    split = devices.split(BATCH)
    assert split["tokens"].shape == (2, 4, 3) and split["label"].shape == (2, 4)
    for name, array in BATCH.items():
        np.testing.assert_array_equal(split[name].reshape(array.shape), array)


def test_the_rows_of_a_device_do_not_depend_on_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    one = devices.split(BATCH)["tokens"]
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    parts = []
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts.append(devices.split(BATCH)["tokens"])
    np.testing.assert_array_equal(np.concatenate(parts), one)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(3, 1), (6, 2), (2, 4)])
def test_a_batch_that_does_not_divide_is_refused(batch_size, accumulate):
    with pytest.raises(
        UserError,
        match=rf"config\.batch_size: {batch_size} does not divide .* a multiple of {2 * accumulate}$",
    ):
        devices.check_batch_size(batch_size, accumulate)
    devices.check_batch_size(2 * accumulate, accumulate)


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_a_step_sees_its_rows_and_gives_back_one_result(backend):
    def step(state, batch, number):
        rows = batch["label"] * state["factor"] + number
        return {
            "rows": devices.gather(rows),
            "mean": jax.lax.pmean(rows.mean(), devices.AXIS),
            "shape": jnp.array(batch["tokens"].shape),
        }

    result = devices.parallelise(step, backend=backend)(
        {"factor": np.float32(2)}, devices.split(BATCH), np.int32(1)
    )
    np.testing.assert_array_equal(result["rows"], np.arange(8) * 2 + 1)
    assert result["mean"] == 8 and result["shape"].tolist() == [4, 3]


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_a_donated_state_is_given_away(backend):
    step = lambda state, batch, number: jax.tree.map(
        lambda leaf: leaf + jax.lax.pmean(batch["label"].mean(), devices.AXIS), state
    )
    state = devices.replicate({"w": np.zeros(5, np.float32)})
    kept = devices.parallelise(step, backend=backend)(state, devices.split(BATCH), np.int32(0))
    assert not state["w"].is_deleted() and kept["w"].tolist() == [3.5] * 5
    devices.parallelise(step, donate=True, backend=backend)(
        state, devices.split(BATCH), np.int32(0)
    )
    assert state["w"].is_deleted()


def test_an_unknown_backend_is_refused():
    with pytest.raises(
        UserError, match=r"config\.backend: 'pjit' is neither 'pmap' nor 'shard_map'"
    ):
        devices.parallelise(lambda *_: None, backend="pjit")


def test_the_matmul_rate_is_plausible_and_measured_once():
    rate = peak_flops.matmul_flops("float32")
    assert 1e8 < rate < 1e16 and peak_flops.matmul_flops("float32") == rate
