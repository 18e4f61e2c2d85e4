"""Checkpoints of a run, by orbax: asynchronous, atomic, and verified when read.

Start order of a run: its own newest checkpoint, else the params of another run (`read_params`), else scratch.

Orbax hands back flipped bits without a word, so every array's CRC-32 is stored beside it and compared after reading.
"""

import contextlib
import pathlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint import args
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from gpt1_jax.errors import UserError

FOLDER = "checkpoints"
ITEMS = ("params", "opt_state")


class Checkpoints:
    """The checkpoints/ of one run. Those saved with a score also keep the best of them, the earliest of equals.

    Args:
        workdir: the run's folder.
        keep: how many of the newest to keep.
        keep_steps: updates whose checkpoints are kept for good.
        say: takes a line for the log.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        *,
        keep: int,
        keep_steps: Sequence[int] = (),
        say: Callable[[str], None] = print,
    ):
        self._folder = (workdir / FOLDER).absolute()
        self._say = say
        rank = lambda metrics: (metrics["score"], -metrics["step"])
        policies = [
            policy.LatestN(keep),
            policy.CustomSteps(tuple(keep_steps)),
            policy.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False),
        ]
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(policies),
            best_fn=rank,  # without it orbax does not store the scores
            cleanup_tmp_directories=True,
        )
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        handlers = {item: ocp.StandardCheckpointHandler() for item in ITEMS} | {
            "meta": ocp.JsonCheckpointHandler()
        }
        return ocp.CheckpointManager(self._folder, options=self._options, item_handlers=handlers)

    def save(
        self, step: int, state: Mapping, meta: Mapping[str, Any], score: float | None = None
    ) -> None:
        """Starts to write the state after `step` updates; does nothing when that step is there already.

        Args:
            state: {"params", "opt_state"}; copied to the host before this returns, so its memory may be given away.
            meta: JSON values that readers need (the tokenizer's fingerprint).
            score: of this step; higher is better.
        """
        if step in self._manager.all_steps():
            return
        items = _host(state)
        metrics = None if score is None else {"score": score, "step": step}
        composite = args.Composite(
            **{item: args.StandardSave(items[item]) for item in ITEMS},
            meta=args.JsonSave({**meta, "step": step, "crc32": _checksums(items)}),
        )
        try:
            saved = self._manager.save(step, args=composite, metrics=metrics)
        except Exception as error:  # an earlier write may have failed in the background; orbax has no common class for these
            raise UserError(
                f"{self._folder}: could not save step {step} ({_first_line(error)}); is the disk full?"
            ) from error
        if not saved:
            raise RuntimeError(f"{self._folder}: orbax declined to save step {step}")

    def restore(self, state: Mapping) -> tuple[int, dict] | None:
        """(step, state) of the newest sound checkpoint, on the host; None where there is none at all.

        A damaged one is set aside as bad-<step>-<time> with a line in the log, and the one before it is taken.

        Args:
            state: a tree of the wanted structure.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        target = _host(state)
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            wanted = args.Composite(
                **{item: args.StandardRestore(target[item]) for item in ITEMS},
                meta=args.JsonRestore(),
            )
            try:
                read = self._manager.restore(step, args=wanted)
                _verify({item: read[item] for item in ITEMS}, read["meta"]["crc32"])
            except Exception as error:  # orbax raises many classes for damaged files
                self._set_aside(step, error)
                continue
            opt_state = serialization.from_state_dict(state["opt_state"], read["opt_state"])
            return step, {"params": read["params"], "opt_state": opt_state}
        workdir = self._folder.parent
        if bad := list(workdir.glob("bad-*")):  # an earlier start may have set them aside
            raise UserError(
                f"{self._folder}: all {len(bad)} checkpoints are damaged; remove the folder {workdir} to start from scratch"
            )
        return None

    def _set_aside(self, step: int, error: Exception) -> None:
        self._manager.close()
        bad = self._folder.parent / f"bad-{step}-{int(time.time())}"
        (self._folder / str(step)).rename(bad)
        self._say(
            f"checkpoint of step {step} is damaged ({_first_line(error)}); set aside as {bad}"
        )
        self._manager = self._open()

    def wait(self) -> None:
        """Returns when everything is on the disk; UserError when it does not get there."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise UserError(
                f"{self._folder}: could not save a checkpoint ({_first_line(error)}); is the disk full?"
            ) from error

    def best_step(self) -> int | None:
        """The kept step with the highest score, the earliest of equals; None without scores."""
        return self._manager.best_step()

    def close(self) -> None:
        """Waits as `wait` does and lets go of the folder."""
        self.wait()
        self._manager.close()


def steps(workdir: pathlib.Path, flag: str = "config.init.path") -> list[int]:
    """The updates at which a run has a checkpoint, ascending; UserError, about the setting `flag`, where it has none."""
    found = (
        sorted(ocp.utils.checkpoint_steps(workdir / FOLDER)) if (workdir / FOLDER).is_dir() else []
    )
    if not found:
        raise UserError(f"{flag}: {workdir} has no {FOLDER}/; name the folder of a run")
    return found


def param_names(workdir: pathlib.Path, step: int) -> list[str]:
    """Slash-joined names of the params of a checkpoint, from its metadata alone."""
    return sorted(flatten_dict(_metadata(_item(workdir, step, "params")), sep="/"))


def read_meta(workdir: pathlib.Path, step: int) -> dict:
    """What `save` was given as `meta`, and the checksums."""
    path = _item(workdir, step, "meta")
    with _readable(path), ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        return reader.restore(path)


def read_params(workdir: pathlib.Path, step: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The params called `names` (slash-joined), verified; no other array is read.

    Raises:
        UserError: a name is not in the checkpoint, or its bytes are not those that were written.
    """
    if not names:
        return {}
    path = _item(workdir, step, "params")
    present = flatten_dict(_metadata(path), sep="/")
    if missing := [name for name in names if name not in present]:
        raise UserError(
            f"{path}: has no {', '.join(missing[:3])}; it holds {', '.join(sorted(present)[:6])}, ..."
        )
    wanted = unflatten_dict(
        {name: np.empty(present[name].shape, present[name].dtype) for name in names}, sep="/"
    )
    checksums = read_meta(workdir, step)["crc32"]
    with _readable(path), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        read = reader.restore(
            path,
            args=args.PyTreeRestore(
                item=wanted,
                restore_args=jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
                ),
                partial_restore=True,
            ),
        )
        _verify({"params": read}, checksums)
    return flatten_dict(read, sep="/")


