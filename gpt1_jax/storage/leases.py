"""Lock names in a bucket by leases.

A lease is an object that its holder creates and renews every TERM / 4 seconds. Each write has a
precondition on the generation of the object, so one of several writers wins. A process that has
seen no renewal for TERM seconds of its own clock takes the lease over; the clocks of two machines
are not compared. It takes it over at once if the holder was a process of this machine that has
ended.

A holder that finds its lease taken over ends its process by SIGTERM, and `confirm`, which it calls
before it writes what others must not overwrite, ends it too.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from gpt1_jax.storage import bucket
from gpt1_jax.storage.bucket import BucketPath

TERM = 60.0  # seconds
POLL = 2.0  # seconds between two looks at a lease

_held: dict[BucketPath, "_Holder"] = {}
_observed: dict[
    BucketPath, tuple[int, float]
] = {}  # generation, and when this process first saw it


def is_stale(path: BucketPath, generation: int) -> bool:
    """Return whether this process has seen the lease at this generation for TERM seconds."""
    now = time.monotonic()
    known, since = _observed.get(path, (None, now))
    if known != generation:
        since = now
    _observed[path] = generation, since
    return now - since >= TERM


@contextlib.contextmanager
def lease(
    path: BucketPath,
    guards: BucketPath | None,
    wait: bool,
    patient: bool,
    on_wait: Callable[[], None],
) -> Iterator[bool]:
    """Hold the lease `path` for the duration of the block; see `locks.lock` for the arguments."""
    owner = _describe()
    bucket.lost.discard(guards)
    generation = _acquire(path, owner, wait, patient, on_wait)
    if generation is None:
        yield False
        return
    holder = _held[path] = _Holder(path, guards, owner, generation)
    try:
        yield True
    finally:
        del _held[path]
        holder.release()


def _acquire(
    path: BucketPath, owner: bytes, wait: bool, patient: bool, on_wait: Callable[[], None]
) -> int | None:
    """Return the generation of the lease; None if another process holds it."""
    first = None  # the generation of the holder
    while True:
        try:
            return path.upload(owner, 0)
        except FileExistsError:
            pass
        try:
            content, generation = path.read()
            if content == owner:  # the answer to an earlier attempt was lost
                return generation
            if is_stale(path, generation) or _is_dead(content):
                return path.upload(owner, generation)
        except FileNotFoundError:
            continue  # released in between
        except FileExistsError:  # another process was faster
            generation = None
        if not wait and (not patient or first not in (None, generation)):
            return None
        if first is None:
            on_wait()
            first = generation
        time.sleep(POLL)


def confirm(path: BucketPath) -> None:
    """Renew the lease now.

    Raises:
        SystemExit: another process holds it; the exit code is that of SIGTERM.
        OSError: the bucket does not answer.
    """
    holder = _held.get(path)
    if holder is not None and not holder.renew():
        raise SystemExit(128 + signal.SIGTERM)


class _Holder:
    """Renew a lease in a thread until `release`."""

    def __init__(self, path: BucketPath, guards: BucketPath | None, owner: bytes, generation: int):
        self._path, self._guards = path, guards
        self._owner, self._generation = owner, generation
        self._lock, self._end = threading.Lock(), threading.Event()
        self._is_lost = False
        threading.Thread(target=self._keep, daemon=True, name=f"lease {path}").start()

    def _keep(self) -> None:
        while not self._end.wait(TERM / 4):
            with contextlib.suppress(OSError):  # the next attempt may succeed
                if not self.renew():
                    return

    def renew(self) -> bool:
        """Renew the lease; return False if another process has taken it over."""
        with self._lock:
            if self._end.is_set() or self._is_lost:
                return not self._is_lost
            try:
                self._generation = self._path.upload(self._owner, self._generation)
            except FileExistsError:
                try:
                    content, generation = self._path.read()
                except FileNotFoundError:  # deleted by hand
                    content, generation = self._owner, 0
                if content == self._owner:
                    self._generation = generation
                else:
                    self._lose()
            return not self._is_lost

    def _lose(self) -> None:
        self._is_lost = True
        if self._guards is not None:
            bucket.lost.add(self._guards)
        print(
            f"gpt1_jax: {self._path}: another process has taken over this lock; this one stops and "
            "saves nothing more",
            file=sys.stderr,
            flush=True,
        )
        os.kill(os.getpid(), signal.SIGTERM)

    def release(self) -> None:
        """Delete the lease, unless another process holds it."""
        self._end.set()
        with self._lock, contextlib.suppress(OSError):
            if not self._is_lost:
                self._path.unlink(missing_ok=True, generation=self._generation)


def is_held_by(path: BucketPath, process: int) -> bool:
    """Return whether process `process` of this machine holds the lease, or died holding it."""
    try:
        owner = _parse(path.read_bytes())
    except FileNotFoundError:
        return False
    return owner.get("machine") == _machine() and owner.get("process") == process


def _describe() -> bytes:
    """Return what names this holder: its machine and process, and a word that no other has."""
    process = os.getpid()
    owner = {"machine": _machine(), "process": process, "started": _start(process)}
    return json.dumps({**owner, "id": uuid.uuid4().hex}).encode()


def _is_dead(content: bytes) -> bool:
    """Return whether the holder was a process of this machine, and has ended."""
    owner = _parse(content)
    if owner.get("machine") != _machine() or not isinstance(owner.get("process"), int):
        return False
    return _start(owner["process"]) != owner.get("started")


def _parse(content: bytes) -> dict:
    with contextlib.suppress(ValueError):
        owner = json.loads(content)
        if isinstance(owner, dict):
            return owner
    return {}


def _machine() -> str:
    """Return what two processes share if they see each other: the boot, and the process ids."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _start(process: int) -> str:
    """Return when a process of this machine started; "" if there is none."""
    try:
        status = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
