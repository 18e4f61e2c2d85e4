"""Prune the folders of finished runs: `gpt1 prune`, and the end of every run."""

from collections.abc import Iterator, Mapping
from typing import Any

from gpt1_jax import inputs, storage
from gpt1_jax.engine import checkpoint_pruning
from gpt1_jax.engine.checkpoint_pruning import Pruning
from gpt1_jax.errors import UserError
from gpt1_jax.runs import lifecycle

CONFIG = {"checkpoint.keep_steps?": list, "trainer": str}
RESULT = {"best_step?": int}


def plan(workdir: storage.Path, config: Mapping, result: Mapping[str, Any]) -> Pruning:
    """Return what a finished run does not need.

    Args:
        workdir: the folder of the run.
        config: its settings; the steps checkpoint.keep_steps are kept.
        result: its result; the best step is kept.

    Raises:
        UserError: the folder cannot be read.
    """
    keep = {*config.get("checkpoint", {}).get("keep_steps", ())}
    if "best_step" in result:
        keep.add(result["best_step"])
    return checkpoint_pruning.plan(workdir, keep)


def find(folder: storage.Path) -> Iterator[tuple[storage.Path, Pruning | str]]:
    """Yield the run in a folder, or the runs of an ablation there, and what each does not need.

    Yield the reason instead of the pruning for a run that is not pruned.

    Raises:
        UserError: the folder holds no runs.
    """
    is_run = (folder / checkpoint_pruning.FOLDER).is_dir()
    names = ["."] if is_run else storage.names(folder)
    runs = [folder / name for name in names]
    runs = [run for run in runs if (run / checkpoint_pruning.FOLDER).is_dir()]
    if not runs:
        raise UserError(
            f"gpt1 prune: {folder} has no checkpoints; name the folder of a run or of an ablation"
        )
    for run in runs:
        try:
            yield run, _plan_finished(run)
        except UserError as error:
            yield run, str(error)


def _plan_finished(workdir: storage.Path) -> Pruning:
    """Return `plan` of a run. Raise UserError if it is not finished or its files are damaged."""
    path = workdir / "result.json"
    result = inputs.read_object(path, RESULT, hint="the run is not finished")
    return plan(workdir, inputs.read_object(workdir / "config.json", CONFIG), result)


def prune(pruning: Pruning) -> None:
    """Prune the run while no other process runs in its folder; errors as `checkpoint_pruning`."""
    with lifecycle.lock_workdir(pruning.workdir):
        checkpoint_pruning.prune(pruning)
