"""Run many jobs below one folder, shared by processes and machines. Each job runs once.

A job is done when its folder holds result.json or failed.json. A process holds the lock of its job.
The system releases the lock when the process ends, however it ends. The next process then resumes
the unfinished job. Machines whose file system has no common locks run one shard of the jobs each
(`shard_jobs`). They wait for the jobs of other shards that their jobs need. In a bucket, locks are
leases, and `bucket_queue.py` knows the state of the jobs.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.runs.bucket_queue import FAILED, FINISHED, LOCKS, board

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


def is_finished(folder: storage.Path, name: str) -> bool:
    """Return whether the job has its result. A damaged result.json is not a result."""
    if isinstance(folder, storage.BucketPath):
        return board(folder).is_in(FINISHED, name)
    file = folder / name / "result.json"
    if not file.exists():
        return False
    try:
        inputs.read_object(file)
    except UserError:
        return False
    return True


def failure(folder: storage.Path, name: str) -> str:
    """Return the error that stopped the job, or "" if it has not failed."""
    in_bucket = isinstance(folder, storage.BucketPath)
    if is_finished(folder, name) or (in_bucket and not board(folder).is_in(FAILED, name)):
        return ""
    file = folder / name / "failed.json"
    try:
        return inputs.read_object(file, {"error": str}, missing={"error": ""})["error"]
    except UserError as error:
        return str(error)


def is_done(folder: storage.Path, name: str) -> bool:
    """Return whether the job has finished or failed."""
    return is_finished(folder, name) or bool(failure(folder, name))


def run_jobs(
    jobs: Sequence[Job],
    folder: storage.Path,
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
    pending: Sequence[Job], folder: storage.Path, on_done: Callable[[str], None]
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


def _attempt(job: Job, folder: storage.Path) -> bool:
    """Run the job. Return False if another process has its lock or has done it."""
    if isinstance(folder, storage.BucketPath):
        return _attempt_in_bucket(job, folder)
    with job_lock(folder, job.name) as acquired:
        if not acquired or is_done(folder, job.name):
            return False
        _run(job, folder)
        return True


def _attempt_in_bucket(job: Job, folder: storage.BucketPath) -> bool:
    """Run the job as `_attempt` does. Ask nobody about a job that another process runs."""
    known = board(folder)
    if not known.may_run(job.name):
        return False
    with job_lock(folder, job.name) as acquired:
        if not acquired:
            known.note_running(job.name)
            return False
        is_new = not (folder / job.name / "result.json").is_file()
        if is_new and not _run(job, folder):
            return True
        known.mark(FINISHED, job.name)
        return is_new


def _run(job: Job, folder: storage.Path) -> bool:
    """Run the job, whose lock this process holds. Record a failure, and return False then."""
    try:
        job.run(str(folder / job.name))
        return True
    except UserError as error:
        record_failure(folder, job.name, str(error))
    except Exception as error:  # a bug or lack of memory in one job must not stop the others
        message = f"{type(error).__name__}: {first_line(error)}"
        record_failure(folder, job.name, message, traceback.format_exc())
    return False


@contextlib.contextmanager
def job_lock(folder: storage.Path, name: str, wait: bool = False) -> Iterator[bool]:
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


def record_failure(folder: storage.Path, name: str, error: str, trace: str = "") -> None:
    """Write failed.json of the job, with the traceback if there is one."""
    record = {"error": error, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    if trace:
        record["traceback"] = trace
    storage.write_json(folder / name / "failed.json", record)
    if isinstance(folder, storage.BucketPath):
        board(folder).mark(FAILED, name)


def clear_failures(jobs: Sequence[Job], folder: storage.Path) -> None:
    """Delete failed.json of the jobs that no process runs, so that they run again."""
    in_bucket = isinstance(folder, storage.BucketPath)
    for job in jobs:
        if in_bucket and not board(folder).is_in(FAILED, job.name):
            continue
        with job_lock(folder, job.name) as acquired:
            if acquired:
                (folder / job.name / "failed.json").unlink(missing_ok=True)
                if in_bucket:
                    board(folder).unmark(FAILED, job.name)


def locked_by(folder: storage.Path, process: int) -> list[str]:
    """Return the unfinished jobs whose locks a dead process held when it died."""
    locks = folder / LOCKS
    return [
        name
        for name in storage.names(locks)
        if name not in (FINISHED, FAILED)
        if storage.is_locked_by(locks / name, process) and not is_done(folder, name)
    ]
