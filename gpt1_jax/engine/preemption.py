"""Handle the signals that stop a run, so that it saves a checkpoint before it stops."""

import contextlib
import signal

import jax
from jax.experimental import multihost_utils

from gpt1_jax import signals


class Preempted(SystemExit):
    """Report that a run was stopped by a signal after a step, which has been saved.

    The exit code is 128 + signal.

    Attributes:
        signal: the name of the signal.
        step: the step.
    """

    def __init__(self, number: int, step: int):
        super().__init__(signals.exit_code(number))
        self.signal, self.step = signal.Signals(number).name, step


class PreemptionHandler:
    """Record SIGINT, SIGTERM or SIGHUP inside a `with` block, from a call of `begin` on.

    Before it, and in a job of several processes, the handlers of the caller are valid. JAX's
    preemption service handles SIGTERM for such a job: all processes stop after the same step. The
    other signals end the process that receives them, without a checkpoint.

    A second signal ends the process at once (`signals.SignalHandler`).
    """

    def __enter__(self) -> "PreemptionHandler":
        self._handler = signals.SignalHandler(lambda number: None)
        self._stack = contextlib.ExitStack()
        self._begun = False
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Record signals from now on: there is something to save."""
        if jax.process_count() == 1 and not self._begun:
            self._stack.enter_context(self._handler)
        self._begun = True

    @property
    def pending(self) -> int | None:
        """Return the signal that this process has recorded, or None."""
        return self._handler.received

    def received(self, step: int) -> int | None:
        """Return the signal to stop for after `step`, or None; it is the same on all hosts."""
        if jax.process_count() > 1:
            stop = multihost_utils.reached_preemption_sync_point(step)
            return signal.SIGTERM if stop else None
        return self.pending
