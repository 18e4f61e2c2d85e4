"""The whole factory: pretrain each body once, probe its checkpoints, finetune every cell of the matrix, one report.

Each of them is a run in its own folder below this one; what is finished is not done again, and several processes or machines may share
the work (runs/job_queue.py).
"""

import collections
import contextlib
import functools
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import jax
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.analysis.report import milestones, page
from gpt1_jax.engine import devices, preemption
from gpt1_jax.errors import UserError
from gpt1_jax.microworld import files as microworld
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.runs import job_queue, lifecycle, log
from gpt1_jax.runs.job_queue import Job
from gpt1_jax.trainers import config_checks, cost
from gpt1_jax.trainers.grid import Matrix, matrix

# Settings that say how much is done and by whom, not what a run computes: they may change from start to start.
FREE = (
    "seeds",
    "tasks",
    "shard",
    "workers",
    "estimate_cost",
    "experiments",
    "zero_shot_bodies",
    "variants",
    *lifecycle.CHANGEABLE,
)


@TRAINERS.register("ablate")
def ablate(config: ConfigDict, path: str) -> dict:
    """Runs what is missing below the folder `path`, as far as it is of config.shard, and writes the report of all that is finished.

    Raises:
        SystemExit: 1 when a run has failed; the others are finished, and the report says which and why.
    """
    path = os.path.abspath(
        path
    )  # runs name each other; they are the same ones however the folder is typed
    runs, layout = _runs(config, path)  # mistakes are told before anything is made
    jobs = _jobs(runs)
    mine = job_queue.shard_jobs(jobs, config.shard)
    if config.estimate_cost:
        return cost.estimate_cost(config, runs)
    if jax.process_count() > 1:
        raise UserError(
            "--multihost=on: an ablation's runs are shared out by --config.shard, a machine each; leave it off"
        )
    folder = pathlib.Path(path)
    with job_queue.job_lock(
        folder, "start", wait=True
    ):  # of several that start at once, one writes
        lifecycle.store_config(folder, config.to_dict(), free=FREE)
        for name, run in runs.items():
            lifecycle.check_config(folder / name, run.to_dict())
        known = storage.read_json(folder / "cells.json", missing={})
        storage.write_json(folder / "cells.json", _united(known, layout))
        if config.world.words:
            world = config.world
            microworld.write(
                folder / "data",
                seed=world.seed,
                words=world.words,
                train=world.train,
                dev=world.dev,
            )
    job_queue.clear_failures(mine, folder)
    with contextlib.closing(log.Log(folder)) as told:
        _run(config, path, mine, told)
        failed = {job.name: error for job in mine if (error := job_queue.failure(folder, job.name))}
        with job_queue.job_lock(folder, "start", wait=True):
            result = {
                "trainer": "ablate",
                "cells": {
                    job.name: _score(folder, job.name)
                    for job in jobs
                    if job_queue.is_finished(folder, job.name)
                },
            }
            if len(result["cells"]) == len(jobs):
                storage.write_json(folder / "result.json", result)
            else:
                (folder / "result.json").unlink(missing_ok=True)  # of a smaller matrix
        for name, error in failed.items():
            told.line(f"failed: {name}: {error}")
        told.line(f"report: {page.write(folder)}")
    if failed:
        print(
            f"gpt1_jax: {len(failed)} of {len(mine)} runs failed; the same command tries them again",
            file=sys.stderr,
        )
        raise SystemExit(1)
    return result


def _runs(config: ConfigDict, path: str) -> tuple[dict[str, ConfigDict], dict]:
    """The configuration of every run below `path`, and cells.json: what the report reads of them; UserError for a value that cannot be."""
    config_checks.check(config)
    corpus_path, tasks_path = config.corpus_path, config.tasks_path
    if config.world.words:
        corpus_path, tasks_path = corpus_path or f"{path}/data/novels", tasks_path or f"{path}/data"
    pretrained = {
        body: config.pretrained[body] or f"{path}/pretrain_{body}" for body in config.pretrain
    }
    found = matrix(config, pretrained, tasks_path)
    bodies = sorted(
        {cell.model.name for cell in found.cells.values()} | set(config.zero_shot_bodies),
        reverse=True,
    )
    configs = {}
    for body in bodies:
        if not config.pretrained[body]:  # nobody has done it yet
            configs[f"pretrain_{body}"] = run = config.pretrain[body].copy_and_resolve_references()
            with run.unlocked():
                run.data.path = corpus_path
            run.checkpoint.keep_steps += milestones.grid(
                run.steps
            )  # whether they are probed now or later
        if body in config.zero_shot_bodies:
            configs[f"zero_shot_{body}"] = run = config.zero_shot.copy_and_resolve_references()
            with run.unlocked():
                run.init.path, run.data.path = pretrained[body], tasks_path
    configs |= found.cells
    for run in configs.values():
        section = f"pretrain.{run.model.name}." if run.trainer == "pretrain" else f"{run.trainer}."
        config_checks.check(run, section)
    return configs, _layout(config, found, bodies)


def _jobs(runs: Mapping[str, ConfigDict]) -> list[Job]:
    """The runs as jobs; what starts from a pretraining below the same folder needs it first."""

    def job(name, config):
        origin = pathlib.Path(config.init.path).name if "init" in config else ""

        return Job(
            name,
            (origin,) if origin in runs else (),
            functools.partial(TRAINERS[config.trainer], config),
        )

    return [job(name, config) for name, config in runs.items()]


