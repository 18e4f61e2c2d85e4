"""What a run says while it works: the console, log.txt, metrics.jsonl and TensorBoard, with one call for all. Never imports jax."""

import contextlib
import json
import pathlib
import time
from collections.abc import Mapping

import rich.console
import rich.progress
from tensorboardX import SummaryWriter


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
            self._text = self._files.enter_context(open(workdir / "log.txt", "a", encoding="utf-8", buffering=1))

    def start(self, step: int) -> None:
        """Makes ready for metrics after update `step`; those of later updates, left by a start that died, are taken out."""
        if self._enabled:
            path = self._workdir / "metrics.jsonl"
            _truncate(path, step)
            self._metrics = self._files.enter_context(open(path, "a", encoding="utf-8", buffering=1))
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
        self._metrics.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self.line(f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def sample(self, step: int, text: str) -> None:
        """A text that the model wrote after update `step`: console, log.txt, samples.jsonl and TensorBoard."""
        if self._enabled:
            with open(self._workdir / "samples.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "text": text}) + "\n")
            self._board.add_text("sample", text, step)
            self.line(f"step {step}  writes: {text}")

    def close(self) -> None:
        """Flushes everything to the disk."""
        self._files.close()

    def bar(self, what: str):
        """A progress bar on the terminal (see `bar`); the lines of `metrics` show the way elsewhere."""
        return bar(what, console=self._console if self._enabled else None, plain_every=float("inf"))


def _truncate(path: pathlib.Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        # A start that was killed may have left half a line.
        with contextlib.suppress(ValueError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    beside = path.with_suffix(".tmp")
    beside.write_text("".join(kept), encoding="utf-8")
    beside.replace(path)


@contextlib.contextmanager
def bar(what: str, console: rich.console.Console | None = None, plain_every: float = 10.0):
    """Yields advance(done, total): a bar with the time left on a terminal, else a plain line every `plain_every` seconds."""
    console = console or rich.console.Console(highlight=False, stderr=True)
    if not console.is_terminal:
        spoken = time.monotonic()

        def advance(done, total):
            nonlocal spoken
            if time.monotonic() - spoken >= plain_every:
                spoken = time.monotonic()
                console.print(f"{what}: {done} of {total}")

        yield advance
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what)
        yield lambda done, total: progress.update(task, completed=done, total=total)
