"""List the runs of an ablation: configurations, jobs, and cells.json."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax import inputs
from gpt1_jax.analysis.report import paper
from gpt1_jax.registry import TRAINERS
from gpt1_jax.runs.job_queue import Job
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.grid import Grid, build_grid

NO_CELLS = {"experiments": {}, "pretrain": {}, "zero_shot": {}}  # cells.json without any run


class AblationRuns(NamedTuple):
    """Hold the runs of an ablation.

    Attributes:
        configs: name of the run and of its folder -> configuration, in the order of execution.
        cells: content of cells.json, which tells the report which run gives which point.
    """

    configs: dict[str, ConfigDict]
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
    corpus_path, tasks_path = config.corpus_path, config.tasks_path
    if config.world.words:
        corpus_path = corpus_path or f"{path}/data/novels"
        tasks_path = tasks_path or f"{path}/data"
    pretrained = {
        body: config.pretrained[body] or f"{path}/pretrain_{body}" for body in config.pretrain
    }
    grid = build_grid(config, pretrained, tasks_path)
    bodies = {cell.model.name for cell in grid.cells.values()} | set(config.zero_shot_bodies)
    bodies = sorted(bodies, reverse=True)
    configs = {}
    for body in bodies:
        if not config.pretrained[body]:
            configs[f"pretrain_{body}"] = _pretrain_config(config, body, corpus_path)
        if body in config.zero_shot_bodies:
            configs[f"zero_shot_{body}"] = _probe_config(config, pretrained[body], tasks_path)
    configs |= grid.cells
    for run in configs.values():
        section = f"pretrain.{run.model.name}." if run.trainer == "pretrain" else f"{run.trainer}."
        config_checks.check(run, section)
    return AblationRuns(configs, _cells_json(config, grid, bodies))


def _pretrain_config(config: ConfigDict, body: str, corpus_path: str) -> ConfigDict:
    """Return the configuration of a body's pretraining run."""
    run = config.pretrain[body].copy_and_resolve_references()
    with run.unlocked():
        run.data.path, run.compile_for = corpus_path, ""
    # Also without zero-shot probes: a later start of the ablation may add them.
    run.checkpoint.keep_steps += paper.zero_shot_steps(run.steps)
    return run


def _probe_config(config: ConfigDict, pretrained: str, tasks_path: str) -> ConfigDict:
    """Return the configuration of the probes of a pretraining run."""
    run = config.zero_shot.copy_and_resolve_references()
    with run.unlocked():
        run.init.path, run.data.path = pretrained, tasks_path
    return run


def _cells_json(config: ConfigDict, grid: Grid, bodies: Sequence[str]) -> dict:
    """Return the content of cells.json."""
    experiments = {
        name: {
            "setting": config.experiments[name].setting,
            "points": [point._asdict() for point in points],
        }
        for name, points in grid.points.items()
    }
    return {
        "experiments": experiments,
        "pretrain": {body: _pretrained(config, body) or f"pretrain_{body}" for body in bodies},
        "zero_shot": {body: f"zero_shot_{body}" for body in config.zero_shot_bodies},
    }


def _pretrained(config: ConfigDict, body: str) -> str:
    """Return the path of the run that config.pretrained names; "" if it names none."""
    path = config.pretrained[body]
    hint = "name the folder of a pretraining run"
    return path and str(inputs.folder(f"config.pretrained.{body}", path, hint))


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
    return {
        "experiments": experiments,
        "pretrain": {**earlier["pretrain"], **new["pretrain"]},
        "zero_shot": {**earlier["zero_shot"], **new["zero_shot"]},
    }


def _coordinates(point: Mapping) -> tuple:
    """Return the values that identify a point within its experiment."""
    return point["variant"], point["task"], point["value"], point["seed"]
