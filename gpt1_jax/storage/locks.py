"""Lock a name for one process: by `flock` on a disk, by a lease in a bucket."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

from gpt1_jax.storage import leases
from gpt1_jax.storage.bucket import BucketPath
from gpt1_jax.storage.paths import Path


def lock(
    path: Path,
    wait: bool = False,
    on_wait: Callable[[], None] = lambda: None,
    patient: bool = False,
    guards: Path | None = None,
) -> contextlib.AbstractContextManager[bool]:
    """Return a block that acquires the lock `path` for its duration.

    The block yields False if another process holds the lock, unless `wait` is True. The system
    releases the lock when the process ends, however it ends; in a bucket it is free a minute later
    (`leases.py`). While it is held, the file names the process (`is_locked_by`).

    Args:
        path: the lock's file; its folder is created.
        wait: wait until the lock is free, and yield True.
        on_wait: called once before waiting.
        patient: in a bucket, wait as long as it takes to see whether the holder is alive.
        guards: in a bucket, the folder that this process must not write any more if another one
            takes the lock over.

    Raises:
        OSError: the file cannot be opened.
    """
    if isinstance(path, BucketPath):
        assert guards is None or isinstance(guards, BucketPath)
        return leases.lease(path, guards, wait, patient, on_wait)
    return _flock(path, wait, on_wait)


def confirm(path: Path) -> None:
    """Make sure that this process still holds the lock, which it always does on a disk.

    Raises:
        SystemExit: another process has taken the lock over.
        OSError: the bucket does not answer.
    """
    if isinstance(path, BucketPath):
        leases.confirm(path)


@contextlib.contextmanager
def _flock(path: pathlib.Path, wait: bool, on_wait: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock of the system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A link is refused, because the lock's file is emptied and written.
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(_owner(os.getpid()))
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


def is_locked_by(path: Path, process: int) -> bool:
    """Return whether process `process` of this machine holds the lock, or died holding it."""
    if isinstance(path, BucketPath):
        return leases.is_held_by(path, process)
    try:
        return path.read_text() == _owner(process)
    except FileNotFoundError:
        return False


def _owner(process: int) -> str:
    return f"{socket.gethostname()} {process}"
