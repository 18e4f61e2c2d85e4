"""Reproduce the paper: pretrain, probe and finetune every run of an ablation, and write one report.

Each run has its own folder below the ablation's. A finished run is not repeated. Several processes
or machines may share the runs (runs/job_queue.py).
"""

import collections
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from gpt1_jax import inputs, storage
from gpt1_jax.analysis.report import page
from gpt1_jax.analysis.report.cells import read_cells
from gpt1_jax.analysis.report.fields import FINETUNING
from gpt1_jax.errors import UserError
from gpt1_jax.microworld import files as microworld
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.runs import job_queue, lifecycle, log
from gpt1_jax.runs.job_queue import Job
from gpt1_jax.trainers import cost
from gpt1_jax.trainers.ablation_runs import NO_CELLS, AblationRuns, list_runs, merge_cells
from gpt1_jax.trainers.workers import start_workers

# Settings that select runs and processes. They do not change what a run computes, so they may
# differ between two starts in one folder.
CHANGEABLE = (
    "seeds",
    "tasks",
    "shard",
    "workers",
    "estimate_cost",
    "experiments",
    "sweep",
    "sweep_tasks",
    "probed_pretrainings",
    "pretrainings",
    "variants",
    *lifecycle.CHANGEABLE,
    # Places, as lifecycle.PATHS.
    "corpus_path",
    "tasks_path",
    "pretrained",
)


@TRAINERS.register("ablate")
def ablate(config: ConfigDict, path: str) -> dict:
    """Run the pending runs of config.shard and write the report. Return the content of result.json.

    Args:
        config: see configs/ablations.py.
        path: folder of the ablation.

    Raises:
        UserError: a setting has an impossible value, or the folder belongs to other settings.
        SystemExit: code 1 if a run failed. The others are finished. The report names the error.
    """
    if config.compile_for and not config.estimate_cost:
        raise UserError(
            "config.compile_for: nothing runs on a machine that is not there; add "
            "--config.estimate_cost=True"
        )
    if not storage.is_address(path):
        path = os.path.abspath(path)  # runs store each other's paths
    runs = list_runs(config, path)
    jobs = runs.jobs()
    shard = job_queue.shard_jobs(jobs, config.shard)
    if config.estimate_cost:
        return cost.estimate_cost(config, runs)
    if jax.process_count() > 1:
        raise UserError(
            "--multihost=on: the runs of an ablation are divided among machines by --config.shard; "
            "leave --multihost out"
        )
    folder = storage.path(path)
    _prepare_folder(config, folder, runs)
    job_queue.clear_failures(shard, folder)
    with contextlib.closing(log.Log(folder)) as run_log:
        _run_jobs(config, folder, shard, run_log)
        result, unusable = _collect_result(folder, jobs)
        errors = {
            job.name: job_queue.failure(folder, job.name) or unusable.get(job.name) for job in shard
        }
        errors = {name: error for name, error in errors.items() if error}
        for name, error in errors.items():
            run_log.line(f"failed: {name}: {error}")
        run_log.line(f"report: {page.write(folder)}")
    if errors:
        message = f"{len(errors)} of {len(shard)} runs failed; repeat the command to try them again"
        print(f"gpt1_jax: {message}", file=sys.stderr)
        raise SystemExit(1)
    return result


def _prepare_folder(config: ConfigDict, folder: storage.Path, runs: AblationRuns) -> None:
    """Write config.json, cells.json and the data of the microworld.

    Raises:
        UserError: the folder or one of its runs was started with other settings.
    """
    with job_queue.job_lock(folder, "start", wait=True):
        lifecycle.store_config(folder, config.to_dict(), changeable=CHANGEABLE)
        for name, run in runs.configs.items():
            if _has_readable_config(folder / name):
                lifecycle.check_config(folder / name, run.to_dict())
        earlier_cells = read_cells(folder, missing=NO_CELLS)
        storage.write_json(folder / "cells.json", merge_cells(earlier_cells, runs.cells))
        world = config.world
        if world.words:
            microworld.write(
                folder / "data",
                seed=world.seed,
                words=world.words,
                train=world.train,
                dev=world.dev,
            )
        _check_moved(folder, runs)


def _check_moved(folder: storage.Path, runs: AblationRuns) -> None:
    """Check that the finished runs have read what a further run would read now.

    If a place of the data has changed, one run of each data set and pretraining run compares the
    content with its record. Unfinished runs do so when they are resumed.

    Raises:
        UserError: the content differs.
    """
    checked = set()
    for name, run in runs.configs.items():
        values = run.to_dict()
        if not job_queue.is_finished(folder, name) or not _has_readable_config(folder / name):
            continue
        if not lifecycle.has_moved(folder / name, values):
            continue
        read = [values.get(key) for key in ("trainer", "task", "data", "tokenizer", "init")]
        key = json.dumps(read, sort_keys=True)
        if key in checked:
            lifecycle.store_config(folder / name, values)
        else:
            TRAINERS[run.trainer](run, str(folder / name))
        checked.add(key)


