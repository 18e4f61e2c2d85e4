"""Many runs below one folder, shared by processes and machines: each is done once, by whoever claims it first.

A job is settled by what lies in its folder: result.json, or failed.json. Claims are file locks, which the system drops with the
process, however it dies; what was half done is then resumed by the next. Machines whose file system has no locks in common (a mounted
bucket) want a share of the jobs each (`share`), and wait for what another share has to do first.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gpt1_jax.errors import UserError, first_line
from gpt1_jax.training import workdir

WAIT = 0.5  # seconds between looks at what others are doing


class Job(NamedTuple):
    """One run: its folder's name, the names of the jobs that must be finished first, and what does it, given the folder."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[str], object]


def share(jobs: Sequence[Job], part: str) -> list[Job]:
    """The jobs of `part`, "i/n": every n-th from the i-th on; UserError if it is no part. What they need may be another part's."""
    try:
        own, parts = map(int, part.split("/"))
    except ValueError:
        own, parts = 0, 0
    if not 1 <= own <= parts:
        raise UserError(f"config.part: {part!r} found, such as 3/8 expected: the third of eight shares")
    return list(jobs[own - 1 :: parts])


def finished(folder: pathlib.Path, name: str) -> bool:
    """Whether the job has its result."""
    return (folder / name / "result.json").exists()


def failure(folder: pathlib.Path, name: str) -> str:
    """What stopped the job; "" where nothing has."""
    if finished(folder, name):
        return ""
    try:
        return json.loads((folder / name / "failed.json").read_text(encoding="utf-8"))["error"]
    except FileNotFoundError:
        return ""


def settled(folder: pathlib.Path, name: str) -> bool:
    """Whether there is nothing more to do for the job in this start."""
    return finished(folder, name) or bool(failure(folder, name))


def work(jobs: Sequence[Job], folder: pathlib.Path, done: Callable[[str], None] = lambda name: None) -> None:
    """Does the jobs in their order until each is settled, by this process or another; calls `done` after each of its own.

    A job that raises is recorded, and the rest go on; one that needs it is recorded, too.
    """
    pending, told = list(jobs), set()
    while pending:
        pending = [job for job in pending if not settled(folder, job.name)]
        for job in pending:
            if broken := next((name for name in job.needs if failure(folder, name)), None):
                record(folder, job.name, f"needs {broken}, which failed")
                break
            if all(finished(folder, name) for name in job.needs) and _attempt(job, folder):
                done(job.name)
                break
        else:
            if pending:
                waited_for = {name for job in pending for name in job.needs if not finished(folder, name)} or {job.name for job in pending}
                if waited_for != told:
                    print(f"waiting for {', '.join(sorted(waited_for)[:4])}, which others do", flush=True)
                told = waited_for
                time.sleep(WAIT)


def _attempt(job: Job, folder: pathlib.Path) -> bool:
    """Does the job unless another process has it or has done it; whether it did."""
    with claimed(folder, job.name) as mine:
        if not mine or settled(folder, job.name):
            return False
        try:
            job.run(str(folder / job.name))
        except UserError as error:
            record(folder, job.name, str(error))
        except Exception as error:  # one cell's bug or lack of memory is no reason to lose the others
            record(folder, job.name, f"{type(error).__name__}: {first_line(error)}", traceback.format_exc())
        return True


@contextlib.contextmanager
def claimed(folder: pathlib.Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Whether `name` is this process's own until the end of the block; with `wait`, it will be."""
    try:
        (folder / ".claims").mkdir(parents=True, exist_ok=True)
        file = open(folder / ".claims" / name, "a+")
    except OSError as error:
        raise UserError(f"--workdir: cannot write to {folder} ({error.strerror}); choose another folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(_mark(os.getpid()))
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def _mark(process: int) -> str:
    return f"{socket.gethostname()} {process}"


def record(folder: pathlib.Path, name: str, error: str, trace: str = "") -> None:
    """Notes that the job has failed."""
    (folder / name).mkdir(exist_ok=True)
    noted = {"error": error, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **({"traceback": trace} if trace else {})}
    workdir.write_json(folder / name / "failed.json", noted)


def forget_failures(jobs: Sequence[Job], folder: pathlib.Path) -> None:
    """Makes the failed ones of an earlier start due again."""
    for job in jobs:
        with claimed(folder, job.name) as mine:
            if mine:
                (folder / job.name / "failed.json").unlink(missing_ok=True)


def held_by(folder: pathlib.Path, process: int) -> list[str]:
    """The jobs that a process, now dead, had claimed when it died."""
    claims = (folder / ".claims").glob("*")
    return [file.name for file in claims if file.read_text() == _mark(process) and not settled(folder, file.name)]


def die_with(parent) -> None:
    """In a thread of a child process: ends it when its parent is gone, so that nothing works on unseen."""
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
