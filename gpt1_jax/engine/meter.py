"""Means of the training metrics and the speed, from one line of the log to the next."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping


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
