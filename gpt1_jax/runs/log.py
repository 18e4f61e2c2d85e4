"""What a run says while it works: the console, log.txt, metrics.jsonl and TensorBoard, with one call for all. Never imports jax."""

import contextlib
import pathlib
import time
from collections.abc import Mapping

import rich.console
from tensorboardX import SummaryWriter

from gpt1_jax import progress, storage


class Log:
    """Writes lines and metrics into a run's folder and onto the console.

    Args:
        workdir: the run's folder.
        enabled: False on all processes but one.
    """

    def __init__(self, workdir: pathlib.Path, enabled: bool = True):
        self._console = rich.console.Console(highlight=False, soft_wrap=True, markup=False)
        self._enabled, self._workdir = enabled, workdir
        self._files = contextlib.ExitStack()
        if enabled:
            self._text = self._files.enter_context(storage.appender(workdir / "log.txt"))

    def start(self, step: int) -> None:
        """Makes ready for metrics after update `step`; those of later updates, left by a start that died, are taken out."""
        if self._enabled:
            path = self._workdir / "metrics.jsonl"
            storage.write_json_lines(path, (line for line in storage.read_json_lines(path) if line["step"] <= step))
            self._metrics = self._files.enter_context(storage.appender(path))
            self._board = self._files.enter_context(SummaryWriter(str(self._workdir / "tb"), purge_step=step + 1))

    def line(self, text: str) -> None:
        """One or more lines for people: console and log.txt."""
        if self._enabled:
            self._console.print(text)
            self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one update: all four places."""
        if not self._enabled:
            return
        storage.append_json_line(self._metrics, {"step": step, **values})
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self.line(f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def sample(self, step: int, text: str) -> None:
        """A text that the model wrote after update `step`: console, log.txt, samples.jsonl and TensorBoard."""
        if self._enabled:
            with storage.appender(self._workdir / "samples.jsonl") as file:
                storage.append_json_line(file, {"step": step, "text": text})
            self._board.add_text("sample", text, step)
            self.line(f"step {step}  writes: {text}")

    def close(self) -> None:
        """Flushes everything to the disk."""
        self._files.close()

    def bar(self, what: str):
        """A progress bar on the terminal (see `bar`); the lines of `metrics` show the way elsewhere."""
        return progress.bar(what, console=self._console if self._enabled else None, plain_every=float("inf"))
