"""Run the jobs of an ablation in worker processes on this machine."""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

from ml_collections import ConfigDict

from gpt1_jax import signals, storage
from gpt1_jax.engine import devices
from gpt1_jax.runs import job_queue
from gpt1_jax.trainers.ablation_runs import list_runs


@contextlib.contextmanager
def start_workers(config: ConfigDict, path: str, count: int) -> Iterator["Workers"]:
    """Start `count` worker processes. Terminate them at the end of the block.

    SIGINT, SIGTERM and SIGHUP end the block, too. Unfinished runs save a checkpoint first. A second
    signal kills the workers.

    Args:
        config: configuration of the ablation.
        path: its folder.
        count: number of processes; the CPU cores are divided among them.
    """
    workers = Workers(config, path, count)
    with signals.SignalHandler(signals.stop):
        try:
            for number in range(count):
                workers.start(number)
            yield workers
        finally:
            workers.stop()


class Workers:
    """Hold the worker processes of an ablation. Arguments as for `start_workers`."""

    def __init__(self, config: ConfigDict, path: str, count: int):
        self._config, self._path, self._count = config, path, count
        self._context = multiprocessing.get_context("spawn")
        self._processes = {}
        self._restarts = 0

    def start(self, number: int) -> None:
        """Start worker `number`."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) >= self._count:
            cores = cores[number :: self._count]
        arguments = self._config, self._path, number, cores
        self._processes[number] = self._context.Process(target=_work, args=arguments)
        resource_tracker.ensure_running()  # its start would unblock SIGINT in the block below
        with signals.keep_from_children():
            self._processes[number].start()

    def are_running(self) -> bool:
        """Return whether a worker is left. Record the jobs of crashed workers and restart these.

        Raises:
            RuntimeError: more crashes occurred than there are workers.
        """
        folder = storage.path(self._path)
        for number, process in list(self._processes.items()):
            code = process.exitcode
            if code is None:
                continue
            del self._processes[number]
            for name in job_queue.locked_by(folder, process.pid):
                error = f"its process ended with code {code}; out of memory?"
                job_queue.record_failure(folder, name, error)
            # Restart even if no job was recorded: another worker may have taken the job over.
            if code and self._restarts < self._count:
                self._restarts += 1
                self.start(number)
            elif code:
                log = _log(self._path, number)
                raise RuntimeError(f"worker {number} ended with code {code}; see {log}")
        return bool(self._processes)

    def stop(self) -> None:
        """Terminate the workers. Wait until they have saved their runs."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join()


def _work(config: ConfigDict, path: str, number: int, cores: Sequence[int]) -> None:
    """Run the pending jobs in this process. Append its output to workers/NUMBER.log."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    os.sched_setaffinity(0, cores)  # before jax counts them
    log = _log(path, number)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    devices.initialize("off")
    jobs = job_queue.shard_jobs(list_runs(config, path).jobs(), config.shard)
    job_queue.run_jobs(jobs, storage.path(path))


def _log(path: str, number: int) -> pathlib.Path:
    """Return the file, always of this machine, for the output of worker `number`."""
    folder = storage.path(path)
    if isinstance(folder, storage.BucketPath):
        name = "_".join(folder.parts[1:])
        folder = pathlib.Path(tempfile.gettempdir()) / f"gpt1_jax_{os.getuid()}" / name
    return folder / "workers" / f"{number}.log"


def _exit_with_parent(parent: BaseProcess) -> None:
    """Kill this process when its parent process ends, however it ends."""
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
