"""The one visible loop, and what it watches: numbers that are not finite, the signal to stop, the speed."""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from gpt1_jax.engine import devices, preemption
from gpt1_jax.engine.meter import Meter
from gpt1_jax.errors import UserError

# Steps that the host may be ahead of the devices. Unbounded, simulated CPU devices deadlock in their collectives, and a loss that
# is not finite would be seen late.
MAX_STEPS_IN_FLIGHT = 2


class Hook(NamedTuple):
    """Calls `call(step, state)` after every `every` updates, after those in `steps`, after the last, and before stopping if `last`."""

    every: int
    call: Callable[[int, Mapping], None]
    steps: Sequence[int] = ()
    last: bool = True

    def due(self, step: int, final: int) -> bool:
        return step % self.every == 0 or step in self.steps or step == final


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
) -> Mapping:
    """Trains from update `start` to `steps` and gives the last state.

    Args:
        train_step: (state, batch, step) -> (state, metrics), what `devices.parallelise` made of it; the state is donated to it. The
            metrics are scalars.
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step on them.
        hooks: called in this order after their updates.
        advance: (done, total), for a progress bar.

    Raises:
        UserError: the loss or the gradient of an update is not finite; no later state has been handed to a hook.
        SystemExit: SIGTERM arrived; the hooks with `last` have been called first.
    """
    pending = collections.deque()

    def settle(most: int) -> None:
        while len(pending) > most:
            step, metrics, tokens, cost = pending.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            for name in ("loss", "grad_norm"):
                if not math.isfinite(metrics[name]):
                    raise UserError(
                        f"update {step}: {name} is {metrics[name]}; lower config.optim.lr or look at the data "
                        "(the checkpoints hold only earlier, sound updates)"
                    )
            meter.add(step, metrics, tokens, cost)
            advance(step, steps)

    with preemption.PreemptionHandler() as preemption_handler:
        for step in range(start, steps):
            batch = batch_at(step)
            shape = batch["tokens"].shape
            state, metrics = train_step(state, devices.split(batch), step)
            pending.append(
                (step + 1, metrics, math.prod(shape), flops(math.prod(shape), shape[-1]))
            )
            settle(
                0 if meter.due(step + 1) else MAX_STEPS_IN_FLIGHT
            )  # a line of the log times whole updates
            stop = preemption_handler.due(step + 1)
            for hook in hooks:
                if hook.due(step + 1, steps) or (stop and hook.last):
                    settle(0)
                    with meter.paused():
                        hook.call(step + 1, state)
            if stop:
                raise SystemExit(preemption.TERMINATED)
    return state
