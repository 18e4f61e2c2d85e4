"""Trace some steps of a run by jax's profiler, for the profile plugin of TensorBoard."""

from collections.abc import Callable, Mapping, Sequence

import jax

from gpt1_jax import storage
from gpt1_jax.engine.loop import Hook


class StepTrace:
    """Trace the steps from `first` to `last` into `folder`, below plugins/profile/.

    The devices have no work left when the trace starts and when it stops. A trace that still runs
    at the end of a `with` block, because of an error, stops there and is written too. In a job of
    several processes, the first one writes its trace.

    Args:
        folder: the folder of the run's TensorBoard files.
        steps: (first, last), or () to trace nothing.
        final: the last step of the run.
        log_line: write a line to the log.
    """

    def __init__(
        self,
        folder: storage.Path,
        steps: Sequence[int],
        final: int,
        log_line: Callable[[str], None],
    ):
        first, last = steps or (1, 0)
        enabled = jax.process_index() == 0
        self._steps = range(first, min(last, final) + 1) if enabled else range(0)
        self._folder, self._final, self._log_line = folder, final, log_line
        self._started_at = None  # the first step of a running trace; a run may resume in the range

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_) -> None:
        if self._started_at is not None:
            self._write("a step that was interrupted")

    def around(self, hooks: Sequence[Hook]) -> list[Hook]:
        """Return the hooks of a run with those of the trace: first to stop it, last to start it.

        So the trace leaves out the hooks before its first step and after its last one.
        """
        if not self._steps:
            return list(hooks)
        return [
            Hook(self._final, self._stop, steps=(self._steps[-1],)),
            *hooks,
            Hook(self._final, self.start, steps=(self._steps[0] - 1,), on_preemption=False),
        ]

    def start(self, step: int, state: Mapping) -> None:
        """Start the trace if the step after `step` belongs to it."""
        if step + 1 in self._steps and self._started_at is None:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self._folder)
            self._started_at = step + 1

    def _stop(self, step: int, state: Mapping) -> None:
        if self._started_at is not None:
            jax.block_until_ready(state)
            self._write(f"step {step}")

    def _write(self, end: str) -> None:
        first, self._started_at = self._started_at, None
        jax.profiler.stop_trace()
        self._log_line(f"trace from step {first} to {end}: {self._folder}/plugins/profile")
