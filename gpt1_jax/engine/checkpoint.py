"""Read the checkpoints of a run: its steps, its params by name, and their metadata.

Orbax returns damaged bytes without an error. Therefore the CRC-32 of every array is stored
with the checkpoint and compared after reading. `checkpoint_manager.py` writes the checkpoints.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import args

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint_meta
from gpt1_jax.engine.checkpoint_errors import DamagedError, read_with_retries
from gpt1_jax.errors import UserError

FOLDER = "checkpoints"


def steps(workdir: storage.Path, flag: str = "config.init.path") -> list[int]:
    """Return the steps of a run's checkpoints, ascending.

    Raises:
        UserError: the run has none; the message names the setting `flag`.
    """
    numbers = saved_steps(workdir / FOLDER)
    if not numbers:
        raise UserError(f"{flag}: {workdir} has no {FOLDER}/; name the folder of a run")
    return numbers


def saved_steps(folder: storage.Path) -> list[int]:
    """Return the steps of the checkpoints in a folder checkpoints/, ascending; [] without a folder.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        if isinstance(folder, storage.BucketPath):
            return sorted(int(name) for name in folder.complete_folders() if name.isdecimal())
        return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}); mend the cause and repeat the command"
        ) from None


def orbax_path(path: storage.Path) -> epath.Path:
    """Return the path as orbax takes it."""
    return epath.Path(str(path.absolute()))


def param_names(workdir: storage.Path, step: int) -> list[str]:
    """Return the slash-joined names of the params of a checkpoint; reads only its metadata."""
    return _param_names(read_meta(workdir, step)["crc32"])


def read_meta(workdir: storage.Path, step: int) -> dict:
    """Return the metadata of a checkpoint as `checkpoint_meta.build` describes it, verified.

    Raises:
        UserError: the metadata is damaged, cannot be read, or is that of another step.
    """
    folder = _folder(workdir, step)
    with _damage_as_user_error(folder / checkpoint_meta.ITEM):
        return checkpoint_meta.read(folder, step)


def read_params(workdir: storage.Path, step: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the params called `names` (slash-joined), verified; read no other array.

    Raises:
        UserError: the checkpoint has no param of a name, cannot be read, or its bytes are damaged.
    """
    if not names:
        return {}
    folder = _folder(workdir, step)
    stored = param_names(workdir, step)
    if missing := [name for name in names if name not in stored]:
        raise UserError(
            f"{folder / 'params'}: has no {', '.join(missing[:3])}; "
            f"it holds {', '.join(stored[:6])}, ..."
        )
    with _damage_as_user_error(folder / "params"):
        return flatten_dict(read_verified_params(folder, step, names), sep="/")


def read_all_params(workdir: storage.Path, step: int) -> dict:
    """Return all params of a checkpoint, verified, as the tree that a model takes."""
    return unflatten_dict(read_params(workdir, step, param_names(workdir, step)), sep="/")


def read_verified_params(
    folder: storage.Path,
    step: int,
    names: Sequence[str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict:
    """Return the params of the checkpoint in `folder` as a tree: those called `names`, or all.

    Raises:
        DamagedError: the checkpoint is damaged.
        UserError: it cannot be read.
    """
    path, stored_checksums = folder / "params", checkpoint_meta.read(folder, step, sleep)["crc32"]
    wanted = _param_names(stored_checksums) if names is None else names

    def read():
        # Orbax's checkpointers wait for all processes of a job; its handlers do not.
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            stored = flatten_dict(handler.metadata(orbax_path(path)).tree, sep="/")
            target = unflatten_dict(
                {name: np.empty(stored[name].shape, stored[name].dtype) for name in wanted},
                sep="/",
            )
            as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
            restore = args.PyTreeRestore(item=target, restore_args=as_numpy, partial_restore=True)
            params = handler.restore(orbax_path(path), args=restore)
        checkpoint_meta.verify({"params": params}, stored_checksums)
        return params

    return read_with_retries(path, read, sleep)


def read_state(
    folder: storage.Path,
    target: Mapping,
    stored_checksums: Mapping[str, int],
    sleep: Callable[[float], None] = time.sleep,
) -> dict:
    """Return the arrays of the checkpoint in `folder`, verified, as a nested dict like `target`.

    Raises:
        DamagedError: the checkpoint is damaged.
        UserError: it cannot be read.
    """

    def read():
        items = {}
        for item, arrays in target.items():
            with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
                path = orbax_path(folder / item)
                items[item] = handler.restore(path, args=args.StandardRestore(arrays))
        checkpoint_meta.verify(items, stored_checksums)
        return items

    return read_with_retries(folder, read, sleep)


def _param_names(stored_checksums: Mapping[str, int]) -> list[str]:
    prefix = "params/"
    return sorted(name[len(prefix) :] for name in stored_checksums if name.startswith(prefix))


def _folder(workdir: storage.Path, step: int) -> storage.Path:
    return (workdir / FOLDER / str(step)).absolute()


@contextlib.contextmanager
def _damage_as_user_error(path: storage.Path) -> Iterator[None]:
    """Raise UserError "`path` is damaged" for a DamagedError of the block."""
    try:
        yield
    except DamagedError as error:
        raise UserError(f"{path}: damaged ({error}); name another run or another step") from error
