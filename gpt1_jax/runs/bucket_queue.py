"""Know from few requests which jobs of a folder in a bucket are done, failed or running.

The jobs of an ablation are many, and every process that waits would ask for each of them. So a
process that ends a job also writes an empty object, a mark, beside the locks:

    .locks/NAME             the lease of a running job
    .locks/finished/NAME    the mark of a job whose folder has result.json
    .locks/failed/NAME      the mark of a job whose folder has failed.json

One listing of .locks/, at most every INTERVAL seconds, shows all of them. The first one lists the
whole folder instead, and deletes marks of results that are gone.
"""

import functools
import time

from gpt1_jax import storage
from gpt1_jax.storage import leases

INTERVAL = 10.0  # seconds
LOCKS = ".locks"  # folder of the jobs' locks, below the folder of the jobs
FINISHED, FAILED = "finished", "failed"
FILES = {"result.json": FINISHED, "failed.json": FAILED}


class Board:
    """Hold what is known about the jobs in a folder."""

    def __init__(self, folder: storage.BucketPath):
        self._folder = folder
        self._done: dict[str, set[str]] = {FINISHED: set(), FAILED: set()}
        self._running: dict[str, int] = {}  # job -> generation of its lease; 0 if it is not known
        self._next: float | None = None  # the time of the next listing

    def is_in(self, state: str, name: str) -> bool:
        """Return whether the job is in a state, FINISHED or FAILED."""
        self._refresh()
        return name in self._done[state]

    def may_run(self, name: str) -> bool:
        """Return whether no process seems to run the job."""
        self._refresh()
        if name not in self._running:
            return True
        generation = self._running[name]
        return bool(generation) and leases.is_stale(self._folder / LOCKS / name, generation)

    def note_running(self, name: str) -> None:
        """Note that another process runs the job, until the next listing."""
        self._running[name] = 0

    def mark(self, state: str, name: str) -> None:
        """Note for all processes that the job is in a state."""
        storage.write_bytes(self._mark(state, name), b"")
        self._done[state].add(name)

    def unmark(self, state: str, name: str) -> None:
        """Note for all processes that the job is not in a state any more."""
        self._mark(state, name).unlink(missing_ok=True)
        self._done[state].discard(name)

    def _mark(self, state: str, name: str) -> storage.BucketPath:
        return self._folder / LOCKS / state / name

    def _refresh(self) -> None:
        """List the locks and the marks, unless that was done just now."""
        now = time.monotonic()
        if self._next is None:
            self._list_all()
        elif now >= self._next:
            self._list_marks()
        else:
            return
        self._next = time.monotonic() + INTERVAL

    def _list_marks(self) -> None:
        locks = self._folder / LOCKS
        marks, self._running = {FINISHED: set(), FAILED: set()}, {}
        for item in locks.objects():
            first, _, name = item.name.removeprefix(f"{locks.key}/").partition("/")
            if name and first in marks:
                marks[first].add(name)
            elif not name:
                self._running[first] = int(item.generation)
                leases.is_stale(locks / first, int(item.generation))  # begins to count
        self._done[FINISHED] |= marks[FINISHED]
        self._done[FAILED] = marks[FAILED]  # another process may have cleared one

    def _list_all(self) -> None:
        found = {FINISHED: set(), FAILED: set()}
        for item in self._folder.objects():
            parts = item.name.removeprefix(f"{self._folder.key}/").split("/")
            if len(parts) == 2 and parts[1] in FILES:
                found[FILES[parts[1]]].add(parts[0])
        self._list_marks()
        # A job may have ended between the two listings, so look at the file itself.
        for state, marked in self._done.items():
            for name in marked - found[state]:
                file = next(file for file, written in FILES.items() if written == state)
                if not (self._folder / name / file).is_file():
                    self._mark(state, name).unlink(missing_ok=True)
                else:
                    found[state].add(name)
        for name in found[FAILED] - self._done[FAILED]:
            self.mark(FAILED, name)
        self._done = found


@functools.cache
def board(folder: storage.BucketPath) -> Board:
    """Return the board of a folder, one for this process."""
    return Board(folder)
