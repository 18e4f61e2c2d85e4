"""The matrix of an ablation: from axes (variant, task, value of a setting, seed) to the configuration of every run."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS


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


def matrix(config: ConfigDict, pretrained: Mapping[str, str], labelled: str) -> Matrix:
    """All points and cells. Points whose configurations are the same share a cell, whatever they are called.

    Args:
        pretrained: the folder of each body's pretraining.
        labelled: where the tasks are, "" for where config.finetune says.

    Raises:
        UserError: an unknown variant or task, a task that cannot be finetuned on, or a setting that there is not.
    """
    wanted = {name: list(_axes(config, name)) for name in config.experiments}
    if unused := set(config.tasks) - {task for axes in wanted.values() for _, task, _, _ in axes}:
        raise UserError(f"config.tasks: {', '.join(sorted(unused))} is in none of the experiments; see config.experiments.*.tasks")
    points, cells, names = {name: [] for name in wanted}, {}, {}
    for axes, name in _interleaved(wanted):
        variant, task, value, seed = axes
        setting = config.experiments[name].setting
        cell = _cell(config, variant, task, {setting: value} if setting else {}, seed, pretrained, labelled)
        identity = json.dumps(cell.to_dict(), sort_keys=True)
        if identity not in names:
            mark = "" if value is None else f"_{setting.rpartition('.')[2]}_{value}"
            names[identity] = f"{task}_{variant}{mark}_{seed}"
            cells[names[identity]] = cell
        points[name].append(Point(*axes, names[identity]))
    return Matrix(points, cells)


def _axes(config: ConfigDict, name: str):
    """(variant, task, value, seed) of every point of an experiment."""
    axes = config.experiments[name]
    tasks = [task for task in axes.tasks if not config.tasks or task in config.tasks]
    for task in tasks:
        if not TASKS[task].trainable:
            raise UserError(f"config.experiments.{name}.tasks: {task} cannot be finetuned on; leave it out")
    for variant in axes.variants:
        if variant not in config.variants:
            known = ", ".join(config.variants)
            raise UserError(f"config.experiments.{name}.variants: no variant is called {variant!r}; choose among: {known}")
    for seed in range(axes.seeds or config.seeds):
        for task in tasks:
            for value in axes.values or (None,):
                for variant in axes.variants:
                    yield variant, task, value, seed


def _interleaved(wanted: Mapping[str, list[tuple]]):
    """Every (point, experiment): all of a seed before the next, the experiments in turn."""
    queue = [(axes[3], place, name, axes) for name, grid in wanted.items() for place, axes in enumerate(grid)]
    rank = {name: position for position, name in enumerate(wanted)}
    for _, _, name, axes in sorted(queue, key=lambda entry: (entry[0], entry[1], rank[entry[2]])):
        yield axes, name


def _cell(config: ConfigDict, variant: str, task: str, setting: Mapping, seed: int, pretrained: Mapping, labelled: str) -> ConfigDict:
    """The finetuning configuration of a point."""
    changes = config.variants[variant].copy_and_resolve_references()
    body = changes.pop("model", {"name": "transformer"})["name"]
    cell = config.finetune.copy_and_resolve_references()
    cell.update({"task": task, "seed": seed, "model": config.bodies[body].to_dict()})
    cell.data.path = labelled or cell.data.path
    cell.init.path = pretrained[body]
    try:
        cell.update(changes)
        cell.update_from_flattened_dict(setting)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"config.variants.{variant}, or the setting {', '.join(setting)}: not one of config.finetune's ({error})") from None
    if cell.init.layers is None:
        cell.init.layers = config.pretrain[body].model.to_dict().get("layers", 1)
    return cell
