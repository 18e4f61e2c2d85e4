"""Check shared jobs: each runs once, failures are recorded, locks end with their process."""

import contextlib
import json
import multiprocessing
import os
import signal
import time

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.runs import job_queue
from gpt1_jax.runs.job_queue import Job


def finish(folder: str, seconds: float = 0.0) -> None:
    """Write the start of a short run, then its result."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/starts", "a") as file:
        file.write("x")
    time.sleep(seconds)
    with open(f"{folder}/result.json", "w") as file:
        file.write("{}")


def finish_slowly(folder: str) -> None:
    finish(folder, 0.05)


def hang(folder: str) -> None:
    finish(folder, 60)


def fail(folder: str) -> None:
    raise UserError("config.lr: too low")


def raise_memory_error(folder: str) -> None:
    raise MemoryError


def outcomes(folder, jobs) -> dict[str, str | bool]:
    """Return each job's error, or whether it has finished."""
    return {
        job.name: job_queue.failure(folder, job.name) or job_queue.is_finished(folder, job.name)
        for job in jobs
    }


def test_failure_is_recorded_and_stops_only_dependent_jobs(tmp_path):
    jobs = [
        Job("cell", ("start",), finish),
        Job("start", (), fail),
        Job("other", (), raise_memory_error),
        Job("free", (), finish),
    ]
    job_queue.run_jobs(jobs, tmp_path)
    assert outcomes(tmp_path, jobs) == {
        "cell": "needs start, which failed",
        "start": "config.lr: too low",
        "other": "MemoryError: MemoryError",
        "free": True,
    }
    record = json.loads((tmp_path / "other/failed.json").read_text())
    assert "raise_memory_error" in record["traceback"]
    job_queue.clear_failures(jobs, tmp_path)
    job_queue.run_jobs([job._replace(run=finish) for job in jobs], tmp_path)
    assert all(value is True for value in outcomes(tmp_path, jobs).values())
    assert (tmp_path / "free/starts").read_text() == "x"


def test_needs_run_first_in_any_order(tmp_path):
    names = []
    jobs = [Job("b", ("a",), finish), Job("a", (), finish)]
    job_queue.run_jobs(jobs, tmp_path, names.append)
    assert names == ["a", "b"]


def test_processes_share_the_jobs(tmp_path):
    jobs = [Job(f"job{number}", (), finish_slowly) for number in range(8)]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=job_queue.run_jobs, args=(jobs, tmp_path)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [(tmp_path / job.name / "starts").read_text() for job in jobs] == ["x"] * 8


def test_lock_ends_with_its_process(tmp_path):
    context = multiprocessing.get_context("spawn")
    jobs = [Job("job", (), hang)]
    process = context.Process(target=job_queue.run_jobs, args=(jobs, tmp_path))
    process.start()
    while not (tmp_path / "job/starts").exists():
        assert process.is_alive()
        time.sleep(0.02)
    with job_queue.job_lock(tmp_path, "job") as acquired:
        assert not acquired
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert job_queue.locked_by(tmp_path, process.pid) == ["job"]
    job_queue.run_jobs([Job("job", (), finish)], tmp_path)
    assert job_queue.locked_by(tmp_path, process.pid) == []
    assert (tmp_path / "job/starts").read_text() == "xx"


def test_shards_hold_every_job_once():
    jobs = [Job("body", (), finish), Job("lone", (), finish)]
    jobs += [Job(f"cell{number}", ("body",), finish) for number in range(4)]
    shards = [[job.name for job in job_queue.shard_jobs(jobs, f"{index}/3")] for index in (1, 2, 3)]
    assert shards == [["body", "cell1"], ["lone", "cell2"], ["cell0", "cell3"]]
    assert job_queue.shard_jobs(jobs, "1/1") == jobs


@pytest.mark.parametrize("shard", ["0/3", "4/3", "a", "1/2/3", ""])
def test_invalid_shard_is_refused(shard):
    with pytest.raises(UserError, match=f"^config.shard: '{shard}' found; give i/n .* such as 3/8"):
        job_queue.shard_jobs([], shard)


def test_locked_job_is_left_to_its_process(tmp_path):
    jobs, names = [Job("a", (), finish), Job("b", (), finish)], []
    lock = contextlib.ExitStack()
    lock.enter_context(job_queue.job_lock(tmp_path, "a"))

    def release(name):
        names.append(name)
        lock.close()

    job_queue.run_jobs(jobs, tmp_path, release)
    assert names == ["b", "a"]
