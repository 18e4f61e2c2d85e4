"""Handle SIGINT (Ctrl-C), SIGTERM and SIGHUP: the first one by a function, a second one at once.

Python calls the handler of a signal between two of its own instructions, so not while XLA compiles.
Therefore a thread receives the signals too, and ends the process where the handler cannot.
"""

import contextlib
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds in which further signals are the same request: `timeout` sends two, and so do the shell
# and the system when a terminal is closed.
REPETITION = 0.5
GRACE = 1.0  # seconds that a program has to end by itself where it cannot save anything


class SignalHandler:
    """Handle the signals inside a `with` block of the main thread.

    The first signal calls `on_first(number)` in the main thread, as soon as Python can. A later
    SIGINT or SIGTERM ends the process at once with exit code 128 + signal, also during a
    compilation. A later SIGHUP does not, because nobody is left at the terminal.

    Signals that the process ignores (SIGHUP under nohup) or that a library handles are left alone.

    Args:
        on_first: the function.
        grace: seconds after the first signal after which the process ends, if the block has not
            ended by then; None waits for the end of the block.

    Attributes:
        received: the first signal, or None.
    """

    def __init__(self, on_first: Callable[[int], None], grace: float | None = None):
        self._on_first, self._grace = on_first, grace
        self.received: int | None = None

    def __enter__(self) -> "SignalHandler":
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        # None is a handler of a library in C++.
        self._previous = {
            number: handler
            for number, handler in handlers.items()
            if handler not in (None, signal.SIG_IGN)
        }
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        for number in self._previous:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._writer.close()  # ends the thread
        self._thread.join()
        self._reader.close()

    def _handle(self, number: int, frame: object) -> None:
        if self.received is None:
            self.received = number
            if number == signal.SIGHUP:
                _leave_closed_terminal()
            self._on_first(number)

    def _watch(self) -> None:
        """End the process when a signal asks for it. The system writes the signals' numbers."""
        first = None
        while content := self._reader.recv(1):
            number, now = content[0], time.monotonic()
            if number not in self._previous:
                continue
            if first is None:
                first = now
                if self._grace is not None:
                    self._wait(first + self._grace, number)
            elif number != signal.SIGHUP and now - first > REPETITION:
                os._exit(exit_code(number))

    def _wait(self, end: float, number: int) -> None:
        """End the process at the time `end`, unless the block ends before."""
        while (seconds := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._reader], [], [], seconds)
            if ready and not self._reader.recv(1):
                return
        if self.received is None:  # the main thread has not come to it
            self._on_first_in_thread(number)
        os._exit(exit_code(number))

    def _on_first_in_thread(self, number: int) -> None:
        with contextlib.suppress(SystemExit):
            self._on_first(number)


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal has ended."""
    return 128 + number


def stop(number: int) -> None:
    """Print one line and raise SystemExit: the `on_first` of a program with nothing to save."""
    print(f"gpt1_jax: stopped by {signal.Signals(number).name}", file=sys.stderr, flush=True)
    sys.exit(exit_code(number))


@contextlib.contextmanager
def keep_from_children() -> Iterator[None]:
    """Start processes in this block that never receive SIGINT and SIGHUP.

    A terminal sends these to all its processes. The processes started here are ended by their
    parent, which receives them after the block.
    """
    numbers = (signal.SIGINT, signal.SIGHUP)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _leave_closed_terminal() -> None:
    """Write what is meant for a terminal that is closed to nowhere: a write would be an error."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            is_device = stat.S_ISCHR(os.fstat(descriptor).st_mode)
            if is_device and not os.isatty(descriptor):  # it was a terminal, or is os.devnull
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