def _layout(config: ConfigDict, found: Matrix, bodies: Sequence[str]) -> dict:
    experiments = {
        name: {
            "setting": config.experiments[name].setting,
            "points": [point._asdict() for point in points],
        }
        for name, points in found.points.items()
    }
    return {
        "experiments": experiments,
        "pretrain": {body: config.pretrained[body] or f"pretrain_{body}" for body in bodies},
        "zero_shot": {body: f"zero_shot_{body}" for body in config.zero_shot_bodies},
    }


def _united(known: Mapping, layout: Mapping) -> dict:
    """cells.json of an earlier start and of this one: what was asked of the folder before stays in the report."""
    experiments = {**known.get("experiments", {}), **layout["experiments"]}
    for name, before in known.get("experiments", {}).items():
        if (
            name in layout["experiments"]
            and before["setting"] == layout["experiments"][name]["setting"]
        ):
            points = {
                tuple(list(point.values())[:4]): point
                for point in before["points"] + layout["experiments"][name]["points"]
            }
            experiments[name] = {**before, "points": list(points.values())}
    others = {key: {**known.get(key, {}), **layout[key]} for key in ("pretrain", "zero_shot")}
    return {"experiments": experiments, **others}


def _score(folder: pathlib.Path, name: str) -> dict:
    """What two runs of the same matrix may be compared by."""
    result = storage.read_json(folder / name / "result.json")
    told = {
        key: result[key] for key in ("params_sha256", "probes", "validation_loss") if key in result
    }
    if result["trainer"] == "finetune":
        task = TASKS[result["task"]]
        told[task.metrics[0]] = result["metrics"][task.validation[0]][task.metrics[0]]
    return told


def _run(config: ConfigDict, path: str, jobs: Sequence[Job], told: log.Log) -> None:
    """Does the jobs, here or in processes of their own, and says how far they are."""
    folder = pathlib.Path(path)
    pending = [job.name for job in jobs if not job_queue.is_done(folder, job.name)]
    workers = min(config.workers or _cores(), len(pending))
    told.line(
        f"{len(jobs)} runs, {len(pending)} of them to do, by {max(workers, 1)} process{'es' * (workers > 1)}"
    )
    elsewhere = {need for job in jobs for need in job.needs} - {job.name for job in jobs}
    if missing := sorted(name for name in elsewhere if not job_queue.is_finished(folder, name)):
        told.line(f"waits for {', '.join(missing)}: another part's to do")
    todo, ends = len(pending), collections.deque([time.monotonic()], maxlen=11)

    def look(advance=lambda done, total: None):
        for name in [name for name in pending if job_queue.is_done(folder, name)]:
            pending.remove(name)
            done = todo - len(pending)
            ends.append(time.monotonic())
            left = (
                (ends[-1] - ends[0]) / (len(ends) - 1) * len(pending)
            )  # as fast as the last ten; pretraining tells nothing of the cells
            told.line(
                f"[{done}/{todo}, {left / 60:.0f} min left] {name}: {job_queue.failure(folder, name) or _summary(folder, name)}"
            )
            advance(done, todo)

    if workers <= 1:
        job_queue.run_jobs(jobs, folder, lambda _: look())
        return
    with told.bar("runs") as advance, _workers(config, path, workers) as alive:
        while alive():
            time.sleep(job_queue.WAIT)
            look(advance)


def _summary(folder: pathlib.Path, name: str) -> str:
    values = [
        f"{key} {value:.4g}"
        for key, value in _score(folder, name).items()
        if isinstance(value, float)
    ]
    return "  ".join(values) or "finished"


def _cores() -> int:
    """How many processes use this machine well: small models leave all but one CPU core idle, an accelerator has one owner."""
    return len(os.sched_getaffinity(0)) if jax.default_backend() == "cpu" else 1


@contextlib.contextmanager
def _workers(config: ConfigDict, path: str, count: int):
    """Starts processes that do the jobs, each on its share of the cores; yields whether any is left, replacing those that died."""
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))
    running, crashes = {}, []

    def start(number):
        own = cores[number::count] if len(cores) >= count else cores
        running[number] = context.Process(target=_worker, args=(config, path, number, own))
        running[number].start()

    def alive():
        for number, process in list(running.items()):
            if process.exitcode is None:
                continue
            del running[number]
            for name in job_queue.locked_by(pathlib.Path(path), process.pid):
                job_queue.record_failure(
                    pathlib.Path(path),
                    name,
                    f"its process ended with code {process.exitcode}; out of memory?",
                )
            if process.exitcode and len(crashes) < count:  # a peer may have taken over what it held
                crashes.append(number)
                start(number)
            elif process.exitcode:
                raise RuntimeError(
                    f"process {number} ended with code {process.exitcode}; see {path}/workers/{number}.log"
                )
        return bool(running)

    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(preemption.TERMINATED))
    try:
        for number in range(count):
            start(number)
        yield alive
    finally:
        for process in running.values():
            process.terminate()  # the run in it saves itself
        for process in running.values():
            process.join()
        signal.signal(signal.SIGTERM, previous)


def _worker(config: ConfigDict, path: str, number: int, cores: Sequence[int]) -> None:
    """A process of its own: does the jobs that are left, its words in workers/<number>.log."""
    threading.Thread(
        target=job_queue.exit_with_parent, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    os.sched_setaffinity(0, cores)  # before jax counts them
    told = pathlib.Path(path) / "workers" / f"{number}.log"
    told.parent.mkdir(exist_ok=True)
    with open(told, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    devices.initialize("off")
    runs, _ = _runs(config, path)
    job_queue.run_jobs(job_queue.shard_jobs(_jobs(runs), config.shard), pathlib.Path(path))
