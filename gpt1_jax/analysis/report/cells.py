"""Read cells.json, which lists the points of an ablation's experiments and the runs they are from.

Names of the file become parts of file names, of pages and of tables.
"""

from collections.abc import Mapping
from typing import Any

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

FIELDS = {
    "experiments.*.setting": str,
    "experiments.*.points.[].variant": str,
    "experiments.*.points.[].task": str,
    "experiments.*.points.[].seed": int,
    "experiments.*.points.[].cell": str,
    "experiments.*.points.[].pretraining?": str,
    "pretrain?": dict,
    "zero_shot?": dict,
}
RUNS = {"*.*": str}  # name of the pretraining -> seed -> folder
HINT = "restore the file, or run the ablation in a new folder"


def read_cells(workdir: storage.Path, missing: dict | None) -> Any:
    """Return the content of cells.json, or `missing` without such a file.

    Its sections "pretrain" and "zero_shot" are name of the pretraining -> seed -> folder. Earlier
    versions had one run of each pretraining, and named its folder only.

    Raises:
        UserError: the file is damaged, a task is unknown, or a name in it cannot be part of a file
            name or of a page.
    """
    file = workdir / "cells.json"
    cells = inputs.read_object(file, FIELDS, missing=missing, damaged=HINT)
    if cells is missing:
        return missing
    for name, experiment in cells["experiments"].items():
        inputs.check_name(name, f"{file}: experiments")
        where = f"{file}: experiments.{name}"
        if experiment["setting"]:
            inputs.check_name(experiment["setting"], where)
        for point in experiment["points"]:
            _check_point(point, where)
    folders = {section: cells.get(section) or {} for section in ("pretrain", "zero_shot")}
    for section, pretrainings in folders.items():
        for name, runs in pretrainings.items():
            inputs.check_name(name, f"{file}: {section}")
            pretrainings[name] = {"0": runs} if isinstance(runs, str) else runs
        inputs.check_fields(pretrainings, RUNS, f"{file}: {section}", HINT)
        for runs in pretrainings.values():
            for seed in runs:
                inputs.check_name(seed, f"{file}: {section}")
    return cells | folders


def _check_point(point: Mapping[str, Any], where: str) -> None:
    for key in ("variant", "cell"):
        inputs.check_name(point[key], where)
    if point["task"] not in tuple(TASKS):
        raise UserError(f"{where}: no task is called {point['task'][:60]!r}; {HINT}")
    if point.get("pretraining"):
        inputs.check_name(point["pretraining"], where)
    value = point.get("value", ())
    if not isinstance(value, str | int | float | None):
        raise UserError(f"{where}: {str(value)[:60]!r} is not the value of a setting; {HINT}")
