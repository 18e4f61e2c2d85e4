"""Turn the experiments of an ablation into the configurations of its finetuning runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax import inputs
from gpt1_jax.errors import UserError, nearest
from gpt1_jax.inputs import flatten
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.pretrainings import SECTION, Pretraining, Pretrainings


class Coordinates(NamedTuple):
    """Locate a point in an experiment's grid. `value` is the value of its setting, or None."""

    variant: str
    task: str
    value: int | float | None
    seed: int


class Point(NamedTuple):
    """Describe a point of an experiment's grid.

    Attributes:
        variant, task, value, seed: as in Coordinates.
        cell: the name of the run that gives its score.
        pretraining: the name and the seed of the pretraining run that this run starts from.
    """

    variant: str
    task: str
    value: int | float | None
    seed: int
    cell: str
    pretraining: str


class Grid(NamedTuple):
    """Hold the finetuning runs of an ablation.

    Attributes:
        points: experiment -> points.
        cells: name of the run -> configuration, in the order of execution. Every experiment gets
            its first score early.
        pretrainings: name of the run -> the pretraining that it starts from.
    """

    points: dict[str, list[Point]]
    cells: dict[str, ConfigDict]
    pretrainings: dict[str, Pretraining]


class _Candidate(NamedTuple):
    """Hold a point whose cell has no name yet. `identity` is equal for equal configurations."""

    experiment: str
    coordinates: Coordinates
    cell: ConfigDict
    pretraining: Pretraining
    identity: str


def build_grid(config: ConfigDict, pretrainings: Pretrainings, tasks_path: str) -> Grid:
    """Return all points and cells. Points with equal configurations share one cell.

    Args:
        config: configuration of the ablation.
        pretrainings: its pretrainings.
        tasks_path: folder of the tasks; "" for the data sets of the hub.

    Raises:
        UserError: a variant, pretraining, task or setting is unknown, or a task cannot be finetuned
            on.
    """
    coordinates = {name: list(_coordinates(config, name)) for name in config.experiments}
    tasks = {point.task for points in coordinates.values() for point in points}
    if unused := set(config.tasks) - tasks:
        raise UserError(
            f"config.tasks: {', '.join(sorted(unused))} is in none of the experiments; "
            "add it to config.experiments.*.tasks, or leave it out"
        )
    factory = _CellFactory(config, pretrainings, tasks_path)
    candidates = []
    for name, point in _interleave(coordinates):
        cell, pretraining = factory.cell(config.experiments[name].setting, point)
        candidates.append(_Candidate(name, point, cell, pretraining, _identity(cell)))
    names = _cell_names(config, candidates, factory)
    grid = Grid({name: [] for name in coordinates}, {}, {})
    identities = {}
    for candidate in candidates:
        # The names become folders, files of the report and rows of its tables.
        inputs.check_name(candidate.experiment, "config.experiments")
        inputs.check_name(candidate.coordinates.variant, "config.variants")
        name = inputs.check_name(
            names[candidate.identity], f"config.experiments.{candidate.experiment}: a run's folder"
        )
        if identities.setdefault(name, candidate.identity) != candidate.identity:
            raise UserError(
                f"config.experiments: two different runs would be called {name}; "
                "run the experiments in two folders"
            )
        grid.cells.setdefault(name, candidate.cell)
        pretraining = grid.pretrainings.setdefault(name, candidate.pretraining)
        origin = f"{pretraining.name}_{pretraining.seed(candidate.coordinates.seed)}"
        grid.points[candidate.experiment].append(Point(*candidate.coordinates, name, origin))
    return grid


def _coordinates(config: ConfigDict, name: str) -> Iterator[Coordinates]:
    """Yield the coordinates of every point of an experiment, one seed after the other."""
    axes = config.experiments[name]
    tasks = [task for task in axes.tasks if not config.tasks or task in config.tasks]
    for task in tasks:
        if not TASKS[task].trainable:
            raise UserError(
                f"config.experiments.{name}.tasks: {task} cannot be finetuned on; leave it out"
            )
    for variant in axes.variants:
        if variant not in config.variants:
            raise UserError(
                f"config.experiments.{name}.variants: no variant is called {variant!r}"
                f"{nearest(variant, config.variants)}; choose among: {', '.join(config.variants)}"
            )
    if not 0 <= axes.seeds <= config_checks.MAX_SEEDS:
        raise UserError(
            f"config.experiments.{name}.seeds: found {axes.seeds}, expected 0 (as config.seeds) to "
            f"{config_checks.MAX_SEEDS}; set another number"
        )
    for seed in range(axes.seeds or config.seeds):
        for task in tasks:
            for value in _values(config, axes, task):
                for variant in axes.variants:
                    yield Coordinates(variant, task, value, seed)


