"""Test that a lock in a bucket has one holder, who notices when it is not the holder any more."""

import concurrent.futures
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from gpt1_jax import storage
from gpt1_jax.storage import leases


@pytest.fixture
def received(monkeypatch):
    """Return the signals that this process has received."""
    numbers = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(leases, "TERM", 0.4)
    monkeypatch.setattr(leases, "POLL", 0.02)


def steal(path) -> None:
    """Write the lease as a process of another machine."""
    path.upload(json.dumps({"machine": "other", "process": 1, "id": "x"}).encode())


def test_one_of_many_racers_wins(bucket):
    path, begin, end = bucket / ".lock", threading.Barrier(16), threading.Barrier(16)

    def race(_) -> bool:
        begin.wait()
        with storage.lock(path) as acquired:
            end.wait()
            return acquired

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(race, range(16))) == 1
    assert not path.exists()
    with storage.lock(path) as acquired:
        assert acquired


def test_renewed_lease_is_kept_and_a_silent_one_is_taken_over_by_one(bucket, quick):
    path = bucket / ".lock"
    with storage.lock(path), storage.lock(path, patient=True) as acquired:
        assert not acquired
    steal(path)
    assert not acquire(path), "nothing is known about the holder"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begin = time.monotonic()
        waits = []
        taken = list(pool.map(lambda _: acquire(path, waits.append), range(8)))
        assert sum(taken) == 1 and time.monotonic() - begin >= leases.TERM / 2
        assert len(waits) == 8


def acquire(path, on_wait=None) -> bool:
    """Return whether the lease could be had; keep it until the others have looked at it."""
    patience = {"patient": True, "on_wait": lambda: on_wait(1)} if on_wait else {}
    with storage.lock(path, **patience) as acquired:
        if acquired:
            time.sleep(2 * leases.TERM)
        return acquired


def test_lease_of_a_killed_process_of_this_machine_is_free_at_once(bucket, bucket_server):
    script = (
        "import os, signal; from gpt1_jax import storage\n"
        f"with storage.lock(storage.path({str(bucket / '.lock')!r})) as acquired:\n"
        "    assert acquired; os.kill(os.getpid(), signal.SIGKILL)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script])
    assert holder.wait(60) == -signal.SIGKILL
    assert (bucket / ".lock").is_file() and storage.is_locked_by(bucket / ".lock", holder.pid)
    with storage.lock(bucket / ".lock") as acquired:
        assert acquired and not storage.is_locked_by(bucket / ".lock", holder.pid)


def test_stolen_lease_stops_the_process_and_its_writes(bucket, quick, received, capfd):
    path = bucket / "run/.lock"
    with storage.lock(path, guards=bucket / "run") as acquired:
        assert acquired
        storage.confirm(path)
        storage.write_text(bucket / "run/a", "mine")
        steal(path)
        while not received:  # the thread that renews it
            time.sleep(0.01)
        with pytest.raises(SystemExit) as caught:
            storage.confirm(path)
        assert caught.value.code == 128 + signal.SIGTERM
        with pytest.raises(storage.BucketError, match="another process has taken over gs://"):
            storage.write_text(bucket / "run/a", "mine again")
        storage.write_text(bucket / "other", "")
    assert storage.read_json(path)["machine"] == "other", "the other's lease is left alone"
    assert (bucket / "run/a").read_text() == "mine"
    assert "another process has taken over this lock; this one stops" in capfd.readouterr().err
    with storage.lock(path, guards=bucket / "run") as acquired:
        assert not acquired


def test_confirm_finds_a_stolen_lease_before_the_thread(bucket, received):
    path = bucket / ".lock"
    with storage.lock(path):
        steal(path)
        with pytest.raises(SystemExit):
            storage.confirm(path)
    assert received == [signal.SIGTERM]


def test_lease_that_was_deleted_by_hand_is_written_again(bucket, quick):
    path = bucket / ".lock"
    with storage.lock(path):
        path.unlink()
        while not path.exists():
            time.sleep(0.02)
        storage.confirm(path)
