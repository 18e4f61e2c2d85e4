"""SIGTERM: note it, so that a run saves itself before it stops."""

import signal

import jax
from jax.experimental import multihost_utils

TERMINATED = 128 + signal.SIGTERM  # the exit code of a run that saved itself and stopped


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