def _values(config: ConfigDict, axes: ConfigDict, task: str) -> tuple:
    """Return the values of the experiment's setting, its levels.

    Drop numbers of training examples that the task does not have.
    """
    if axes.setting != "data.examples" or config.world.words:
        return tuple(axes.levels) or (None,)
    return tuple(value for value in axes.levels if value < TASKS[task].sizes["train"])


def _interleave(
    coordinates: Mapping[str, Sequence[Coordinates]],
) -> Iterator[tuple[str, Coordinates]]:
    """Yield (experiment, point): all points of a seed before the next, the experiments in turn."""
    queue = [
        (point.seed, index, rank, name, point)
        for rank, (name, points) in enumerate(coordinates.items())
        for index, point in enumerate(points)
    ]
    for _, _, _, name, point in sorted(queue, key=lambda entry: entry[:3]):
        yield name, point


class _CellFactory:
    """Make the configuration of a finetuning run. Arguments as for `build_grid`."""

    def __init__(self, config: ConfigDict, pretrainings: Pretrainings, tasks_path: str):
        self._config, self._pretrainings, self._tasks_path = config, pretrainings, tasks_path

    def cell(self, setting: str, point: Coordinates) -> tuple[ConfigDict, Pretraining]:
        """Return the configuration of a point, and the pretraining that its run starts from.

        `setting` is the one that the value of the point is for.
        """
        config, variant = self._config, f"config.variants.{point.variant}"
        changes = flatten(config.variants[point.variant].to_dict())
        body = changes.pop("model.name", "transformer")
        pretraining = self._pretrainings.named(
            changes.pop("pretraining", body), f"{variant}.pretraining"
        )
        if point.value is not None:
            if setting.startswith(SECTION):
                pretraining = self._pretrainings.changed(
                    pretraining,
                    setting.removeprefix(SECTION),
                    point.value,
                    f"the setting {setting!r}",
                )
            else:
                changes[setting] = point.value
        cell, seed = config.finetune.copy_and_resolve_references(), pretraining.seed(point.seed)
        with cell.unlocked():
            cell.task, cell.seed = point.task, point.seed
            cell.model = config.bodies[pretraining.body].copy_and_resolve_references()
            cell.data.path, cell.init.path = self._tasks_path, pretraining.paths[seed]
            cell.compile_for = ""
        cell.lock()
        try:
            cell.update_from_flattened_dict(changes)
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{variant}, or the setting {setting!r}: "
                f"not in config.finetune ({error}); name one of its settings"
            ) from None
        if cell.init.layers is None:
            cell.init.layers = pretraining.layers(seed)
        return cell, pretraining


def _cell_names(
    config: ConfigDict, candidates: Sequence[_Candidate], factory: _CellFactory
) -> dict[str, str]:
    """Return identity -> name of the cell.

    The ends of the transfer curve are cells of Table 5. Such cells have the table's names, even if
    Table 5 is not among the experiments. Names without a value take precedence.
    """
    names = {}
    pairs = [(candidate.coordinates.task, candidate.coordinates.seed) for candidate in candidates]
    for task, seed in dict.fromkeys(pairs):
        for variant in ("full", "no_pretraining"):
            if variant in config.variants:
                point = Coordinates(variant, task, None, seed)
                cell, _ = factory.cell("", point)
                names.setdefault(_identity(cell), _cell_name("", point))
    by_value = sorted(candidates, key=lambda candidate: candidate.coordinates.value is not None)
    for candidate in by_value:
        setting = config.experiments[candidate.experiment].setting
        names.setdefault(candidate.identity, _cell_name(setting, candidate.coordinates))
    return names


def _identity(cell: ConfigDict) -> str:
    """Return a text that is equal for equal configurations."""
    return json.dumps(cell.to_dict(), sort_keys=True)


def _cell_name(setting: str, point: Coordinates) -> str:
    """Return the name of the cell's folder: task, variant, (setting, value,) seed."""
    short = setting.rpartition(".")[2]
    if setting.startswith(SECTION):
        short = f"pretrain_{short}"
    value = "" if point.value is None else f"_{short}_{point.value}"
    return f"{point.task}_{point.variant}{value}_{point.seed}"
