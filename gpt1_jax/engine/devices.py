"""Run one per-device step on all devices of all hosts (data parallelism over the axis "data").

The state of a step is replicated (`replicate`). The batch is divided among the devices (`split`):
every process passes the rows of its local devices.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt1_jax.errors import UserError

AXIS = "data"
# cuBLAS adds the biases and applies GELU in its products; XLA's own products for a GPU do not.
XLA_FLAG = "--xla_gpu_enable_triton_gemm=false"
# Processes of one machine meet where other machines cannot connect, and miss a dead one sooner than
# after the 100 s that JAX allows for networks.
LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
LOCAL_JOB = {"heartbeat_timeout_seconds": 10}
LONGEST_WAIT = 24 * 3600 * 1000  # milliseconds
REPLICATED, BY_DEVICE = PartitionSpec(), PartitionSpec(AXIS)

_calls = itertools.count()  # of `from_first_process`, which all processes call equally often


def initialize(multihost: str, coordinator: str = "", processes: int = 0, process: int = 0) -> None:
    """Join the other hosts and set how XLA compiles, before JAX is first used.

    XLA compiles into a persistent cache and uses cuBLAS on a GPU, unless the environment says
    otherwise (JAX_COMPILATION_CACHE_DIR, XLA_FLAGS).

    Args:
        multihost: "on" joins the processes of the job; "off" runs one process.
        coordinator: host:port at which the processes meet; 127.0.0.1:port accepts connections of
            this machine only. If it is empty, JAX detects the cluster (Cloud TPU, Slurm, Open MPI,
            Kubernetes).
        processes: the number of processes; only with `coordinator`.
        process: the number of this process; only with `coordinator`.

    Raises:
        UserError: there is no cluster to join.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = os.path.expanduser("~")
        if home != "~":  # a user without a home has no cache
            jax.config.update("jax_compilation_cache_dir", f"{home}/.cache/gpt1_jax/xla")
    # A full disk stops the cache, not the run, whose own error is the one to read.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
    flags = os.environ.get("XLA_FLAGS", "")
    if XLA_FLAG.partition("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {XLA_FLAG}".strip()
    if multihost == "off":
        return
    try:
        if coordinator:
            local = coordinator.rpartition(":")[0] in LOOPBACK
            options: dict[str, Any] = {}
            if local:
                options = {"coordinator_bind_address": coordinator, **LOCAL_JOB}
            jax.distributed.initialize(coordinator, processes, process, **options)
        else:
            jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--multihost=on: no cluster to join ({error}); "
            "give --coordinator, --num_processes and --process_id"
        ) from None


def from_first_process(call: Callable[[], int]) -> int:
    """Return on every process of the job what `call()` returns on process 0; call it there only.

    Raises:
        UserError: `call` raised one on process 0, which raises the same. The others name process 0.
    """
    if jax.process_count() == 1:
        return call()
    value, own_error = 0, None
    if jax.process_index() == 0:
        try:
            value = call()
        except UserError as error:
            own_error = error
    # The collective itself waits for half a minute only. Reading a checkpoint may take longer.
    wait = ocp.multihost.get_barrier_sync_fn()
    wait(key=f"from_first_process_{next(_calls)}", timeout_ms=LONGEST_WAIT)
    value, failed = multihost_utils.broadcast_one_to_all(
        np.array([value, own_error is not None], np.int32)
    )
    if own_error is not None:
        raise own_error
    if failed:
        raise UserError("process 0 of this job stopped with an error; see its output")
    return int(value)


def split(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return this host's rows of the batch [B ...] as [local devices, B / all devices, ...]."""
    devices, hosts, host = jax.local_device_count(), jax.process_count(), jax.process_index()

    def local_rows(array):
        per_host = len(array) // hosts
        rows = array[host * per_host : (host + 1) * per_host]
        return rows.reshape(devices, per_host // devices, *array.shape[1:])

    return jax.tree.map(local_rows, dict(batch))


def replicate(tree: Any) -> Any:
    """Return the tree on all devices of all hosts; every process must pass the same values.

    Steps return arrays of the same placement, so a program is compiled once for its first call and
    for later ones.
    """
    sharding = NamedSharding(mesh_of(jax.devices()), REPLICATED)
    return jax.make_array_from_process_local_data(sharding, tree)


def parallelize(step: Callable, *, donate: bool = False, backend: str = "pmap") -> Callable:
    """Compile the per-device `step(state, batch, seed_and_step) -> results` for all devices.

    The compiled step takes `state` from `replicate` or from an earlier step, `batch` from `split`,
    and `seed_and_step` as a NumPy array. The step must make its results equal on all devices,
    by collectives over AXIS; the compiled step returns them once.

    Args:
        step: the function of one device.
        donate: reuse the memory of the state for the results (training only).
        backend: "pmap", or "shard_map" for jit(shard_map). Both give the same bits.

    Raises:
        UserError: there is no such backend.
    """
    if backend == "pmap":
        axes = {"in_axes": (None, 0, None), "out_axes": None}
        return jax.pmap(step, AXIS, **axes, donate_argnums=(0,) if donate else ())
    if backend != "shard_map":
        raise UserError(f"config.backend: {backend!r} found; choose 'pmap' or 'shard_map'")
    mesh = mesh_of(jax.devices())
    program, by_device = mapped_program(step, mesh, donate=donate), NamedSharding(mesh, BY_DEVICE)

    def run(state, batch, seed_and_step):
        global_batch = jax.make_array_from_process_local_data(by_device, batch)
        return program(state, global_batch, seed_and_step)

    return run


def mapped_program(step: Callable, mesh: Mesh, *, donate: bool = False) -> Callable:
    """Return jit(shard_map) of a per-device step on the devices of `mesh`; see `parallelize`.

    The program takes global arrays: `state` and `seed_and_step` replicated, and `batch` as
    [devices, B / devices, ...].
    """
    replicated, by_device = NamedSharding(mesh, REPLICATED), NamedSharding(mesh, BY_DEVICE)

    def device_step(state, batch, seed_and_step):
        return step(state, jax.tree.map(lambda leaf: leaf[0], batch), seed_and_step)

    # With check_vma=True the transpose already sums gradients over the devices, and the explicit
    # mean of the training step would then multiply them.
    mapped = jax.shard_map(
        device_step,
        mesh=mesh,
        in_specs=(REPLICATED, BY_DEVICE, REPLICATED),
        out_specs=REPLICATED,
        check_vma=False,
    )
    return jax.jit(
        mapped,
        in_shardings=(replicated, by_device, replicated),
        donate_argnums=(0,) if donate else (),
    )


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:  # pyright: ignore[reportInvalidTypeForm]
    """Return the mesh of the devices, those of one host side by side as `split` orders the rows."""
    devices = sorted(devices, key=lambda device: device.process_index)
    return Mesh(np.array(devices), (AXIS,))


def device_summary() -> str:
    """Return the number and the kind of the devices of this job, for example "8 x TPU v4"."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def gather(x: jax.Array) -> jax.Array:
    """Return the rows of all devices in the order of the global batch; only inside a step."""
    return jnp.concatenate(jax.lax.all_gather(x, AXIS))
