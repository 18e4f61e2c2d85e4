"""Save and restore the checkpoints of a run, by orbax: asynchronous, atomic and verified.

`checkpoint.py` reads single checkpoints, also those of other runs.
"""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization
from orbax.checkpoint import args
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from gpt1_jax.engine.checkpoint import FOLDER, checksums, error_summary, verify
from gpt1_jax.errors import UserError

ITEMS = ("params", "opt_state")


class Checkpoints:
    """Manage the folder checkpoints/ of one run.

    Besides the newest checkpoints, keep the one with the best score: the earliest one on a tie.

    Args:
        workdir: the run's folder.
        keep: the number of newest checkpoints to keep.
        keep_steps: steps whose checkpoints are never deleted.
        log_line: write a line to the log.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        *,
        keep: int,
        keep_steps: Sequence[int] = (),
        log_line: Callable[[str], None] = print,
    ):
        self._folder = (workdir / FOLDER).absolute()
        self._log_line = log_line
        policies = [
            policy.LatestN(keep),
            policy.CustomSteps(tuple(keep_steps)),
            policy.BestN(get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False),
        ]
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(policies),
            best_fn=_rank,  # without it orbax does not store the scores
            cleanup_tmp_directories=True,
        )
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        handlers = {item: ocp.StandardCheckpointHandler() for item in ITEMS}
        handlers["meta"] = ocp.JsonCheckpointHandler()
        return ocp.CheckpointManager(self._folder, options=self._options, item_handlers=handlers)

    def save(
        self, step: int, state: Mapping, meta: Mapping[str, Any], score: float | None = None
    ) -> None:
        """Start to write the state after `step` steps; do nothing if this step is saved already.

        Args:
            step: finished steps.
            state: {"params", "opt_state"}. It is copied to the host before this returns, so its
                memory may be reused.
            meta: JSON values that readers need (the tokenizer's fingerprint).
            score: the score of this step; higher is better.

        Raises:
            UserError: this checkpoint or an earlier one cannot be written.
        """
        if step in self._manager.all_steps():
            return
        items = _to_host(state)
        metrics = None if score is None else {"score": score, "step": step}
        composite = args.Composite(
            **{item: args.StandardSave(items[item]) for item in ITEMS},
            meta=args.JsonSave({**meta, "step": step, "crc32": checksums(items)}),
        )
        try:
            saved = self._manager.save(step, args=composite, metrics=metrics)
        except (
            Exception
        ) as error:  # may concern an earlier write; orbax has no common class for these errors
            raise UserError(
                f"{self._folder}: could not save step {step} ({error_summary(error)}); "
                "is the disk full?"
            ) from error
        if not saved:
            raise RuntimeError(f"{self._folder}: orbax declined to save step {step}")

    def restore(self, state: Mapping) -> tuple[int, dict] | None:
        """Return (step, state) of the newest intact checkpoint, on the host; None if there is none.

        A damaged checkpoint is renamed to bad-<step>-<time> with a line in the log, and the one
        before it is tried.

        Args:
            state: a state of the same structure.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        target = _to_host(state)
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                items = self._read(step, target)
            except Exception as error:  # orbax raises many classes for damaged files
                self._rename_damaged(step, error)
                continue
            opt_state = serialization.from_state_dict(state["opt_state"], items["opt_state"])
            return step, {"params": items["params"], "opt_state": opt_state}
        workdir = self._folder.parent
        if bad := list(workdir.glob("bad-*")):  # also those that an earlier start has renamed
            raise UserError(
                f"{self._folder}: all {len(bad)} checkpoints are damaged; "
                f"remove the folder {workdir} to start from scratch"
            )
        return None

    def _read(self, step: int, target: Mapping) -> dict:
        composite = args.Composite(
            **{item: args.StandardRestore(target[item]) for item in ITEMS},
            meta=args.JsonRestore(),
        )
        restored = self._manager.restore(step, args=composite)
        items = {item: restored[item] for item in ITEMS}
        verify(items, restored["meta"]["crc32"])
        return items

    def _rename_damaged(self, step: int, error: Exception) -> None:
        self._manager.close()
        bad = self._folder.parent / f"bad-{step}-{int(time.time())}"
        (self._folder / str(step)).rename(bad)
        self._log_line(
            f"checkpoint of step {step} is damaged ({error_summary(error)}); renamed to {bad}"
        )
        self._manager = self._open()

    def wait(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            UserError: a checkpoint cannot be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise UserError(
                f"{self._folder}: could not save a checkpoint ({error_summary(error)}); "
                "is the disk full?"
            ) from error

    def best_step(self) -> int | None:
        """Return the step with the best score, the earliest of equals; None without scores."""
        return self._manager.best_step()

    def close(self) -> None:
        """Wait as `wait` does, then release the folder."""
        self.wait()
        self._manager.close()


def _rank(metrics: Mapping[str, float]) -> tuple[float, int]:
    return metrics["score"], -metrics["step"]


def _to_host(state: Mapping) -> dict:
    """Return the state as NumPy arrays, with optax's named tuples as dicts, as orbax stores it."""
    params, opt_state = jax.device_get((state["params"], state["opt_state"]))
    return jax.tree.map(
        np.asarray, {"params": params, "opt_state": serialization.to_state_dict(opt_state)}
    )