def read_all_params(workdir: pathlib.Path, step: int) -> dict:
    """All params of a checkpoint, verified, as the tree that a model takes."""
    return unflatten_dict(read_params(workdir, step, param_names(workdir, step)), sep="/")


def _item(workdir: pathlib.Path, step: int, item: str) -> pathlib.Path:
    return (workdir / FOLDER / str(step) / item).absolute()


def _metadata(path: pathlib.Path) -> dict:
    with _readable(path):
        return ocp.PyTreeCheckpointHandler().metadata(path).tree


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong inside into a UserError: `path` is damaged. Orbax raises many classes for that."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path}: damaged ({_first_line(error)}); name another run or another step"
        ) from error


def _host(state: Mapping) -> dict:
    """The state as numpy arrays, optax's named tuples as dicts: what orbax stores and names well."""
    params, opt_state = jax.device_get((state["params"], state["opt_state"]))
    return jax.tree.map(
        np.asarray, {"params": params, "opt_state": serialization.to_state_dict(opt_state)}
    )


def _checksums(items: Mapping) -> dict[str, int]:
    return {
        name: zlib.crc32(np.ascontiguousarray(leaf))
        for name, leaf in flatten_dict(items, sep="/").items()
    }


def _verify(items: Mapping, stored: Mapping[str, int]) -> None:
    for name, checksum in _checksums(items).items():
        if checksum != stored[name]:
            raise ValueError(
                f"{name} is not what was written: checksum {checksum:08x}, expected {stored[name]:08x}"
            )


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
