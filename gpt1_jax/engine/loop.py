"""Run the training loop: batches, steps and hooks in a fixed order, with checks for divergence."""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gpt1_jax.engine import devices, preemption
from gpt1_jax.engine.meter import Meter
from gpt1_jax.engine.step import NOT_FINITE
from gpt1_jax.errors import UserError

# The host may be this many steps ahead of the devices. Without a limit, simulated CPU devices
# deadlock in their collectives, and a loss that is not finite would be noticed late.
MAX_STEPS_IN_FLIGHT = 2


class Hook(NamedTuple):
    """Describe when to call `call(step, state)`.

    Attributes:
        every: the interval in steps; the last step of the run counts too.
        call: the function to call.
        steps: further steps after which to call.
        on_preemption: call also before a preempted run stops.
        is_due: step -> True to call after further steps; alike on all processes of a job.
    """

    every: int
    call: Callable[[int, Mapping], None]
    steps: Sequence[int] = ()
    on_preemption: bool = True
    is_due: Callable[[int], bool] = lambda step: False

    def due(self, step: int, final: int) -> bool:
        """Return whether to call after `step` of a run of `final` steps."""
        regular = step % self.every == 0 or step in self.steps or step == final
        return regular or self.is_due(step)


def train(
    train_step: Callable,
    state: Mapping,
    batch_at: Callable[[int], Mapping[str, np.ndarray]],
    *,
    start: int,
    steps: int,
    flops: Callable[[int, int], float],
    meter: Meter,
    hooks: Sequence[Hook],
    advance: Callable[[int, int], None],
    preemption_handler: preemption.PreemptionHandler,
) -> Mapping:
    """Train until `steps` steps are done and return the last state.

    Args:
        train_step: (state, batch, step) -> (state, metrics), compiled by `devices.parallelize`; it
            takes over the state's memory. The metrics are those of `step.training_step`.
        state: the state after `start` steps.
        batch_at: step -> the global batch.
        start: finished steps.
        steps: the last step.
        flops: (tokens, length) -> floating-point operations of a training step on them.
        meter: receives the metrics of every step.
        hooks: called in this order.
        advance: (done, total) -> None, for a progress bar.
        preemption_handler: records the signals. It begins when the first step is compiled: before
            that, there is nothing to save.

    Raises:
        UserError: the loss, the gradient or the new state of a step is not finite; no hook has
            received a state of this step or a later one.
        Preempted: a signal arrived; the hooks with `on_preemption` have been called first.
    """
    in_flight = _InFlight(meter, lambda step: advance(step, steps))
    for step in range(start + 1, steps + 1):
        batch = batch_at(step - 1)
        shape = batch["tokens"].shape
        tokens = math.prod(shape)
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            state, metrics = train_step(state, devices.split(batch), step - 1)
        preemption_handler.begin()
        in_flight.append(step, metrics, tokens, flops(tokens, shape[-1]))
        # The speed in a line of the log must cover finished steps only.
        in_flight.flush_metrics(0 if meter.due(step) else MAX_STEPS_IN_FLIGHT)
        number = preemption_handler.received(step)
        for hook in hooks:
            if hook.due(step, steps) or (number and hook.on_preemption):
                in_flight.flush_metrics()
                with meter.paused():
                    hook.call(step, state)
        if number:
            raise preemption.Preempted(number, step)
    return state


class _InFlight:
    """Hold the metrics of steps that the devices may not have finished yet."""

    def __init__(self, meter: Meter, advance: Callable[[int], None]):
        self._meter, self._advance = meter, advance
        self._queue = collections.deque()

    def append(
        self, step: int, metrics: Mapping[str, Any], tokens: int, flops: float | int
    ) -> None:
        self._queue.append((step, metrics, tokens, flops))

    def flush_metrics(self, max_steps: int = 0) -> None:
        """Wait until at most `max_steps` steps are in flight; add the others to the meter."""
        while len(self._queue) > max_steps:
            step, metrics, tokens, flops = self._queue.popleft()
            self._meter.add(step, _finite_metrics(step, metrics), tokens, flops)
            self._advance(step)


def _finite_metrics(step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics as numbers, without the count of numbers that are not finite.

    The loss is that of the params before the update, so that the new params are checked too, and
    the moments of the optimizer, which the next update would use.

    Raises:
        UserError: something is not finite.
    """
    numbers = {name: float(value) for name, value in jax.device_get(metrics).items()}
    count = numbers.pop(NOT_FINITE)
    problems = [
        f"{name} is {numbers[name]}"
        for name in ("loss", "grad_norm", *numbers)
        if not math.isfinite(numbers[name])
    ]
    if count:
        problems.append(f"{count:.0f} numbers of the updated params and moments are not finite")
    if problems:
        raise UserError(
            f"step {step}: {problems[0]}; lower config.optim.lr, or look at config.optim and the "
            "data (the checkpoints hold only earlier, finite steps)"
        )
    return numbers
