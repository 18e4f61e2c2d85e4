"""Jobs that processes share: each is done once, failures are recorded, claims die with their owner."""

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
    """A run as short as can be: notes its start, then its result."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/starts", "a") as file:
        file.write("x")
    time.sleep(seconds)
    with open(f"{folder}/result.json", "w") as file:
        file.write("{}")


def fail(folder: str) -> None:
    raise UserError("config.lr: too low")


def break_down(folder: str) -> None:
    raise MemoryError


def settled(folder, jobs):
    return {job.name: job_queue.failure(folder, job.name) or job_queue.is_finished(folder, job.name) for job in jobs}


def test_a_failure_is_recorded_and_what_does_not_need_it_goes_on(tmp_path):
    jobs = [Job("cell", ("start",), finish), Job("start", (), fail), Job("other", (), break_down), Job("free", (), finish)]
    job_queue.run_jobs(jobs, tmp_path)
    assert settled(tmp_path, jobs) == {
        "cell": "needs start, which failed",
        "start": "config.lr: too low",
        "other": "MemoryError: MemoryError",
        "free": True,
    }
    assert "break_down" in json.loads((tmp_path / "other/failed.json").read_text())["traceback"]
    job_queue.clear_failures(jobs, tmp_path)
    job_queue.run_jobs([job._replace(run=finish) for job in jobs], tmp_path)  # what was wrong is mended
    assert all(value is True for value in settled(tmp_path, jobs).values())
    assert (tmp_path / "free/starts").read_text() == "x"


def test_needs_come_first_whatever_the_order(tmp_path):
    done = []
    jobs = [Job("b", ("a",), finish), Job("a", (), finish)]
    job_queue.run_jobs(jobs, tmp_path, done.append)
    assert done == ["a", "b"]


def test_processes_share_the_jobs(tmp_path):
    jobs = [Job(f"job{number}", (), slow) for number in range(8)]
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=job_queue.run_jobs, args=(jobs, tmp_path)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert [(tmp_path / job.name / "starts").read_text() for job in jobs] == ["x"] * 8


def slow(folder: str) -> None:
    finish(folder, 0.05)


def hang(folder: str) -> None:
    finish(folder, 60)


def test_a_claim_dies_with_its_owner(tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=job_queue.run_jobs, args=([Job("job", (), hang)], tmp_path))
    process.start()
    while not (tmp_path / "job/starts").exists():
        assert process.is_alive()
        time.sleep(0.02)
    with job_queue.job_lock(tmp_path, "job") as mine:
        assert not mine
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert job_queue.locked_by(tmp_path, process.pid) == ["job"]
    job_queue.run_jobs([Job("job", (), finish)], tmp_path)
    assert job_queue.locked_by(tmp_path, process.pid) == [] and (tmp_path / "job/starts").read_text() == "xx"


def test_parts_are_all_of_the_jobs_each_once():
    jobs = [Job("body", (), finish), Job("lone", (), finish), *(Job(f"cell{number}", ("body",), finish) for number in range(4))]
    parts = [[job.name for job in job_queue.shard_jobs(jobs, f"{part}/3")] for part in (1, 2, 3)]
    assert parts == [["body", "cell1"], ["lone", "cell2"], ["cell0", "cell3"]]
    assert job_queue.shard_jobs(jobs, "1/1") == jobs


@pytest.mark.parametrize("part", ["0/3", "4/3", "a", "1/2/3", ""])
def test_what_is_no_part_is_told(part):
    with pytest.raises(UserError, match="config.shard: .* such as 3/8 expected"):
        job_queue.shard_jobs([], part)


def test_a_job_that_another_has_is_left_to_it(tmp_path):
    jobs, done = [Job("a", (), finish), Job("b", (), finish)], []
    claim = contextlib.ExitStack()
    claim.enter_context(job_queue.job_lock(tmp_path, "a"))

    def release(name):
        done.append(name)
        claim.close()

    job_queue.run_jobs(jobs, tmp_path, release)
    assert done == ["b", "a"]
