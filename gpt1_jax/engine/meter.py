"""Average the training metrics and measure the speed, from one line of the log to the next."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Meter:
    """Average the metrics of the steps between two lines of the log, and add the speed.

    Args:
        write: (step, values) -> None, writes a line of the log.
        every: steps from line to line.
        peak: floating-point operations per second of all devices; the base of the model FLOP
            utilization ("mfu"). None leaves it out.
        extra: step -> further numbers of its line (the learning rate).
        derive: averaged metrics -> further numbers (perplexity).
    """

    def __init__(
        self,
        write: Callable[[int, Mapping[str, float]], None],
        every: int,
        peak: float | None,
        extra: Callable,
        derive: Callable = lambda means: {},
    ):
        self._write, self._every, self._peak = write, every, peak
        self._extra, self._derive = extra, derive
        self._sums = collections.defaultdict(float)
        self._start_line()

    def due(self, step: int) -> bool:
        """Return whether a line ends with this step."""
        return step % self._every == 0

    def add(self, step: int, metrics: Mapping[str, float], tokens: int, flops: float | int) -> None:
        """Add a finished step: its metrics, its tokens and its floating-point operations."""
        for name, value in metrics.items():
            self._sums[name] += value
        self._count += 1
        self._tokens += tokens
        self._flops += flops
        if self.due(step):
            self._write_line(step)
            self._start_line()

    def state(self) -> dict[str, Any]:
        """Return the sums of the line that has begun, as JSON values, to be saved with a step."""
        return {"count": self._count, "sums": dict(self._sums)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue the line of `state`. Its speed covers only the steps that are added from now."""
        self._count = state["count"]
        self._sums.update(state["sums"])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of the speed."""
        begin = time.perf_counter()
        yield
        self._since += time.perf_counter() - begin

    def _start_line(self) -> None:
        self._sums.clear()
        self._count = self._tokens = self._flops = 0
        self._since = time.perf_counter()

    def _write_line(self, step: int) -> None:
        seconds = time.perf_counter() - self._since
        means = {name: total / self._count for name, total in self._sums.items()}
        speed = {"tokens_per_s": self._tokens / seconds}
        if self._peak is not None:
            speed["mfu"] = self._flops / seconds / self._peak
        self._write(step, {**means, **self._derive(means), **self._extra(step), **speed})
