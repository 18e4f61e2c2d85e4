"""The matrix of an ablation: from axes (variant, task, value of a setting, seed) to the configuration of every run."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS
from gpt1_jax.runs.lifecycle import flatten
from gpt1_jax.runs.reader import PretrainedRun


class Point(NamedTuple):
    """One place of an experiment's grid, and the name of the cell, a run, that gives its score. `value` is of the varied setting."""

    variant: str
    task: str
    value: int | float | None
    seed: int
    cell: str


class Matrix(NamedTuple):
    """Experiment -> points; and cell -> configuration, in an order that gives every experiment an early first number."""

    points: dict[str, list[Point]]
    cells: dict[str, ConfigDict]


def matrix(config: ConfigDict, pretrained: Mapping[str, str], tasks_path: str) -> Matrix:
    """All points and cells. Points whose configurations are the same share a cell, whatever they are called.

    Args:
        pretrained: the folder of each body's pretraining.
        tasks_path: where the tasks are; "" is the hub's own place.

    Raises:
        UserError: an unknown variant or task, a task that cannot be finetuned on, or a setting that there is not.
    """
    wanted = {name: list(_axes(config, name)) for name in config.experiments}
    if unused := set(config.tasks) - {task for axes in wanted.values() for _, task, _, _ in axes}:
        raise UserError(
            f"config.tasks: {', '.join(sorted(unused))} is in none of the experiments; see config.experiments.*.tasks"
        )
    points, cells, names, owners = {name: [] for name in wanted}, {}, {}, {}
    queue = []
    for axes, name in _interleaved(wanted):
        cell = _cell(config, config.experiments[name].setting, *axes, pretrained, tasks_path)
        queue.append((name, axes, cell, json.dumps(cell.to_dict(), sort_keys=True)))
    for task, seed in dict.fromkeys((task, seed) for _, (_, task, _, seed), _, _ in queue):
        for variant in {"full", "no_pretraining"} & set(
            config.variants
        ):  # a transfer's ends are rows of Table 5, asked for or not
            own = _cell(config, "", variant, task, None, seed, pretrained, tasks_path)
            names.setdefault(
                json.dumps(own.to_dict(), sort_keys=True), _name("", variant, task, None, seed)
            )
    for name, axes, _, identity in sorted(
        queue, key=lambda entry: entry[1][2] is not None
    ):  # a variant's own name before a level's
        names.setdefault(identity, _name(config.experiments[name].setting, *axes))
    for name, axes, cell, identity in queue:
        if owners.setdefault(names[identity], identity) != identity:
            raise UserError(
                f"config.experiments: two settings would give runs called {names[identity]}; take them in two folders"
            )
        cells.setdefault(names[identity], cell)
        points[name].append(Point(*axes, names[identity]))
    return Matrix(points, cells)


def _axes(config: ConfigDict, name: str):
    """(variant, task, level, seed) of every point of an experiment."""
    axes = config.experiments[name]
    tasks = [task for task in axes.tasks if not config.tasks or task in config.tasks]
    for task in tasks:
        if not TASKS[task].trainable:
            raise UserError(
                f"config.experiments.{name}.tasks: {task} cannot be finetuned on; leave it out"
            )
    for variant in axes.variants:
        if variant not in config.variants:
            known = ", ".join(config.variants)
            raise UserError(
                f"config.experiments.{name}.variants: no variant is called {variant!r}; choose among: {known}"
            )
    for seed in range(axes.seeds or config.seeds):
        for task in tasks:
            for level in _levels(config, axes, task):
                for variant in axes.variants:
                    yield variant, task, level, seed


def _levels(config: ConfigDict, axes: ConfigDict, task: str) -> tuple:
    """The experiment's levels; of numbers of examples those that the task has."""
    if axes.setting != "data.examples" or config.world.words:
        return tuple(axes.levels) or (None,)
    return tuple(level for level in axes.levels if level < TASKS[task].sizes["train"])


def _interleaved(wanted: Mapping[str, list[tuple]]):
    """Every (point, experiment): all of a seed before the next, the experiments in turn."""
    queue = [
        (axes[3], place, name, axes)
        for name, grid in wanted.items()
        for place, axes in enumerate(grid)
    ]
    rank = {name: position for position, name in enumerate(wanted)}
    for _, _, name, axes in sorted(queue, key=lambda entry: (entry[0], entry[1], rank[entry[2]])):
        yield axes, name


def _cell(
    config: ConfigDict,
    setting: str,
    variant: str,
    task: str,
    level: float | None,
    seed: int,
    pretrained: Mapping,
    tasks_path: str,
) -> ConfigDict:
    """The finetuning configuration of a point."""
    changes = flatten(config.variants[variant].to_dict())
    body = changes.pop("model.name", "transformer")
    cell = config.finetune.copy_and_resolve_references()
    with cell.unlocked():
        cell.task, cell.seed, cell.model = (
            task,
            seed,
            config.bodies[body].copy_and_resolve_references(),
        )
        cell.data.path, cell.init.path = tasks_path, pretrained[body]
    cell.lock()
    try:
        cell.update_from_flattened_dict({**changes, **({} if level is None else {setting: level})})
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"config.variants.{variant}, or the setting {setting!r}: not of config.finetune ({error})"
        ) from None
    if cell.init.layers is None:
        cell.init.layers = _depth(config, body)
    return cell


def _depth(config: ConfigDict, body: str) -> int:
    """The blocks that there are to transfer."""
    if not config.pretrained[body]:
        return config.pretrain[body].model.to_dict().get("layers", 1)
    run = PretrainedRun(config.pretrained[body])
    if not (run.workdir / "result.json").exists():
        raise UserError(
            f"config.pretrained.{body}: {run.workdir} is not finished; finish it, or name another run"
        )
    return run.sizes.get("layers", 1)


def _name(setting: str, variant: str, task: str, level: float | None, seed: int) -> str:
    """The name of a cell's folder."""
    mark = "" if level is None else f"_{setting.rpartition('.')[2]}_{level}"
    return f"{task}_{variant}{mark}_{seed}"
