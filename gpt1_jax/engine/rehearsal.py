"""Compile a training step for a machine that is not there, and tell what the program needs."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from gpt1_jax.engine import devices, hlo_collectives, hlo_text, hlo_traffic, hlo_walk, topology
from gpt1_jax.engine.accelerators import Target
from gpt1_jax.engine.hlo_collectives import Collectives
from gpt1_jax.engine.hlo_traffic import Traffic
from gpt1_jax.errors import UserError, first_line

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
# XLA for TPU refuses a program that does not fit, and says how much it needs.
_NEEDED = re.compile(r"(?:temporaries \(|Used )([\d.]+)([KMG])")


class Memory(NamedTuple):
    """Hold the bytes that a program needs on each device, by what they are for."""

    arguments: int
    temporaries: int
    outputs: int
    aliased: int  # outputs that take the memory of arguments

    @property
    def total(self) -> int:
        """Return the bytes on each device."""
        return self.arguments + self.temporaries + self.outputs - self.aliased


class Compiled(NamedTuple):
    """Hold what a compiled program does on each device.

    Attributes:
        memory: the memory that it needs.
        flops: the operations that the compiler counts, loops once; None if it does not count.
        traffic: the bytes that it moves.
        collectives: its collectives.
        unknown_loops: names of the loops that `traffic` counts once.
        seconds: the time of the compilation.
    """

    memory: Memory
    flops: float | None
    traffic: Traffic
    collectives: list[Collectives]
    unknown_loops: list[str]
    seconds: float


class DoesNotFit(Exception):
    """Report that the compiler refuses a program because of its memory.

    Attributes:
        needed: the bytes on each device that it would need, as far as the compiler says.
    """

    def __init__(self, needed: int):
        super().__init__(f"{needed} bytes")
        self.needed = needed


def compile_step(step: Callable, target: Target, state: Any, batch: Mapping[str, Any]) -> Compiled:
    """Compile a training step as `devices.parallelize` would on the target; run nothing.

    Args:
        step: (state, batch, seed_and_step) -> results, of one device.
        target: the devices.
        state: the shapes of the state (`jax.ShapeDtypeStruct`); its memory is reused.
        batch: the shapes of the global batch [B ...]; B is a multiple of the devices.

    Raises:
        DoesNotFit: the compiler refuses the program because of its memory.
        UserError: the compiler for the target is not installed, or refuses its shape.
    """
    mesh = devices.mesh_of(topology.devices(target))
    replicated = NamedSharding(mesh, devices.REPLICATED)
    by_device = NamedSharding(mesh, devices.BY_DEVICE)

    def whole(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated)

    def divided(leaf):
        shape = (target.devices, leaf.shape[0] // target.devices, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=by_device)

    program = devices.mapped_program(step, mesh, donate=True)
    lowered = program.lower(
        jax.tree.map(whole, state),
        jax.tree.map(divided, dict(batch)),
        jax.ShapeDtypeStruct((2,), np.uint32, sharding=replicated),
    )
    begin = time.perf_counter()
    compiled = _compile(lowered, topology.compiler_options(target))
    return _facts(compiled, time.perf_counter() - begin)


def _compile(lowered: jax.stages.Lowered, options: Mapping[str, Any]) -> jax.stages.Compiled:
    """Compile without the cache, which cannot read programs for devices that are not there."""
    cache = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        return lowered.compile(compiler_options=dict(options))
    except jax.errors.JaxRuntimeError as error:
        if not str(error).startswith("RESOURCE_EXHAUSTED"):
            raise
        found = _NEEDED.search(str(error))
        raise DoesNotFit(int(float(found[1]) * _UNITS[found[2]]) if found else 0) from None
    finally:
        jax.config.update("jax_enable_compilation_cache", cache)


def _facts(compiled: jax.stages.Compiled, seconds: float) -> Compiled:
    memory, costs = compiled.memory_analysis(), compiled.cost_analysis()
    assert memory is not None
    try:
        program = hlo_text.parse(compiled.as_text() or "")
    except jax.errors.JaxRuntimeError as error:  # some releases of libtpu cannot write all programs
        raise UserError(
            f"config.compile_for: XLA compiles the step but cannot write it down "
            f"({first_line(error)}); choose another target, or install the libtpu of "
            "requirements-lock.txt"
        ) from None
    return Compiled(
        Memory(
            memory.argument_size_in_bytes,
            memory.temp_size_in_bytes,
            memory.output_size_in_bytes,
            memory.alias_size_in_bytes,
        ),
        costs["flops"] if costs else None,
        hlo_traffic.traffic(program),
        hlo_collectives.collectives(program),
        [hlo_traffic.operation_name(loop) for loop in hlo_walk.unknown_loops(program)],
        seconds,
    )
