"""Test how batches are spread over devices and hosts, and that both backends give the same bits."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cli_fixtures import REPOSITORY
from mistakes.mistake import damage_checkpoint

from gpt1_jax.engine import checkpoint, devices
from gpt1_jax.errors import UserError

BATCH = {"tokens": np.arange(24).reshape(8, 3), "label": np.arange(8.0)}


def test_tests_run_on_two_devices():
    assert jax.device_count() == 2


def test_batch_is_split_in_order():
    split = devices.split(BATCH)
    assert split["tokens"].shape == (2, 4, 3) and split["label"].shape == (2, 4)
    for name, array in BATCH.items():
        np.testing.assert_array_equal(split[name].reshape(array.shape), array)


def test_rows_of_a_device_do_not_depend_on_the_number_of_processes(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    one_process = devices.split(BATCH)["tokens"]
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    parts = []
    for process in range(2):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        parts.append(devices.split(BATCH)["tokens"])
    np.testing.assert_array_equal(np.concatenate(parts), one_process)


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_step_receives_its_rows_and_returns_one_result(backend):
    def step(state, batch, number):
        rows = batch["label"] * state["factor"] + number
        return {
            "rows": devices.gather(rows),
            "mean": jax.lax.pmean(rows.mean(), devices.AXIS),
            "shape": jnp.array(batch["tokens"].shape),
        }

    result = devices.parallelize(step, backend=backend)(
        {"factor": np.float32(2)}, devices.split(BATCH), np.int32(1)
    )
    np.testing.assert_array_equal(result["rows"], np.arange(8) * 2 + 1)
    assert result["mean"] == 8 and result["shape"].tolist() == [4, 3]


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_only_a_donated_state_is_deleted(backend):
    def step(state, batch, number):
        mean = jax.lax.pmean(batch["label"].mean(), devices.AXIS)
        return jax.tree.map(lambda leaf: leaf + mean, state)

    state = devices.replicate({"w": np.zeros(5, np.float32)})
    result = devices.parallelize(step, backend=backend)(state, devices.split(BATCH), np.int32(0))
    assert not state["w"].is_deleted() and result["w"].tolist() == [3.5] * 5
    devices.parallelize(step, donate=True, backend=backend)(
        state, devices.split(BATCH), np.int32(0)
    )
    assert state["w"].is_deleted()


def test_unknown_backend_is_refused():
    with pytest.raises(
        UserError, match=r"config\.backend: 'pjit' found; choose 'pmap' or 'shard_map'"
    ):
        devices.parallelize(lambda *_: None, backend="pjit")


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_two_processes_give_the_same_bits_with_both_backends(gpt1, pretraining, tmp_path):
    def pretrain(backend):
        """Run two processes and return their result and the checksums of all checkpoints."""
        workdir, settings = tmp_path / backend, {"backend": backend, "eval.sample": 0}
        command = gpt1.command("pretrain.py:tiny", workdir, pretraining() | settings)
        ended = subprocess.run(
            ["bash", REPOSITORY / "launch/local_multi.sh", "2", *command],
            env=os.environ | {"PYTHON": sys.executable},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert ended.returncode == 0, ended.stderr
        result = json.loads((workdir / "result.json").read_text())
        checksums = {
            step: checkpoint.read_meta(workdir, step)["crc32"] for step in checkpoint.steps(workdir)
        }
        return {name: result[name] for name in ("params_sha256", "validation_loss")}, checksums

    expected = pretrain("pmap")
    assert pretrain("shard_map") == expected and set(expected[1]) == {10, 20}
    # Resume with shard_map from the checkpoint of step 10: process 0 finds that of step 20 damaged.
    damage_checkpoint(tmp_path / "shard_map", 20)
    (tmp_path / "shard_map/result.json").unlink()
    assert pretrain("shard_map") == expected
    assert "resumes from step 10\n" in (tmp_path / "shard_map/log.txt").read_text()
    assert len(list((tmp_path / "shard_map").glob("bad-20-*"))) == 1
