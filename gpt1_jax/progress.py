"""Show the progress of long work: one bar for all commands."""

import contextlib
import time

import rich.console
import rich.progress


@contextlib.contextmanager
def bar(task: str, console: rich.console.Console | None = None, plain_every: float = 10.0):
    """Yield advance(done, total), which moves a bar with the time left.

    Without a terminal, advance prints a plain line every `plain_every` seconds instead.
    """
    console = console or rich.console.Console(highlight=False, stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def advance(done, total):
            nonlocal last
            if time.monotonic() - last >= plain_every:
                last = time.monotonic()
                console.print(f"{task}: {done} of {total}")

        yield advance
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as progress:
        identifier = progress.add_task(task)
        yield lambda done, total: progress.update(identifier, completed=done, total=total)
