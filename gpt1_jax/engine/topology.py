"""Make the devices of an accelerator that this machine does not have, for the compiler only."""

import importlib.util
import math
import os
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from gpt1_jax.engine.accelerators import Target
from gpt1_jax.errors import UserError, first_line

# libtpu asks no server what machine this is, and does not wait for a process that uses a TPU.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_CHIPS_PER_HOST = {2: 8, 3: 4}  # dimensions of a slice -> the most chips of one host

# The limits of every NVIDIA GPU since 2017; accelerators.json has what differs.
_GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: {bandwidth:.0f} device_memory_size: {memory} {fields}
  cuda_compute_capability {{ major: {major} minor: {minor} {features} }}
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} device_description_str: "{name}"
"""


def devices(target: Target) -> Sequence[jax.Device]:  # pyright: ignore[reportInvalidTypeForm]
    """Return the devices of a target. They can be compiled for, not run on.

    A process that has not used JAX yet then uses the CPU for all else. The accelerator of this
    machine, if it has one, is left to other processes.

    Raises:
        UserError: the compiler for the target is not installed, or refuses its shape.
    """
    jax.config.update("jax_platforms", "cpu")  # without effect if JAX has been used
    return _tpus(target) if target.accelerator.dimensions else _gpus(target)


def compiler_options(target: Target) -> dict[str, int]:
    """Return the options to compile with: on a GPU, do not time variants of kernels."""
    return {} if target.accelerator.dimensions else {"xla_gpu_autotune_level": 0}


def _tpus(target: Target) -> Sequence[jax.Device]:  # pyright: ignore[reportInvalidTypeForm]
    if importlib.util.find_spec("libtpu") is None:
        raise _not_installed(target, "libtpu", "tpu")
    for name, value in _LIBTPU.items():
        os.environ.setdefault(name, value)
    shape = target.shape + (1,) * (3 - len(target.shape))
    one_host = math.prod(shape) <= _CHIPS_PER_HOST[target.accelerator.dimensions]
    try:
        return topologies.get_topology_desc(
            platform="tpu",
            topology_name=target.name,
            chips_per_host_bounds=shape if one_host else (2, 2, 1),
            # A chip is one device, also where it has two cores.
            **({"chip_config_name": "megacore"} if target.accelerator.dimensions == 3 else {}),
        ).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(
            f"config.compile_for: libtpu refuses {target.name} ({first_line(error)}); choose a "
            "shape that exists, such as v5e:4x4 or v5p:2x2x2"
        ) from None


def _gpus(target: Target) -> Sequence[jax.Device]:  # pyright: ignore[reportInvalidTypeForm]
    card = target.accelerator
    fields = dict(card.compiler)
    major, minor = fields.pop("compute_capability")
    description = _GPU.format(
        **{"name": card.name, "memory": card.memory, "bandwidth": card.bandwidth},
        **{"major": major, "minor": minor},
        # Hopper has instructions that later GPUs lack (sm_90a).
        features="feature_extension: ACCELERATED_FEATURES" if major == 9 else "",
        fields=" ".join(f"{name}: {value}" for name, value in fields.items()),
    )
    try:
        return topologies.get_topology_desc(
            card.name,
            platform="cuda",
            target_config=description,
            topology=f"1x1x{target.devices}",  # slices, hosts, GPUs of a host
        ).devices
    except NotImplementedError:
        raise _not_installed(target, "jax's CUDA plugin", "cuda") from None


def _not_installed(target: Target, package: str, extra: str) -> UserError:
    return UserError(
        f"config.compile_for: {target.name} needs {package}, which is not installed; run bash "
        f"launch/environment.sh {extra}"
    )
