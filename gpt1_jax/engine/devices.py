"""Data parallelism: one per-device step, run on all devices of all hosts over the axis "data"."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt1_jax.errors import UserError

AXIS = "data"


def initialize(multihost: str, coordinator: str = "", processes: int = 0, process: int = 0) -> None:
    """Prepares JAX, before its first use: joins the other hosts and turns the persistent compilation cache on.

    Args:
        multihost: "on" joins the processes of the job: those of the cluster that JAX detects (Cloud TPU, Slurm, Open MPI, Kubernetes), or
            `processes` processes that meet at `coordinator` (host:port), this one being number `process`. "off": one process.
        coordinator, processes, process: see above.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update(
            "jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "gpt1_jax" / "xla")
        )
    if multihost == "off":
        return
    try:
        if coordinator:
            jax.distributed.initialize(coordinator, processes, process)
        else:
            jax.distributed.initialize()
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--multihost=on: no cluster to join ({error}); give --coordinator, --num_processes and --process_id"
        ) from None


def check_batch_size(batch_size: int, accumulate: int = 1) -> None:
    """UserError unless `batch_size` splits evenly over all devices and then into `accumulate` parts."""
    if batch_size % (jax.device_count() * accumulate):
        raise UserError(
            f"config.batch_size: {batch_size} does not divide over {jax.device_count()} devices x config.optim.accumulate={accumulate}; "
            f"choose a multiple of {jax.device_count() * accumulate}"
        )


def split(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The global batch [B ...] -> this host's rows by device [devices, B / all devices, ...]."""
    local, hosts = jax.local_device_count(), jax.process_count()

    def rows(array):
        per_host = len(array) // hosts
        mine = array[jax.process_index() * per_host : (jax.process_index() + 1) * per_host]
        return mine.reshape(local, per_host // local, *array.shape[1:])

    return jax.tree.map(rows, dict(batch))


def replicate(tree: Any) -> Any:
    """The tree on all of this host's devices, as steps give it back: the first call of a step then compiles for the later ones too."""
    return jax.device_put(
        tree, NamedSharding(Mesh(np.array(jax.local_devices()), (AXIS,)), PartitionSpec())
    )


def parallelise(step: Callable, *, donate: bool = False, backend: str = "pmap") -> Callable:
    """The per-device `step(state, batch, moment) -> results` on all devices, jitted.

    `state` and `moment` are the same on every device and `batch` is what `split` gives. What `step` returns must be equal on all
    devices, by collectives over AXIS; it comes back once.

    Args:
        donate: the state's memory is given to the result (training only).
        backend: "pmap", or "shard_map" for jit(shard_map) over the local devices; the same numbers bit for bit.
    """
    donated = (0,) if donate else ()
    if backend == "pmap":
        return jax.pmap(step, AXIS, in_axes=(None, 0, None), out_axes=None, donate_argnums=donated)
    if backend != "shard_map":
        raise UserError(f"config.backend: {backend!r} is neither 'pmap' nor 'shard_map'")
    if jax.process_count() > 1:
        raise UserError("config.backend: 'shard_map' runs on one host only; use 'pmap'")

    def unstacked(state, batch, moment):
        return step(state, jax.tree.map(lambda leaf: leaf[0], batch), moment)

    everywhere, by_device = PartitionSpec(), PartitionSpec(AXIS)
    # With check_vma=True the transpose sums gradients over the devices already, and an explicit mean then multiplies them.
    mapped = jax.shard_map(
        unstacked,
        mesh=Mesh(np.array(jax.local_devices()), (AXIS,)),
        in_specs=(everywhere, by_device, everywhere),
        out_specs=everywhere,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donated)


def device_summary() -> str:
    """How many devices of which kind this job has."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def gather(x: jax.Array) -> jax.Array:
    """Inside a step: the rows of all devices, in the order of the global batch."""
    return jnp.concatenate(jax.lax.all_gather(x, AXIS))