def _run_jobs(
    config: ConfigDict, folder: storage.Path, jobs: Sequence[Job], run_log: log.Log
) -> None:
    """Run the jobs in this process or in worker processes. Log each job that ends."""
    progress = _Progress(folder, jobs, run_log)
    workers = max(min(config.workers or _default_workers(), len(progress.pending)), 1)
    processes = "1 process" if workers == 1 else f"{workers} processes"
    run_log.line(f"{len(jobs)} runs, {len(progress.pending)} pending, {processes}")
    names = {job.name for job in jobs}
    missing = {
        name
        for job in jobs
        for name in job.needs
        if name not in names and not job_queue.is_finished(folder, name)
    }
    if missing:
        run_log.line(f"waiting for other shards: {', '.join(sorted(missing))}")
    if workers == 1:
        job_queue.run_jobs(jobs, folder, lambda _: progress.update())
        return
    with (
        run_log.bar("runs") as advance,
        start_workers(config, str(folder), workers) as pool,
    ):
        while pool.are_running():
            time.sleep(job_queue.WAIT)
            progress.update(advance)


class _Progress:
    """Log the jobs that end, and estimate the remaining time.

    Attributes:
        pending: names of the jobs that have not ended.
    """

    def __init__(self, folder: storage.Path, jobs: Sequence[Job], run_log: log.Log):
        self.pending = [job.name for job in jobs if not job_queue.is_done(folder, job.name)]
        self._folder, self._log, self._total = folder, run_log, len(self.pending)
        # The last ten jobs only: the time of pretraining says nothing about finetuning.
        self._ends = collections.deque([time.monotonic()], maxlen=11)

    def update(self, advance: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Log the jobs that ended since the last call; call `advance(done, total)` for each."""
        for name in [name for name in self.pending if job_queue.is_done(self._folder, name)]:
            self.pending.remove(name)
            self._ends.append(time.monotonic())
            seconds_per_job = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
            minutes = seconds_per_job * len(self.pending) / 60
            done = self._total - len(self.pending)
            outcome = job_queue.failure(self._folder, name) or _outcome(self._folder, name)
            self._log.line(f"[{done}/{self._total}, {minutes:.0f} min left] {name}: {outcome}")
            advance(done, self._total)


def _has_readable_config(folder: storage.Path) -> bool:
    """Return False if config.json is damaged, which is an error of this run and not of all."""
    try:
        inputs.read_object(folder / "config.json", missing={})
    except UserError:
        return False
    return True


def _collect_result(folder: storage.Path, jobs: Sequence[Job]) -> tuple[dict, dict[str, str]]:
    """Return the scores of all finished runs. Write them to result.json if no run is missing.

    Also return name -> error of the runs whose results cannot be used.
    """
    cells, unusable = {}, {}
    with job_queue.job_lock(folder, "start", wait=True):
        for job in jobs:
            if job_queue.is_finished(folder, job.name):
                try:
                    cells[job.name] = _scores(folder, job.name)
                except UserError as error:
                    unusable[job.name] = str(error)
        result = {"trainer": "ablate", "cells": cells}
        if len(cells) == len(jobs):
            storage.write_json(folder / "result.json", result)
        else:  # an earlier start with fewer runs may have written one
            (folder / "result.json").unlink(missing_ok=True)
    return result, unusable


def _scores(folder: storage.Path, name: str) -> dict:
    """Return the results of a finished run that a repetition must reproduce.

    Raises:
        UserError: result.json does not have the fields of a result.
    """
    file = folder / name / "result.json"
    result = inputs.read_object(file, {"trainer": str}, damaged=lifecycle.REPEAT)
    keys = ("params_sha256", "probes", "validation_loss")
    scores = {key: result[key] for key in keys if key in result}
    if result["trainer"] == "finetune":
        inputs.check_fields(result, FINETUNING, str(file), lifecycle.REPEAT)
        task = TASKS[result["task"]]
        metric, split = task.metrics[0], task.validation[0]
        field = {f"metrics.{split}.{metric}": float}
        inputs.check_fields(result, field, str(file), lifecycle.REPEAT)
        scores[metric] = result["metrics"][split][metric]
    return scores


def _outcome(folder: storage.Path, name: str) -> str:
    """Return the scores of a finished run as text."""
    try:
        scores = _scores(folder, name).items()
    except UserError as error:
        return str(error)
    numbers = [f"{key} {value:.4g}" for key, value in scores if isinstance(value, float)]
    return "  ".join(numbers) or "finished"


def _default_workers() -> int:
    """Return how many processes to use: one per CPU core, or one on accelerators.

    A small model uses only one CPU core. Only one process can use an accelerator.
    """
    return len(os.sched_getaffinity(0)) if jax.default_backend() == "cpu" else 1
