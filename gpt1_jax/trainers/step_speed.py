"""Measure the speed of pretraining steps on the devices of this machine."""

import functools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.engine import devices, step
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.trainers import flops, language_model
from gpt1_jax.trainers.fit import training
from gpt1_jax.trainers.language_model import Objective

MAX_SECONDS = 30.0  # a step that takes longer is measured on fewer rows
FIRST_ROWS = 4  # a device gets at most these rows in the first measurement
MIN_SECONDS = 0.2  # steps are repeated for this time


class Batch(NamedTuple):
    """Describe the batch of one device.

    Attributes:
        rows: the rows of a part.
        parts: the parts that run one after the other (config.optim.accumulate).
    """

    rows: int
    parts: int

    @property
    def size(self) -> int:
        """Return the number of rows."""
        return self.rows * self.parts

    def at_most(self, size: int) -> "Batch":
        """Return the largest batch of at most `size` rows: whole parts, or rows of one part."""
        if size < self.rows:
            return Batch(size, 1)
        return Batch(self.rows, min(size // self.rows, self.parts))


class StepSpeed(NamedTuple):
    """Hold the measured floating-point operations per second, and how they were measured."""

    flops: float
    description: str


def measure(config: ConfigDict) -> StepSpeed:
    """Return the speed of the steps of a pretraining configuration, with its own batch.

    If a step of this batch would take longer than MAX_SECONDS or does not fit into memory, the
    largest batch that does is measured instead. Its rows are random tokens.

    Raises:
        UserError: not even one row fits into memory.
    """
    objective = language_model.objective(config, config.model, config.tokenizer.vocab_size)
    body, accumulate = objective.model.body, config.optim.accumulate
    own = Batch(max(config.batch_size // (accumulate * jax.device_count()), 1), accumulate)
    batch, seconds = largest_batch(own, functools.partial(_step_seconds, objective))
    rows = batch.size * jax.device_count()
    operations = flops.TRAINING_PASSES * (body.flops(body.context) + flops.softmax_flops(body))
    speed = operations * rows * body.context / seconds
    description = f"{config.model.name}: {speed / 1e9:.3g} GFLOP/s in steps of {rows} rows"
    if batch.parts > 1:
        description += f" in {batch.parts} parts"
    if batch != own:
        description += (
            f"; a step of its {config.batch_size} rows takes longer than {MAX_SECONDS:g} s or does "
            "not fit into memory"
        )
    return StepSpeed(speed, description)


def largest_batch(own: Batch, step_seconds: Callable[[Batch], float]) -> tuple[Batch, float]:
    """Return the largest part of the batch `own` that can be measured, and the seconds of its step.

    The first measurement has few rows. The time of a row predicts the time of the next batch. Rows
    of a larger batch take less time, so the batch grows again until the prediction allows less than
    twice as many rows.

    Args:
        own: the batch of the run.
        step_seconds: measures the seconds of a step on a batch.

    Raises:
        UserError: not even one row fits into memory.
    """
    batch, limit = own.at_most(FIRST_ROWS), own.size
    while (seconds := _seconds_if_it_fits(batch, step_seconds)) is None:
        limit = batch.size // 2
        batch = own.at_most(limit)
        if not limit:
            raise UserError(
                "config.estimate_cost: a step of one row per device does not fit into the memory "
                f"of {devices.device_summary()}; estimate the cost on a larger device"
            )
    while batch != own:
        candidate = own.at_most(min(int(batch.size * MAX_SECONDS / seconds), limit))
        if candidate.size < min(2 * batch.size, own.size):
            break
        candidate_seconds = _seconds_if_it_fits(candidate, step_seconds)
        if candidate_seconds is None:
            limit = candidate.size // 2
        else:
            batch, seconds = candidate, candidate_seconds
    return batch, seconds


def _seconds_if_it_fits(batch: Batch, step_seconds: Callable[[Batch], float]) -> float | None:
    """Return the seconds of a step on a batch, or None if it does not fit into memory."""
    try:
        return step_seconds(batch)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None


def _step_seconds(objective: Objective, batch: Batch) -> float:
    """Return the median of the seconds of training steps on a batch of each device."""
    model, loss, settings = objective
    compiled = training(loss, settings._replace(accumulate=batch.parts))
    context = model.body.context
    params = factory.init_params(model, 0, np.zeros((1, context), np.int32))
    state = devices.replicate({"params": params, "opt_state": compiled.optimizer.init(params)})
    shape = batch.size * jax.device_count(), context + 1
    tokens = np.random.default_rng(0).integers(0, model.body.vocab_size, shape, np.int32)
    arrays = devices.split({"tokens": tokens})
    durations = []
    while sum(durations[1:]) < MIN_SECONDS:  # the first step compiles
        begin = time.perf_counter()
        state, metrics = compiled.step(state, arrays, step.seed_and_step(0, len(durations)))
        jax.block_until_ready(metrics)
        durations.append(time.perf_counter() - begin)
    return statistics.median(durations[1:])
