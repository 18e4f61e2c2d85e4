"""Run many jobs below one folder, shared by processes and machines. Each job runs once.

A job is done when its folder holds result.json or failed.json. A process holds the lock of its job.
The system releases the lock when the process ends, however it ends. The next process then resumes
the unfinished job. Machines whose file system has no common locks (a mounted bucket) run one shard
of the jobs each (`shard_jobs`). They wait for the jobs of other shards that their jobs need.
"""

import contextlib
import pathlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError, first_line

LOCKS = ".locks"  # folder of the jobs' locks, below the folder of the jobs
WAIT = 0.5  # seconds between two checks for jobs that other processes have finished


class Job(NamedTuple):
    """Describe one run.

    Attributes:
        name: name of the job and of its folder.
        needs: names of the jobs that must finish first.
        run: function that does the work; takes the path of the job's folder.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[str], object]


def shard_jobs(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Return the jobs of shard "i/n": every n-th job from the i-th on.

    Jobs may need jobs of other shards.

    Raises:
        UserError: `shard` is not of the form i/n with 1 <= i <= n.
    """
    try:
        index, count = map(int, shard.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 1 <= index <= count:
        raise UserError(
            f"config.shard: {shard!r} found; give i/n with i from 1 to n, "
            "such as 3/8 for the third of eight shards"
        )
    return list(jobs[index - 1 :: count])


def is_finished(folder: pathlib.Path, name: str) -> bool:
    """Return whether the job has its result. A damaged result.json is not a result."""
    file = folder / name / "result.json"
    if not file.exists():
        return False
    try:
        inputs.read_object(file)
    except UserError:
        return False
    return True


def failure(folder: pathlib.Path, name: str) -> str:
    """Return the error that stopped the job, or "" if it has not failed."""
    if is_finished(folder, name):
        return ""
    file = folder / name / "failed.json"
    try:
        return inputs.read_object(file, {"error": str}, missing={"error": ""})["error"]
    except UserError as error:
        return str(error)


def is_done(folder: pathlib.Path, name: str) -> bool:
    """Return whether the job has finished or failed."""
    return is_finished(folder, name) or bool(failure(folder, name))


def run_jobs(
    jobs: Sequence[Job],
    folder: pathlib.Path,
    on_done: Callable[[str], None] = lambda name: None,
) -> None:
    """Run the jobs in order until each is done, by this process or by another one.

    A job that raises is recorded as failed, and so are the jobs that need it. Other jobs continue.

    Args:
        jobs: the jobs.
        folder: folder that holds the folder of every job.
        on_done: called with the name of every job that this process has run.
    """
    pending, last_blockers = list(jobs), set()
    while pending := [job for job in pending if not is_done(folder, job.name)]:
        if _run_first_ready(pending, folder, on_done):
            continue
        needs = {name for job in pending for name in job.needs if not is_finished(folder, name)}
        blockers = needs or {job.name for job in pending}
        if blockers != last_blockers:
            names = ", ".join(sorted(blockers)[:4])
            print(f"waiting for other processes to finish {names}", flush=True)
        last_blockers = blockers
        time.sleep(WAIT)


def _run_first_ready(
    pending: Sequence[Job], folder: pathlib.Path, on_done: Callable[[str], None]
) -> bool:
    """Run the first job that can run. Return False if all jobs wait for other processes."""
    for job in pending:
        failed_needs = [name for name in job.needs if failure(folder, name)]
        if failed_needs:
            record_failure(folder, job.name, f"needs {failed_needs[0]}, which failed")
            return True
        if all(is_finished(folder, name) for name in job.needs) and _attempt(job, folder):
            on_done(job.name)
            return True
    return False


def _attempt(job: Job, folder: pathlib.Path) -> bool:
    """Run the job. Return False if another process has its lock or has done it."""
    with job_lock(folder, job.name) as acquired:
        if not acquired or is_done(folder, job.name):
            return False
        try:
            job.run(str(folder / job.name))
        except UserError as error:
            record_failure(folder, job.name, str(error))
        except Exception as error:  # a bug or lack of memory in one job must not stop the others
            message = f"{type(error).__name__}: {first_line(error)}"
            record_failure(folder, job.name, message, traceback.format_exc())
        return True


@contextlib.contextmanager
def job_lock(folder: pathlib.Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Acquire the lock of the job `name` for the duration of the block.

    Yield False if another process holds it, unless `wait` is True. The name "start" is not a job:
    an ablation holds this lock while it writes its folder.

    Raises:
        UserError: the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            acquired = stack.enter_context(storage.lock(folder / LOCKS / name, wait))
        except OSError as error:
            raise UserError(
                f"--workdir: cannot write to {folder} ({error.strerror}); choose another folder"
            ) from None
        yield acquired


def record_failure(folder: pathlib.Path, name: str, error: str, trace: str = "") -> None:
    """Write failed.json of the job, with the traceback if there is one."""
    record = {"error": error, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    if trace:
        record["traceback"] = trace
    storage.write_json(folder / name / "failed.json", record)


def clear_failures(jobs: Sequence[Job], folder: pathlib.Path) -> None:
    """Delete failed.json of the jobs that no process runs, so that they run again."""
    for job in jobs:
        with job_lock(folder, job.name) as acquired:
            if acquired:
                (folder / job.name / "failed.json").unlink(missing_ok=True)


def locked_by(folder: pathlib.Path, process: int) -> list[str]:
    """Return the unfinished jobs whose locks a dead process held when it died."""
    locks = folder / LOCKS
    return [
        name
        for name in storage.names(locks)
        if storage.is_locked_by(locks / name, process) and not is_done(folder, name)
    ]
