"""Delete what a finished run does not need: the optimizer's state, and checkpoints in between."""

import contextlib
from collections.abc import Collection
from typing import NamedTuple

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint_meta
from gpt1_jax.engine.checkpoint import FOLDER, read_all_params, read_meta, saved_steps
from gpt1_jax.errors import UserError


class Pruning(NamedTuple):
    """List what a pruning deletes.

    Attributes:
        workdir: the folder of the run.
        steps: the steps whose checkpoints are kept, without the optimizer's state.
        folders: the folders to delete.
        size: the bytes of the folders.
    """

    workdir: storage.Path
    steps: list[int]
    folders: list[storage.Path]
    size: int


def plan(workdir: storage.Path, keep: Collection[int]) -> Pruning:
    """Return what to delete so that the last checkpoint and those of the steps `keep` stay.

    Raises:
        UserError: the folder cannot be read.
    """
    folder, steps = workdir / FOLDER, saved_steps(workdir / FOLDER)
    kept = [step for step in steps if step in keep or step == steps[-1]]
    folders = [folder / str(step) for step in steps if step not in kept]
    for parent in (folder, *(folder / str(step) for step in kept)):
        # The names with a dot are the remains of a pruning that was killed.
        names = [name for name in storage.names(parent) if name[0] == "." or name == "opt_state"]
        folders += [parent / name for name in names]
    return Pruning(workdir, kept, folders, sum(map(storage.folder_size, folders)))


def prune(pruning: Pruning) -> None:
    """Delete the folders. Before that, verify the params of the checkpoints that stay.

    A process that is killed here leaves checkpoints that can be read, and the same call goes on.

    Raises:
        UserError: the params are damaged, and nothing was deleted; or a file cannot be written or
            deleted.
    """
    for step in pruning.steps:
        read_all_params(pruning.workdir, step)
    with _report(pruning.workdir / FOLDER):
        for step in pruning.steps:
            # First, so that a missing optimizer's state is never taken for damage.
            meta = read_meta(pruning.workdir, step)
            if not meta.get(checkpoint_meta.PARAMS_ONLY):
                folder = pruning.workdir / FOLDER / str(step)
                checkpoint_meta.write_params_only(folder, meta)
        for folder in pruning.folders:
            storage.remove_folder(folder)


@contextlib.contextmanager
def _report(folder: storage.Path):
    """Raise UserError for an OSError of the block."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be pruned ({error.strerror or error}); mend the cause and type "
            f"gpt1 prune {folder.parent}"
        ) from None
