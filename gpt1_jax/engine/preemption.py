"""Handle SIGTERM, so that a run saves a checkpoint before it stops."""

import signal

import jax
from jax.experimental import multihost_utils

TERMINATED = 128 + signal.SIGTERM  # the exit code of a run that saved its state and stopped


class PreemptionHandler:
    """Record SIGTERM inside a `with` block. A second SIGTERM ends the process at once.

    A job of several processes leaves the signal to JAX's preemption service.
    """

    def __enter__(self) -> "PreemptionHandler":
        self._received = False
        if jax.process_count() == 1:
            self._previous = signal.signal(signal.SIGTERM, self._record)
        return self

    def __exit__(self, *_) -> None:
        if jax.process_count() == 1:
            signal.signal(signal.SIGTERM, self._previous)

    def should_stop(self, step: int) -> bool:
        """Return whether to stop after `step`; all hosts of a job get the same answer at a step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received

    def _record(self, number, frame) -> None:
        self._received = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
