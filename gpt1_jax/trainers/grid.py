"""Turn the experiments of an ablation into the configurations of its finetuning runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax import inputs
from gpt1_jax.errors import UserError, nearest
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.cells import CellFactory, Coordinates, pretraining_of
from gpt1_jax.trainers.pretrainings import SECTION, Pretraining, Pretrainings, identity


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
    coordinates = {
        name: list(_coordinates(config, name, pretrainings)) for name in config.experiments
    }
    tasks = {point.task for points in coordinates.values() for point in points}
    if unused := set(config.tasks) - tasks:
        raise UserError(
            f"config.tasks: {', '.join(sorted(unused))} is in none of the experiments; "
            "add it to config.experiments.*.tasks, or leave it out"
        )
    factory = CellFactory(config, pretrainings, tasks_path)
    candidates = []
    for name, point in _interleave(coordinates):
        cell, pretraining = factory.cell(config.experiments[name], point)
        candidates.append(_Candidate(name, point, cell, pretraining, identity(cell)))
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
        variant, task, value, seed = candidate.coordinates
        point = Point(variant, task, value, seed, name, origin)
        grid.points[candidate.experiment].append(point)
    return grid


def _coordinates(
    config: ConfigDict, name: str, pretrainings: Pretrainings
) -> Iterator[Coordinates]:
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
    steps = ()
    if axes.setting == "init.step" and axes.variants:
        steps = pretraining_of(config, axes.variants[0], pretrainings).steps()
    for seed in range(axes.seeds or config.seeds):
        for task in tasks:
            for value in _values(config, axes, task, steps):
                for variant in axes.variants:
                    yield Coordinates(variant, task, value, seed)


def _values(config: ConfigDict, axes: ConfigDict, task: str, steps: tuple[int, ...]) -> tuple:
    """Return the values of the experiment's setting, its levels.

    Drop numbers of training examples that the task does not have. `steps` are the levels of
    "init.step" if the experiment gives none.
    """
    if axes.setting != "data.examples" or config.world.words:
        return tuple(axes.levels) or steps or (None,)
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


def _cell_names(
    config: ConfigDict, candidates: Sequence[_Candidate], factory: CellFactory
) -> dict[str, str]:
    """Return identity -> name of the cell.

    The ends of the transfer curve, and weights 0 and 0.5 of the auxiliary loss, are cells of Table
    5. Such cells have the table's names, even if Table 5 is not among the experiments. Names
    without a value take precedence.
    """
    names, table = {}, ConfigDict({"setting": "", "changes": {}})
    pairs = [(candidate.coordinates.task, candidate.coordinates.seed) for candidate in candidates]
    for task, seed in dict.fromkeys(pairs):
        for variant in ("full", "no_pretraining", "no_aux_lm"):
            if variant in config.variants:
                point = Coordinates(variant, task, None, seed)
                cell, _ = factory.cell(table, point)
                names.setdefault(identity(cell), _cell_name("", table, point))
    by_value = sorted(candidates, key=lambda candidate: candidate.coordinates.value is not None)
    for candidate in by_value:
        axes = config.experiments[candidate.experiment]
        name = _cell_name(candidate.experiment, axes, candidate.coordinates)
        names.setdefault(candidate.identity, name)
    return names


def _cell_name(experiment: str, axes: ConfigDict, point: Coordinates) -> str:
    """Return the name of the cell's folder: task, variant, (setting, value,) seed.

    The name of the experiment follows the variant if the experiment changes all of its points.
    """
    setting = axes.setting.rpartition(".")[2]
    if axes.setting.startswith(SECTION):
        setting = f"pretrain_{setting}"
    parts = [point.task, point.variant]
    if axes.changes:
        parts.append(experiment)
    if point.value is not None:
        parts += [setting, point.value]
    return "_".join(map(str, [*parts, point.seed]))
