"""Write the log of a run to the console and to its files. Never import jax."""

import contextlib
import errno
import pathlib
import time
from collections.abc import Mapping

import rich.console
from tensorboardX import SummaryWriter

from gpt1_jax import progress, storage
from gpt1_jax.errors import printable

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"


class Log:
    """Write lines and metrics to the folder of a run and to the console.

    Args:
        workdir: folder of the run.
        enabled: write anything; False on all processes of a job but one.

    Attributes:
        started: True after `start`.
    """

    def __init__(self, workdir: pathlib.Path, enabled: bool = True):
        self._console = rich.console.Console(highlight=False, soft_wrap=True, markup=False)
        self._enabled, self._workdir = enabled, workdir
        self.started = False
        self._files = contextlib.ExitStack()
        if enabled:
            self._text = self._files.enter_context(storage.appender(workdir / "log.txt"))

    def start(self, step: int) -> None:
        """Open the files of metrics and samples to continue after `step`.

        Delete the rows of later steps, which a process that was killed may have left. TensorBoard
        leaves out what was written for them before this start.
        """
        self.started = True
        if not self._enabled:
            return
        for path in (self._workdir / METRICS, self._workdir / SAMPLES):
            rows = [row for row in storage.read_json_lines(path) if row["step"] <= step]
            if path.exists():
                storage.write_json_lines(path, rows)
        self._metrics = self._files.enter_context(storage.appender(self._workdir / METRICS))
        board = SummaryWriter(str(self._workdir / "tb"), purge_step=step + 1)
        self._board = self._files.enter_context(board)

    def line(self, text: str) -> None:
        """Write one or more lines to the console and to log.txt."""
        if self._enabled:
            text = printable(text)  # it may quote a text of a model or of a data set
            try:
                self._console.print(text)
            except OSError as error:
                if error.errno != errno.EIO:  # of a terminal that is closed; SIGHUP follows
                    raise
            self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one step to the console and to all files."""
        if not self._enabled:
            return
        storage.append_json_line(self._metrics, {"step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        columns = [f"step {step}", *(f"{name} {value:.4g}" for name, value in values.items())]
        self.line("  ".join(columns))

    def sample(self, step: int, text: str) -> None:
        """Write a text that the model generated after step `step`, also to samples.jsonl."""
        if not self._enabled:
            return
        with storage.appender(self._workdir / SAMPLES) as file:
            storage.append_json_line(file, {"step": step, "text": text})
        self._board.add_text("sample", text, step)
        self.line(f"step {step}  sample: {text}")

    def close(self) -> None:
        """Flush and close all files."""
        self._files.close()

    def bar(self, title: str):
        """Return a progress bar (`progress.bar`) that is shown on a terminal only.

        Elsewhere the lines of `metrics` show the progress.
        """
        console = self._console if self._enabled else None
        return progress.bar(title, console=console, plain_every=float("inf"))
