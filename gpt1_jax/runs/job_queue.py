"""Many runs below one folder, shared by processes and machines: each is done once, by whoever claims it first.

A job is settled by what lies in its folder: result.json, or failed.json. Claims are file locks, which the system drops with the
process, however it dies; what was half done is then resumed by the next. Machines whose file system has no locks in common (a mounted
bucket) want a share of the jobs each (`share`), and wait for what another share has to do first.
"""

import contextlib
import os
import pathlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line

LOCKS = ".locks"  # folder of the jobs' locks, below that of the jobs
WAIT = 0.5  # seconds between looks at what others are doing


class Job(NamedTuple):
    """One run: its folder's name, the names of the jobs that must be finished first, and what does it, given the folder."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[str], object]


def shard_jobs(jobs: Sequence[Job], shard: str) -> list[Job]:
    """The jobs of `part`, "i/n": every n-th from the i-th on; UserError if it is no part. What they need may be another part's."""
    try:
        own, parts = map(int, shard.split("/"))
    except ValueError:
        own, parts = 0, 0
    if not 1 <= own <= parts:
        raise UserError(f"config.shard: {shard!r} found, such as 3/8 expected: the third of eight shares")
    return list(jobs[own - 1 :: parts])


def is_finished(folder: pathlib.Path, name: str) -> bool:
    """Whether the job has its result."""
    return (folder / name / "result.json").exists()


def failure(folder: pathlib.Path, name: str) -> str:
    """What stopped the job; "" where nothing has."""
    if is_finished(folder, name):
        return ""
    return storage.read_json(folder / name / "failed.json", missing={"error": ""})["error"]


def is_done(folder: pathlib.Path, name: str) -> bool:
    """Whether there is nothing more to do for the job in this start."""
    return is_finished(folder, name) or bool(failure(folder, name))


def run_jobs(jobs: Sequence[Job], folder: pathlib.Path, done: Callable[[str], None] = lambda name: None) -> None:
    """Does the jobs in their order until each is settled, by this process or another; calls `done` after each of its own.

    A job that raises is recorded, and the rest go on; one that needs it is recorded, too.
    """
    pending, told = list(jobs), set()
    while pending:
        pending = [job for job in pending if not is_done(folder, job.name)]
        for job in pending:
            if broken := next((name for name in job.needs if failure(folder, name)), None):
                record_failure(folder, job.name, f"needs {broken}, which failed")
                break
            if all(is_finished(folder, name) for name in job.needs) and _attempt(job, folder):
                done(job.name)
                break
        else:
            if pending:
                waited_for = {name for job in pending for name in job.needs if not is_finished(folder, name)} or {job.name for job in pending}
                if waited_for != told:
                    print(f"waiting for {', '.join(sorted(waited_for)[:4])}, which others do", flush=True)
                told = waited_for
                time.sleep(WAIT)


def _attempt(job: Job, folder: pathlib.Path) -> bool:
    """Does the job unless another process has it or has done it; whether it did."""
    with job_lock(folder, job.name) as mine:
        if not mine or is_done(folder, job.name):
            return False
        try:
            job.run(str(folder / job.name))
        except UserError as error:
            record_failure(folder, job.name, str(error))
        except Exception as error:  # one cell's bug or lack of memory is no reason to lose the others
            record_failure(folder, job.name, f"{type(error).__name__}: {first_line(error)}", traceback.format_exc())
        return True


@contextlib.contextmanager
def job_lock(folder: pathlib.Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Acquire the lock of the job `name` for the duration of the block. Yield False if another process holds it, unless `wait`."""
    with contextlib.ExitStack() as stack:
        try:
            acquired = stack.enter_context(storage.lock(folder / LOCKS / name, wait))
        except OSError as error:
            raise UserError(f"--workdir: cannot write to {folder} ({error.strerror}); choose another folder") from None
        yield acquired


def record_failure(folder: pathlib.Path, name: str, error: str, trace: str = "") -> None:
    """Notes that the job has failed."""
    noted = {"error": error, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **({"traceback": trace} if trace else {})}
    storage.write_json(folder / name / "failed.json", noted)


def clear_failures(jobs: Sequence[Job], folder: pathlib.Path) -> None:
    """Makes the failed ones of an earlier start due again."""
    for job in jobs:
        with job_lock(folder, job.name) as mine:
            if mine:
                (folder / job.name / "failed.json").unlink(missing_ok=True)


def locked_by(folder: pathlib.Path, process: int) -> list[str]:
    """The jobs that a process, now dead, had claimed when it died."""
    locks = folder / LOCKS
    return [name for name in storage.names(locks) if storage.is_locked_by(locks / name, process) and not is_done(folder, name)]


def exit_with_parent(parent) -> None:
    """In a thread of a child process: ends it when its parent is gone, so that nothing works on unseen."""
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
