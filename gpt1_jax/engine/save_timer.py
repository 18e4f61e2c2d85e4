"""Decide by time when a checkpoint is due, alike on all processes of a job."""

import time
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils


class SaveTimer:
    """Measure the time since the last checkpoint.

    All processes of a job must save after the same step, so the clock of process 0 decides. To ask
    it, the processes wait for each other; they do so only where they wait anyway, at the lines of
    the log.

    Args:
        minutes: the time from checkpoint to checkpoint; 0 for none by time.
        log_every: steps from line to line of the log.
        clock: returns the time in seconds.
    """

    def __init__(self, minutes: float, log_every: int, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._log_every, self._clock = 60 * minutes, log_every, clock
        self.restart()

    def restart(self) -> None:
        """Count from now on, because a checkpoint is written."""
        self._start = self._clock()

    def is_due(self, step: int) -> bool:
        """Return whether a checkpoint is due after `step`; all processes must ask."""
        if not self._seconds:
            return False
        due = self._clock() - self._start >= self._seconds
        if jax.process_count() == 1:
            return due
        if step % self._log_every:
            return False
        return bool(multihost_utils.broadcast_one_to_all(np.bool_(due)))
