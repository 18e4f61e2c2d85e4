"""Test the devices of targets that this machine does not have."""

import subprocess
import sys

import jax
import pytest
from compilers import HAS_CUDA, needs_cuda, needs_libtpu

from gpt1_jax.engine import accelerators, topology
from gpt1_jax.errors import UserError

# Load libtpu as any program does that uses a TPU, and keep it.
OTHER = """
import os, sys
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-8",
               "TPU_WORKER_HOSTNAMES": "localhost"}
from jax.experimental import topologies
try:
    topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
finally:
    print("loaded", flush=True)
    sys.stdin.read()
"""
OURS = """
from gpt1_jax.engine import accelerators, topology
print(len(topology.devices(accelerators.find_target("v5e:2x2"))))
"""


def devices(name: str):
    return topology.devices(accelerators.find_target(name))


@needs_libtpu
@pytest.mark.parametrize(
    ("name", "hosts"),
    [("v5e:1x1", 1), ("v5e:2x4", 1), ("v5e:4x8", 8), ("v4:2x2x2", 2), ("v5p:2x2x2", 2)]
    + [("v6e:2x4", 1), ("v5p:2x2x1", 1)],
)
def test_every_chip_is_one_device(name, hosts):
    found = devices(name)
    assert len(found) == accelerators.find_target(name).devices
    assert len({device.process_index for device in found}) == hosts
    assert {device.platform for device in found} == {"tpu"}


@needs_libtpu
def test_the_machine_keeps_its_own_devices():
    before = jax.devices()
    devices("v5e:2x2")
    assert jax.devices() == before and jax.default_backend() == "cpu"


@needs_libtpu
def test_shape_that_libtpu_refuses_gives_one_line():
    with pytest.raises(UserError, match=r"^config.compile_for: libtpu refuses v5e:3x5 .*v5e:4x4"):
        devices("v5e:3x5")


@needs_libtpu
def test_process_that_holds_libtpu_is_no_obstacle():
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "loaded\n"
        ours = subprocess.run([sys.executable, "-c", OURS], capture_output=True, text=True)
        other.stdin.close()
    assert ours.stdout == "4\n", ours.stderr


def test_missing_libtpu_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(UserError, match=r"v5e:2x4 needs libtpu, .*launch/environment.sh tpu$"):
        devices("v5e:2x4")


@pytest.mark.skipif(HAS_CUDA, reason="the CUDA plugin is installed")
def test_missing_cuda_plugin_is_named():
    with pytest.raises(UserError, match=r"h100 needs jax's CUDA plugin, .*environment.sh cuda$"):
        devices("h100")


@needs_cuda
@pytest.mark.parametrize("name", ["h100", "h100:8", "h200", "a100", "rtx4090", "l4"])
def test_every_gpu_is_one_device(name):
    assert len(devices(name)) == accelerators.find_target(name).devices
