"""List the runs of an ablation: configurations, jobs, and cells.json."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax.errors import UserError
from gpt1_jax.registry import TRAINERS
from gpt1_jax.runs.job_queue import Job
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.grid import Grid, build_grid
from gpt1_jax.trainers.pretrainings import Pretraining, Pretrainings
from gpt1_jax.trainers.sweep import add_sweep

NO_CELLS = {"experiments": {}, "pretrain": {}, "zero_shot": {}}  # cells.json without any run


class AblationRuns(NamedTuple):
    """Hold the runs of an ablation.

    Attributes:
        configs: name of the run and of its folder -> configuration, in the order of execution.
        pretrainings: name of the run -> its pretraining.
        cells: content of cells.json, which tells the report which run gives which point.
    """

    configs: dict[str, ConfigDict]
    pretrainings: dict[str, Pretraining]
    cells: dict

    def jobs(self) -> list[Job]:
        """Return the runs as jobs. A run needs the pretraining run that it starts from."""
        jobs = []
        for name, config in self.configs.items():
            origin = pathlib.Path(config.init.path).name if "init" in config else ""
            needs = (origin,) if origin in self.configs else ()
            jobs.append(Job(name, needs, functools.partial(TRAINERS[config.trainer], config)))
        return jobs


def list_runs(config: ConfigDict, path: str) -> AblationRuns:
    """Return the runs of an ablation in the folder `path`. Write nothing.

    Raises:
        UserError: a setting has an impossible value.
    """
    config_checks.check(config)
    config = add_sweep(config)
    corpus_path, tasks_path = config.corpus_path, config.tasks_path
    if config.world.words:
        corpus_path = corpus_path or f"{path}/data/novels"
        tasks_path = tasks_path or f"{path}/data"
    pretrainings = Pretrainings(config, path, corpus_path)
    grid = build_grid(config, pretrainings, tasks_path)
    runs = _pretraining_runs(config, grid, pretrainings)
    if not runs:
        raise UserError(
            "config.experiments: there is nothing to run; select an experiment, or give the axes "
            'of one, such as --config.sweep="epochs=2,4"'
        )
    entries = []  # (seed, name of the run, its configuration, its pretraining)
    for run in runs:
        pretraining, seed, is_probed = run
        if not pretraining.is_finished:
            entries.append((seed, run.name, pretraining.run_config(seed), pretraining))
        if is_probed:
            probe = _probe_config(config, pretraining.paths[seed], tasks_path)
            entries.append((seed, run.probe_name, probe, pretraining))
    for name, cell in grid.cells.items():
        entries.append((cell.seed, name, cell, grid.pretrainings[name]))
    # All runs of a seed before those of the next, so that every experiment gets a score early.
    entries.sort(key=lambda entry: entry[0])
    for _, _, run, pretraining in entries:
        section = f"pretrain.{pretraining.body}" if run.trainer == "pretrain" else run.trainer
        config_checks.check(run, f"{section}.")
    return AblationRuns(
        configs={name: run for _, name, run, _ in entries},
        pretrainings={name: pretraining for _, name, _, pretraining in entries},
        cells=_cells_json(config, grid, runs),
    )


class _PretrainingRun(NamedTuple):
    """Identify a pretraining run that an ablation uses, and tell if its checkpoints are probed."""

    pretraining: Pretraining
    seed: int
    is_probed: bool

    @property
    def name(self) -> str:
        """Return the name of the run."""
        return f"pretrain_{self.pretraining.name}_{self.seed}"

    @property
    def probe_name(self) -> str:
        """Return the name of the run of its probes."""
        return f"zero_shot_{self.pretraining.name}_{self.seed}"


def _pretraining_runs(
    config: ConfigDict, grid: Grid, pretrainings: Pretrainings
) -> list[_PretrainingRun]:
    """Return the pretraining runs that a cell starts from or that are probed."""
    used = {}
    for name, cell in grid.cells.items():
        pretraining = grid.pretrainings[name]
        seed = pretraining.seed(cell.seed)
        used[pretraining.name, seed] = _PretrainingRun(pretraining, seed, False)
    for name in config.probed_pretrainings:
        pretraining = pretrainings.named(name, "config.probed_pretrainings")
        for seed in range(len(pretraining.paths)):
            used[name, seed] = _PretrainingRun(pretraining, seed, True)
    return list(used.values())


def _probe_config(config: ConfigDict, pretrained: str, tasks_path: str) -> ConfigDict:
    """Return the configuration of the probes of a pretraining run."""
    run = config.zero_shot.copy_and_resolve_references()
    with run.unlocked():
        run.init.path, run.data.path = pretrained, tasks_path
    return run


def _cells_json(config: ConfigDict, grid: Grid, runs: Sequence[_PretrainingRun]) -> dict:
    """Return the content of cells.json."""
    experiments = {
        name: {
            "setting": config.experiments[name].setting,
            "points": [point._asdict() for point in points],
        }
        for name, points in grid.points.items()
    }
    folders = {"pretrain": {}, "zero_shot": {}}  # name of the pretraining -> seed -> folder
    for run in runs:
        name, seed = run.pretraining.name, str(run.seed)
        path = run.pretraining.paths[run.seed] if run.pretraining.is_finished else run.name
        folders["pretrain"].setdefault(name, {})[seed] = path
        if run.is_probed:
            folders["zero_shot"].setdefault(name, {})[seed] = run.probe_name
    return {"experiments": experiments, **folders}


def merge_cells(earlier: Mapping, new: Mapping) -> dict:
    """Return the cells.json of an earlier start with that of a new start added.

    Runs that an earlier start added to the folder stay in the report. The points of an experiment
    are merged if its setting is the same. Otherwise the new points replace the earlier ones.
    """
    experiments = {**earlier["experiments"], **new["experiments"]}
    for name in earlier["experiments"].keys() & new["experiments"].keys():
        before, after = earlier["experiments"][name], new["experiments"][name]
        if before["setting"] == after["setting"]:
            points = {_coordinates(point): point for point in before["points"] + after["points"]}
            experiments[name] = {**before, "points": list(points.values())}
    folders = {}
    for kind in ("pretrain", "zero_shot"):
        names = {**earlier[kind], **new[kind]}
        folders[kind] = {
            name: earlier[kind].get(name, {}) | new[kind].get(name, {}) for name in names
        }
    return {"experiments": experiments, **folders}


def _coordinates(point: Mapping) -> tuple:
    """Return the values that identify a point within its experiment."""
    return point["variant"], point["task"], point["value"], point["seed"]
