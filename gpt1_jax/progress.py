"""One progress bar for all commands."""

import contextlib
import time

import rich.console
import rich.progress


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
