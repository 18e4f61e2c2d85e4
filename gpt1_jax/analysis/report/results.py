"""Read the results of runs for reports, whether the runs have finished or not.

The folder of an ablation has the file `cells.json`. It lists experiments. Each experiment is a list
of points (variant, task, value of the varied setting, seed), and each point names the folder of the
run that measured it. Two experiments may share a run. Any folder may be missing or incomplete, or
hold `failed.json`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gpt1_jax import inputs, storage
from gpt1_jax.analysis.report.cells import read_cells
from gpt1_jax.analysis.report.fields import PRETRAINING, ZERO_SHOT
from gpt1_jax.analysis.report.run_folders import FAILED, FinetuningRun, Folder
from gpt1_jax.errors import UserError


class ExperimentPoint(NamedTuple):
    """Describe one run of an experiment.

    Attributes:
        variant, task, seed: the coordinates of the run.
        value: the value of the setting that the experiment varies; None if it varies no setting.
        pretraining: the name and the seed of the pretraining run that it starts from; "" if
            cells.json does not name it.
        run: the run.
    """

    variant: str
    task: str
    value: float | str | None
    seed: int
    pretraining: str
    run: FinetuningRun


class Experiment(NamedTuple):
    """Hold the points of an experiment.

    Attributes:
        name: the name in the config.
        setting: the dotted name of the varied setting; "" if only variants differ.
        points: the runs.
    """

    name: str
    setting: str
    points: tuple[ExperimentPoint, ...]


class Results(NamedTuple):
    """Hold all results below a workdir.

    Attributes:
        workdir: the folder.
        experiments: the experiments of the ablation.
        runs: name -> finetuning run, each once.
        pretrain: name of the pretraining -> seed -> folder of the pretraining run.
        zero_shot: name of the pretraining -> seed -> folder of the zero-shot run.
    """

    workdir: storage.Path
    experiments: tuple[Experiment, ...]
    runs: dict[str, FinetuningRun]
    pretrain: dict[str, dict[str, Folder]]
    zero_shot: dict[str, dict[str, Folder]]

    @property
    def other_runs(self) -> list[Folder]:
        """Return the folders of all pretraining and zero-shot runs."""
        sections = self.pretrain, self.zero_shot
        return [run for section in sections for runs in section.values() for run in runs.values()]


def read(workdir: storage.Path) -> Results:
    """Read the results in the folder of an ablation or of one pretraining run.

    Raises:
        UserError: the folder is neither, or its cells.json is damaged.
    """
    cells = read_cells(workdir, missing=None)
    if cells is None:
        return _read_pretraining(workdir)
    open_run = functools.cache(lambda name: FinetuningRun(workdir, name))
    experiments = tuple(
        _experiment(name, entry, open_run) for name, entry in cells["experiments"].items()
    )
    points = [point for experiment in experiments for point in experiment.points]
    return Results(
        workdir,
        experiments,
        runs={point.run.name: point.run for point in points},
        pretrain=_folders(workdir, cells["pretrain"], PRETRAINING),
        zero_shot=_folders(workdir, cells["zero_shot"], ZERO_SHOT),
    )


def _read_pretraining(workdir: storage.Path) -> Results:
    config = inputs.read_object(workdir / "config.json", missing={})
    if config.get("trainer") != "pretrain":
        raise UserError(
            f"{workdir}: has no cells.json and is not a pretraining run; "
            "name the folder of an ablation or of a pretraining run"
        )
    inputs.check_fields(config, {"model.name": str}, str(workdir / "config.json"))
    body = inputs.check_name(config["model"]["name"], f"{workdir / 'config.json'}: model.name")
    return Results(workdir, (), {}, {body: {"0": Folder(workdir, ".")}}, {})


def _experiment(name: str, entry: Mapping, open_run: Callable) -> Experiment:
    points = []
    for point in entry["points"]:
        variant, task, value, seed = (point.get(k) for k in ("variant", "task", "value", "seed"))
        run = open_run(point["cell"])
        if run.result.get("task", task) != task:
            run.status, run.error = FAILED, f"is a run of the task {run.result['task']}, not {task}"
        pretraining = point.get("pretraining") or ""
        points.append(ExperimentPoint(variant, task, value, seed, pretraining, run))
    return Experiment(name, entry["setting"], tuple(points))


def _folders(
    workdir: storage.Path, names: Mapping[str, Mapping[str, str]], fields: Mapping[str, type]
) -> dict[str, dict[str, Folder]]:
    def by_number(seed: str) -> tuple[int, str]:
        return len(seed), seed

    return {
        name: {seed: Folder(workdir, runs[seed], fields) for seed in sorted(runs, key=by_number)}
        for name, runs in names.items()
    }
