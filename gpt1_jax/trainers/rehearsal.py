"""Compile the training step of a run for a machine that is not there, so that it fits."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from gpt1_jax.engine import accelerators, topology
from gpt1_jax.engine.accelerators import Target
from gpt1_jax.engine.rehearsal import Compiled, DoesNotFit, compile_step
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.fit import training_step
from gpt1_jax.trainers.rehearsed_steps import RehearsedStep


class Rehearsal(NamedTuple):
    """Hold what the compiler says about a step.

    Attributes:
        target: the machine.
        dtype: the dtype of the model.
        step: the step.
        needed: bytes on each device that the step needs as it is configured.
        accumulate: the smallest config.optim.accumulate, from the configured one on, with which the
            step fits; None if it never fits.
        compiled: the program with this value. If the step never fits, the program as configured;
            None if the compiler refuses it.
    """

    target: Target
    dtype: str
    step: RehearsedStep
    needed: int
    accumulate: int | None
    compiled: Compiled | None

    @property
    def fits(self) -> bool:
        """Return whether the step fits as it is configured."""
        return self.accumulate == self.step.optim_config.accumulate

    @property
    def seconds(self) -> dict[str, float]:
        """Return the least seconds of the program, by what limits it."""
        assert self.compiled
        accelerator, devices = self.target.accelerator, self.target.devices
        # In a ring, a device sends and receives all shares of the sum but its own, twice.
        collective_bytes = sum(kind.bytes for kind in self.compiled.collectives)
        sent = 2 * collective_bytes * (devices - 1) / devices
        return {
            "flops": self.step.flops / devices / accelerator.peak_flops(self.dtype),
            "bytes": self.compiled.traffic.bytes / accelerator.bandwidth,
            "interconnect": 2 * sent / accelerator.interconnect,
        }

    @property
    def least_seconds(self) -> float:
        """Return the least seconds of the program by its operations and by its bytes."""
        return max(self.seconds["flops"], self.seconds["bytes"])


def compile_for(config: ConfigDict, describe: Callable[[ConfigDict], RehearsedStep]) -> Rehearsal:
    """Compile a run's step for config.compile_for. If it does not fit, accumulate until it does.

    Args:
        config: the configuration of the run.
        describe: a function of `rehearsed_steps`.

    Raises:
        UserError: config.compile_for is unknown, its compiler is not installed, or the batch does
            not divide over its devices.
    """
    target = accelerators.find_target(config.compile_for)
    config_checks.check_batch_size(config.batch_size, config.optim.accumulate, target.devices)
    topology.devices(target)  # before JAX is used: see there
    step = describe(config)
    configured, available = config.optim.accumulate, target.accelerator.memory
    compiled, needed = _compile(target, step, configured)
    found = Rehearsal(target, config.model.dtype, step, needed, configured, compiled)
    if needed <= available:
        return found
    rows = config.batch_size // target.devices
    # The memory shrinks at most in proportion to the parts, so fewer parts cannot fit.
    least = max(configured + 1, configured * needed / available)
    for accumulate in range(1, rows + 1):
        if rows % accumulate == 0 and accumulate >= least:
            compiled, smaller = _compile(target, step, accumulate)
            if smaller <= available:
                return found._replace(accumulate=accumulate, compiled=compiled)
    return found._replace(accumulate=None)


def _compile(target: Target, step: RehearsedStep, accumulate: int) -> tuple[Compiled | None, int]:
    """Return the program of the step in `accumulate` parts, and the bytes that it needs."""
    print(f"compiling for {target.name} with optim.accumulate={accumulate}", flush=True)
    settings = step.optim_config._replace(accumulate=accumulate)
    device_step, optimizer = training_step(step.loss, settings, step.frozen)
    state = {"params": step.params, "opt_state": jax.eval_shape(optimizer.init, step.params)}
    try:
        compiled = compile_step(device_step, target, state, step.batch(target.devices * accumulate))
    except DoesNotFit as error:
        return None, max(error.needed, target.accelerator.memory + 1)
    return compiled, compiled.memory.total
