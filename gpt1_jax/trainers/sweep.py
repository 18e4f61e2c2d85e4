"""Make an experiment of the axes in config.sweep, which come from the command line."""

import ast
import itertools
from typing import Any

from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from gpt1_jax.errors import UserError, nearest
from gpt1_jax.inputs import flatten
from gpt1_jax.trainers.pretrainings import SECTION

NAME = "sweep"
MAX_POINTS = 1_000
FORM = 'write "optim.lr=1e-4,5e-4;epochs=2,4"'


def add_sweep(config: ConfigDict) -> ConfigDict:
    """Return the configuration of an ablation with the experiment of config.sweep, if it is set.

    A setting of pretraining, or else the first axis of numbers, becomes the setting of the
    experiment. Each combination of the other axes becomes a variant.

    Raises:
        UserError: config.sweep has another form, or names an unknown setting.
    """
    if not config.sweep:
        return config
    axes = _parse(config.sweep)
    _check_names(config, axes)
    setting = next((name for name in axes if name.startswith(SECTION)), "")
    if not setting:
        numeric = [name for name, values in axes.items() if all(map(_is_number, values))]
        setting = numeric[0] if numeric else ""
    levels = tuple(axes.pop(setting)) if setting else ()
    result = config.copy_and_resolve_references()
    names = []
    with result.unlocked():
        for values in itertools.product(*axes.values()):
            point = dict(zip(axes, values, strict=True))
            short = "_".join(f"{name.rpartition('.')[2]}_{value}" for name, value in point.items())
            names.append(short or "full")
            if short:
                result.variants[short] = ConfigDict(unflatten_dict(point, sep="."))
        experiment = dict(variants=tuple(names), tasks=config.sweep_tasks, setting=setting)
        experiment |= dict(levels=levels, seeds=0, changes={})
        result.experiments[NAME] = ConfigDict(experiment)
    return result


def _parse(text: str) -> dict[str, list]:
    """Return setting -> its values."""
    axes, points = {}, 1
    for axis in filter(str.strip, text.split(";")):
        name, equals, values = (part.strip() for part in axis.partition("="))
        found = [_value(value.strip()) for value in values.split(",") if value.strip()]
        if not name or not equals or not found:
            raise UserError(f"config.sweep: {axis.strip()!r} is not NAME=VALUE,VALUE; {FORM}")
        if name in axes or len(set(map(str, found))) < len(found):
            raise UserError(
                f"config.sweep: {axis.strip()!r} repeats a name or a value; leave it out"
            )
        axes[name] = found
        points *= len(found)
    if not axes or points > MAX_POINTS:
        raise UserError(
            f"config.sweep: {text[:60]!r} has {points if axes else 0} combinations, expected 1 to "
            f"{MAX_POINTS}; {FORM}"
        )
    return axes


def _value(text: str) -> Any:
    """Return the number, True or False that the text is; otherwise the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | str) else text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_names(config: ConfigDict, axes: dict[str, list]) -> None:
    """Raise UserError for a name that is not a setting, or for two settings of pretraining.

    Whole numbers of settings that are counted may be written as 1e3; they are converted in place.
    """
    body = config.bodies.transformer.to_dict()
    known = flatten({**config.finetune.to_dict(), "model": body})
    known |= flatten({"pretrain": config.pretrain.transformer.to_dict()})
    for name, values in axes.items():
        if name not in known:
            hint = nearest(name, known)
            raise UserError(
                f"config.sweep: {name!r} is no setting of config.finetune{hint}; name one of its "
                f"settings, such as optim.lr, or one of pretraining, such as {SECTION}model.layers"
            )
        if isinstance(known[name], int | None):  # None: a number that the checkpoint gives
            axes[name] = [
                int(value) if isinstance(value, float) and value.is_integer() else value
                for value in values
            ]
    of_pretraining = [name for name in axes if name.startswith(SECTION)]
    if len(of_pretraining) > 1:
        raise UserError(
            f"config.sweep: {' and '.join(of_pretraining)} are settings of pretraining; vary one "
            "of them at a time"
        )
