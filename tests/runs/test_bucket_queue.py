"""Check jobs that machines share by a bucket: each runs once, and few requests are made."""

import threading
import time

import pytest

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.runs import bucket_queue, job_queue
from gpt1_jax.runs.job_queue import Job
from gpt1_jax.storage import leases


class Machines:
    """Run the jobs of one folder as several machines would.

    A thread stands for a machine: it has its own board, and its leases are those of another holder.
    """

    def __init__(self, monkeypatch):
        self._local = threading.local()
        monkeypatch.setattr(job_queue, "board", self._board)

    def _board(self, folder):
        if not hasattr(self._local, "board"):
            self._local.board = bucket_queue.Board(folder)
        return self._local.board

    def run(self, jobs, folder, count: int) -> None:
        threads = [
            threading.Thread(target=job_queue.run_jobs, args=(jobs, folder)) for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def machines(monkeypatch):
    monkeypatch.setattr(job_queue, "WAIT", 0.01)
    return Machines(monkeypatch)


def finish(folder: str) -> None:
    path = storage.path(folder)
    with storage.appender(path / "starts") as file:
        file.write("x")
    time.sleep(0.05)
    storage.write_json(path / "result.json", {})


def fail(folder: str) -> None:
    raise UserError("config.lr: too low")


def test_machines_share_the_jobs_and_failures_are_run_again(machines, bucket, monkeypatch):
    monkeypatch.setattr(bucket_queue, "INTERVAL", 0.1)
    jobs = [Job("start", (), finish)]
    jobs += [Job(f"job{number}", ("start",), finish) for number in range(8)]
    jobs += [Job("bad", (), fail), Job("cell", ("bad",), finish)]
    machines.run(jobs, bucket, 3)
    starts = [(bucket / job.name / "starts") for job in jobs[:9]]
    assert [path.read_text() for path in starts] == ["x"] * 9
    assert storage.names(bucket / ".locks") == ["failed", "finished"], "no lease is left"
    assert job_queue.failure(bucket, "cell") == "needs bad, which failed"
    # A further start: one result is deleted by hand, and failed jobs run again.
    (bucket / "job3/result.json").unlink()
    jobs = [job._replace(run=finish) for job in jobs]
    machines._local.__dict__.clear()
    job_queue.clear_failures(jobs, bucket)
    job_queue.run_jobs(jobs, bucket)
    assert all(job_queue.is_finished(bucket, job.name) for job in jobs)
    assert [path.read_text() for path in starts] == [
        "xx" if "job3" in str(p) else "x" for p in starts
    ]
    machines._local.__dict__.clear()
    assert [job.name for job in jobs if job_queue.is_done(bucket, job.name)] == [
        job.name for job in jobs
    ]


def test_job_of_a_machine_that_vanished_is_resumed(machines, bucket, monkeypatch):
    monkeypatch.setattr(bucket_queue, "INTERVAL", 0.05)
    monkeypatch.setattr(leases, "TERM", 0.3)
    (bucket / ".locks/job").upload(b'{"machine": "other"}')
    begin = time.monotonic()
    machines.run([Job("job", (), finish)], bucket, 2)
    assert time.monotonic() - begin >= 0.3
    assert (bucket / "job/starts").read_text() == "x"


def test_requests_of_a_machine_that_waits_do_not_grow_with_the_jobs(
    machines, bucket, bucket_server, monkeypatch
):
    monkeypatch.setattr(bucket_queue, "INTERVAL", 0.2)
    jobs = [Job(f"cell{number}", ("start",), finish) for number in range(60)]
    jobs.append(Job("start", (), finish))
    (bucket / ".locks/start").upload(b'{"machine": "other"}')
    before = len(bucket_server.requests())
    thread = threading.Thread(target=machines.run, args=(jobs, bucket, 1))
    thread.start()
    time.sleep(2)
    requests = bucket_server.requests()[before:]
    # One listing of the folder, then one of the locks in each interval.
    assert len(requests) <= 2 + 2 / bucket_queue.INTERVAL, requests
    assert all(request.startswith("GET") for request in requests)
    # The other machine's job fails, which ends the wait.
    storage.write_json(bucket / "start/failed.json", {"error": "config.lr: too low"})
    storage.write_text(bucket / ".locks/failed/start", "")
    thread.join(60)
    assert job_queue.failure(bucket, "cell59") == "needs start, which failed"
