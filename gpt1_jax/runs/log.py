"""Write the log of a run to the console and to its files. Never import jax."""

import contextlib
import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from gpt1_jax import progress, storage
from gpt1_jax.errors import printable
from gpt1_jax.runs import tracker

# tensorboardX imports PyTorch where it is installed, which would take most of the start of a run.
_torch = sys.modules.get("torch")
sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  # as if not installed
try:
    from tensorboardX import SummaryWriter
    from tensorboardX.record_writer import register_writer_factory
    from tensorboardX.summary import hparams
finally:
    del sys.modules["torch"]
    if _torch:
        sys.modules["torch"] = _torch

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"


class Log:
    """Write lines and metrics to the folder of a run and to the console.

    A file that cannot be written does not end the run: the first failure is a line on the console.

    Args:
        workdir: folder of the run.
        enabled: write anything; False on all processes of a job but one.
        settings: the settings of the run, dotted name -> value, for TensorBoard and the tracker.
        tracker_name: one of tracker.TRACKERS.

    Attributes:
        started: True after `start`.

    Raises:
        UserError: the tracker is unknown or not installed.
    """

    def __init__(
        self,
        workdir: storage.Path,
        enabled: bool = True,
        settings: Mapping[str, Any] | None = None,
        tracker_name: str = tracker.NONE,
    ):
        tracker.check(tracker_name)
        self._tracker = tracker_name
        self._settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in (settings or {}).items()
        }
        self._console = progress.console()
        self._enabled, self._workdir = enabled, workdir
        self.started = False
        self._files = contextlib.ExitStack()
        self._first_failure = threading.Lock()  # acquired once; TensorBoard's writer has a thread
        if enabled:
            self._text = self._files.enter_context(self._appender(workdir / "log.txt"))

    def start(self, step: int) -> None:
        """Open the files of metrics and samples to continue after `step`.

        Delete the rows of later steps, which a process that was killed may have left. TensorBoard
        leaves out what was written for them before this start.

        Raises:
            UserError: the tracker cannot start.
        """
        if not self._enabled:
            self.started = True
            return
        self._track = self._files.enter_context(
            tracker.track(self._tracker, self._workdir, self._settings, self.line)
        )
        self.started = True
        for path in (self._workdir / METRICS, self._workdir / SAMPLES):
            rows = [row for row in storage.read_json_lines(path) if row["step"] <= step]
            if path.exists():
                with self._report_failure(path):
                    storage.write_json_lines(path, rows)
        self._metrics = self._files.enter_context(self._appender(self._workdir / METRICS))
        scheme = f"log-{id(self)}"  # makes TensorBoard's writer open its files here
        register_writer_factory(scheme, _BoardFiles(self._report_failure))
        board = SummaryWriter(f"{scheme}:{self._workdir / 'tb'}", purge_step=step + 1)
        self._board = self._files.enter_context(board)
        if self._settings:
            _, settings, _ = hparams(self._settings, {})
            if self._board.file_writer:
                self._board.file_writer.add_summary(settings)

    def line(self, text: str) -> None:
        """Write one or more lines to the console and to log.txt."""
        if self._enabled:
            text = printable(text)  # it may quote a text of a model or of a data set
            with self._report_failure(pathlib.Path("standard output")):
                self._console.print(text)
            self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one step to the console and to all files."""
        if not self._enabled:
            return
        storage.append_json_line(self._metrics, {"step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._track(step, values)
        columns = [f"step {step}", *(f"{name} {value:.4g}" for name, value in values.items())]
        self.line("  ".join(columns))

    def sample(self, step: int, text: str) -> None:
        """Write a text that the model generated after step `step`, also to samples.jsonl."""
        if not self._enabled:
            return
        with self._appender(self._workdir / SAMPLES) as file:
            storage.append_json_line(file, {"step": step, "text": text})
        self._board.add_text("sample", text, step)
        self.line(f"step {step}  sample: {text}")

    def flush(self) -> None:
        """Make what was logged visible to others, because a checkpoint must not know more.

        On a disk, each line is visible at once.
        """
        if self._enabled and isinstance(self._workdir, storage.BucketPath):
            self._text.flush()
            if self.started:
                self._metrics.flush()
                self._board.flush()

    def close(self) -> None:
        """Flush and close all files."""
        self._files.close()

    def _appender(self, path: storage.Path) -> Any:  # a _LogFile
        return _LogFile(path, storage.appender, self._report_failure)

    @contextlib.contextmanager
    def _report_failure(self, path: storage.Path) -> Iterator[None]:
        """Catch the OSError of the block; print a line on the console if it is the first one."""
        try:
            yield
        except BrokenPipeError:
            raise  # nobody reads the console any more
        except OSError as error:
            if self._first_failure.acquire(blocking=False):
                # The console may be a file on the same disk, or a terminal that was closed.
                with contextlib.suppress(OSError):
                    self._console.print(
                        f"{path}: cannot be written ({error.strerror}); the run goes on, "
                        "and what cannot be written to the log is lost"
                    )

    def bar(self, title: str):
        """Return a progress bar (`progress.bar`) that is shown on a terminal only.

        Elsewhere the lines of `metrics` show the progress.
        """
        console = self._console if self._enabled else None
        return progress.bar(title, console, plain_every=float("inf"))


class _LogFile:
    """Write to a file. Errors of the system, also when it is opened, are reported and not raised.

    Args:
        path: the file.
        open_file: path -> the open file.
        report_failure: path -> the context that catches and reports an error.
    """

    def __init__(
        self,
        path: storage.Path,
        open_file: Callable[[storage.Path], IO],
        report_failure: Callable[[storage.Path], contextlib.AbstractContextManager],
    ):
        self.name = str(path)
        self._report_failure = lambda: report_failure(path)
        self._file = None
        with self._report_failure():
            self._file = open_file(path)

    def write(self, data) -> None:
        if self._file is not None:
            with self._report_failure():
                self._file.write(data)

    def flush(self) -> None:
        if self._file is not None:
            with self._report_failure():
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            with self._report_failure():
                self._file.close()

    def __enter__(self) -> "_LogFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _BoardFiles:
    """Open the files of TensorBoard's writer.

    The writer has a thread, which an error would end; the run would then wait for the thread.
    """

    def __init__(self, report_failure: Callable):
        self._report_failure = report_failure

    def open(self, path: str) -> _LogFile:
        """Open SCHEME:PATH for writing."""
        file = storage.path(path.partition(":")[2])
        return _LogFile(file, lambda path: storage.appender(path, True), self._report_failure)

    def directory_check(self, path: str) -> None:
        """Create the folder SCHEME:PATH."""
        folder = storage.path(path.partition(":")[2])
        with self._report_failure(folder):
            folder.mkdir(parents=True, exist_ok=True)
