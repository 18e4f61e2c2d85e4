"""Make the configurations of the finetuning runs of an ablation, its cells."""

from typing import NamedTuple

from ml_collections import ConfigDict

from gpt1_jax.errors import UserError
from gpt1_jax.inputs import flatten
from gpt1_jax.trainers.pretrainings import SECTION, Pretraining, Pretrainings


class Coordinates(NamedTuple):
    """Locate a point in an experiment's grid. `value` is the value of its setting, or None."""

    variant: str
    task: str
    value: int | float | None
    seed: int


class CellFactory:
    """Make the configuration of a finetuning run.

    Args:
        config: configuration of the ablation.
        pretrainings: its pretrainings.
        tasks_path: folder of the tasks; "" for the data sets of the hub.
    """

    def __init__(self, config: ConfigDict, pretrainings: Pretrainings, tasks_path: str):
        self._config, self._pretrainings, self._tasks_path = config, pretrainings, tasks_path

    def cell(self, axes: ConfigDict, point: Coordinates) -> tuple[ConfigDict, Pretraining]:
        """Return the configuration of a point, and the pretraining that its run starts from.

        Args:
            axes: the experiment of the point. Its setting is the one that the value is for.
            point: the coordinates of the point.
        """
        config, variant = self._config, f"config.variants.{point.variant}"
        changes = flatten(axes.changes.to_dict()) | flatten(
            config.variants[point.variant].to_dict()
        )
        for name in ("model.name", "pretraining"):
            changes.pop(name, None)
        pretraining, setting = (
            pretraining_of(config, point.variant, self._pretrainings),
            axes.setting,
        )
        if point.value is not None and setting.startswith(SECTION):
            changed = setting.removeprefix(SECTION), point.value, f"the setting {setting!r}"
            pretraining = self._pretrainings.changed(pretraining, *changed)
        elif point.value is not None:
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
        _resolve_defaults(cell, pretraining, seed)
        return cell, pretraining


def _resolve_defaults(cell: ConfigDict, pretraining: Pretraining, seed: int) -> None:
    """Write one value for each of the values that mean the same, so that such points share a cell.

    A body that is cut off after K blocks (model.layers) transfers these.
    """
    if cell.init.layers is None:
        layers = cell.model.to_dict().get("layers")
        cell.init.layers = pretraining.layers(seed) if layers is None else layers
    if cell.init.step is not None and cell.init.step == pretraining.steps()[-1]:
        cell.init.step = None


def pretraining_of(config: ConfigDict, variant: str, pretrainings: Pretrainings) -> Pretraining:
    """Return the pretraining that a variant names, by default that of its body."""
    changes = flatten(config.variants[variant].to_dict())
    name = changes.get("pretraining", changes.get("model.name", "transformer"))
    return pretrainings.named(name, f"config.variants.{variant}.pretraining")
