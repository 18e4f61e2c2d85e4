"""Read the checkpoints of a run: its steps, its params by name, and their metadata.

Orbax returns damaged bytes without an error. Therefore the CRC-32 of every array is stored
with the checkpoint and compared after reading. `checkpoint_manager.py` writes the checkpoints.
"""

import contextlib
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import args

from gpt1_jax.errors import UserError

FOLDER = "checkpoints"


def steps(workdir: pathlib.Path, flag: str = "config.init.path") -> list[int]:
    """Return the steps of a run's checkpoints, ascending.

    Raises:
        UserError: the run has none; the message names the setting `flag`.
    """
    folder = workdir / FOLDER
    numbers = sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
    if not numbers:
        raise UserError(f"{flag}: {workdir} has no {FOLDER}/; name the folder of a run")
    return numbers


def param_names(workdir: pathlib.Path, step: int) -> list[str]:
    """Return the slash-joined names of the params of a checkpoint; reads only its metadata."""
    return sorted(flatten_dict(_metadata(_item(workdir, step, "params")), sep="/"))


def read_meta(workdir: pathlib.Path, step: int) -> dict:
    """Return the JSON values stored with a checkpoint, with "step" and "crc32" (by array name)."""
    path = _item(workdir, step, "meta")
    with _damage_as_user_error(path), ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        return reader.restore(path)


def read_params(workdir: pathlib.Path, step: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the params called `names` (slash-joined), verified; read no other array.

    Raises:
        UserError: the checkpoint has no param of a name, or its bytes are damaged.
    """
    if not names:
        return {}
    path = _item(workdir, step, "params")
    stored = flatten_dict(_metadata(path), sep="/")
    if missing := [name for name in names if name not in stored]:
        raise UserError(
            f"{path}: has no {', '.join(missing[:3])}; "
            f"it holds {', '.join(sorted(stored)[:6])}, ..."
        )
    target = unflatten_dict(
        {name: np.empty(stored[name].shape, stored[name].dtype) for name in names}, sep="/"
    )
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), target)
    stored_checksums = read_meta(workdir, step)["crc32"]
    with (
        _damage_as_user_error(path),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader,
    ):
        params = reader.restore(
            path,
            args=args.PyTreeRestore(item=target, restore_args=as_numpy, partial_restore=True),
        )
        verify({"params": params}, stored_checksums)
    return flatten_dict(params, sep="/")


def read_all_params(workdir: pathlib.Path, step: int) -> dict:
    """Return all params of a checkpoint, verified, as the tree that a model takes."""
    return unflatten_dict(read_params(workdir, step, param_names(workdir, step)), sep="/")


def checksums(items: Mapping) -> dict[str, int]:
    """Return slash-joined name -> CRC-32 of every array of a nested dict."""
    return {
        name: zlib.crc32(np.ascontiguousarray(leaf))
        for name, leaf in flatten_dict(items, sep="/").items()
    }


def verify(items: Mapping, stored: Mapping[str, int]) -> None:
    """Check the arrays of a nested dict against their stored checksums.

    Raises:
        ValueError: an array was damaged.
    """
    for name, checksum in checksums(items).items():
        if checksum != stored[name]:
            raise ValueError(
                f"{name} is not what was written: checksum {checksum:08x}, "
                f"expected {stored[name]:08x}"
            )


def error_summary(error: BaseException) -> str:
    """Return the class and the first line of an error, at most 200 characters."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _item(workdir: pathlib.Path, step: int, item: str) -> pathlib.Path:
    return (workdir / FOLDER / str(step) / item).absolute()


def _metadata(path: pathlib.Path) -> dict:
    with _damage_as_user_error(path):
        return ocp.PyTreeCheckpointHandler().metadata(path).tree


@contextlib.contextmanager
def _damage_as_user_error(path: pathlib.Path) -> Iterator[None]:
    """Raise UserError "`path` is damaged" for any error of the block.

    Orbax has no common class for the errors of damaged files.
    """
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path}: damaged ({error_summary(error)}); name another run or another step"
        ) from error
