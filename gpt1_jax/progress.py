"""Show the progress of long work: one bar for all commands."""

import contextlib
import sys
import time

import rich.console
import rich.progress


def console(stderr: bool = False) -> rich.console.Console:
    """Return the console of standard output or standard error, which draws on a terminal only.

    FORCE_COLOR, which notebooks set, would make rich draw anywhere.
    """
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return rich.console.Console(
        stderr=stderr, force_terminal=is_terminal, highlight=False, soft_wrap=True, markup=False
    )


@contextlib.contextmanager
def bar(task: str, shown_on: rich.console.Console | None = None, plain_every: float = 10.0):
    """Yield advance(done, total), which moves a bar with the time left.

    Without a terminal, advance prints a plain line every `plain_every` seconds instead.
    """
    shown_on = shown_on or console(stderr=True)
    if not shown_on.is_terminal:
        last = time.monotonic()

        def advance(done, total):
            nonlocal last
            if time.monotonic() - last >= plain_every:
                last = time.monotonic()
                shown_on.print(f"{task}: {done} of {total}")

        yield advance
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=shown_on, transient=True) as progress:
        identifier = progress.add_task(task)
        yield lambda done, total: progress.update(identifier, completed=done, total=total)
