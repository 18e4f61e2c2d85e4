"""The one visible loop, and what it watches: numbers that are not finite, the signal to stop, the speed."""

import collections
import contextlib
import hashlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from gpt1_jax.engine import devices
from gpt1_jax.errors import UserError

# Steps that the host may be ahead of the devices. Unbounded, simulated CPU devices deadlock in their collectives, and a loss that
# is not finite would be seen late.
MAX_STEPS_IN_FLIGHT = 2
TERMINATED = 128 + signal.SIGTERM  # the exit code of a run that saved itself and stopped


class Hook(NamedTuple):
    """Calls `call(step, state)` after every `every` updates, after those in `steps`, after the last, and before stopping if `last`."""

    every: int
    call: Callable[[int, Mapping], None]
    steps: Sequence[int] = ()
    last: bool = True

    def due(self, step: int, final: int) -> bool:
        return step % self.every == 0 or step in self.steps or step == final


class Meter:
    """Averages the metrics of the updates between two lines of the log and adds the speed.

    Args:
        write: (step, values) -> None, writes a line of the log.
        every: updates from line to line.
        peak: floating-point operations a second that all devices could do; model FLOP utilisation is measured against it.
        extra: step -> further numbers of that line (the learning rate).
        derive: averaged metrics -> further numbers (perplexity).
    """

    def __init__(
        self,
        write: Callable[[int, Mapping[str, float]], None],
        every: int,
        peak: float,
        extra: Callable,
        derive: Callable = lambda means: {},
    ):
        self._write, self._every, self._peak, self._extra, self._derive = (
            write,
            every,
            peak,
            extra,
            derive,
        )
        self._sums = collections.Counter()
        self._count = self._tokens = self._flops = 0
        self._since = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether a line ends with this update."""
        return step % self._every == 0

    def add(self, step: int, metrics: Mapping[str, float], tokens: int, flops: float | int) -> None:
        """Takes in a finished update: its metrics, and what it worked through."""
        for name, value in metrics.items():
            self._sums[name] += value
        self._count += 1
        self._tokens += tokens
        self._flops += flops
        if self.due(step):
            seconds = time.perf_counter() - self._since
            means = {name: total / self._count for name, total in self._sums.items()}
            speed = {
                "tokens_per_s": self._tokens / seconds,
                "mfu": self._flops / seconds / self._peak,
            }
            self._write(step, {**means, **self._derive(means), **self._extra(step), **speed})
            self._sums.clear()
            self._count = self._tokens = self._flops = 0
            self._since = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count against the speed."""
        begin = time.perf_counter()
        yield
        self._since += time.perf_counter() - begin


class PreemptionHandler:
    """Notes SIGTERM while it is open, so that the run can save itself; a second one ends the process at once."""

    def __enter__(self) -> "PreemptionHandler":
        self._noted = False
        self._previous = (
            signal.signal(signal.SIGTERM, self._note) if jax.process_count() == 1 else None
        )
        return self

    def _note(self, number, frame) -> None:
        self._noted = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def __exit__(self, *_) -> None:
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._previous)

    def due(self, step: int) -> bool:
        """Whether to stop after this update; all hosts of a job get the same answer at the same step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._noted


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

    with PreemptionHandler() as interruption:
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
            stop = interruption.due(step + 1)
            for hook in hooks:
                if hook.due(step + 1, steps) or (stop and hook.last):
                    settle(0)
                    with meter.paused():
                        hook.call(step + 1, state)
            if stop:
                raise SystemExit(TERMINATED)
    return state


def params_sha256(params: Mapping) -> str:
    """One fingerprint of all params: of their names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten_dict(jax.device_get(params), sep="/").items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(array)
    return digest.hexdigest()
