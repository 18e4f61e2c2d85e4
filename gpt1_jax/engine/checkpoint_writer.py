"""Write checkpoints by orbax, in the background, and delete those that are not kept.

Only process 0 of a job writes, and waits for no other process.
"""

import functools
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import args
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint_meta
from gpt1_jax.engine.checkpoint import orbax_path
from gpt1_jax.engine.checkpoint_errors import error_summary, os_error
from gpt1_jax.errors import UserError

ITEMS = ("params", "opt_state")
SPARE_BYTES = 1 << 20  # besides the arrays, or a tenth of their size if that is more


class Writer:
    """Write the checkpoints of one run.

    Args:
        folder: the folder of the checkpoints.
        keep: the number of newest checkpoints to keep.
        keep_steps: steps whose checkpoints are never deleted.
        scores: step -> score; the checkpoint with the best score is kept, too. The owner of the
            mapping adds the score of a step before the step is written.
    """

    def __init__(
        self,
        folder: storage.Path,
        keep: int,
        keep_steps: Sequence[int],
        scores: Mapping[int, float],
    ):
        self._folder = folder
        self._policies = [
            policy.LatestN(keep),
            policy.CustomSteps(tuple(keep_steps)),
            _KeepBest(scores),
        ]
        self._writing: int | None = None  # the step that is perhaps not on the disk yet

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Return orbax's manager, which deletes the remains of interrupted saves when it opens."""
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy(self._policies),
            create=False,  # orbax creates the folder only if all processes take part
            cleanup_tmp_directories=True,
            lightweight_initialize=True,  # scores and steps come from verified metadata
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                primary_host=0, active_processes={0}, barrier_sync_key_prefix="checkpoints"
            ),
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        handlers: dict[str, Any] = {item: ocp.StandardCheckpointHandler() for item in ITEMS}
        handlers[checkpoint_meta.ITEM] = ocp.JsonCheckpointHandler(checkpoint_meta.FILE)
        folder = orbax_path(self._folder)
        return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)

    def write(self, step: int, items: Mapping, meta: Mapping[str, Any]) -> None:
        """Start to write a checkpoint. The arrays must not change any more.

        Raises:
            UserError: it cannot be written.
        """
        self._check_space(step, items)
        composite = args.Composite(
            **{item: args.StandardSave(items[item]) for item in ITEMS}, meta=args.JsonSave(meta)
        )
        self._writing = step
        try:
            saved = self._manager.save(step, args=composite)
        except Exception as error:  # orbax has no common class for these errors
            raise self._save_error(error) from error
        if not saved:
            raise RuntimeError(f"{self._folder}: orbax declined to save step {step}")

    def finish(self) -> None:
        """Wait until the last step is on the disk.

        Raises:
            UserError: it cannot be written.
        """
        if self._writing is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._save_error(error) from error
        self._writing = None

    def close(self) -> None:
        """Finish as `finish` does, and release the folder. The next `write` looks at it anew."""
        if "_manager" in self.__dict__:
            try:
                self.finish()
            finally:
                self._manager.close()
                del self._manager

    def _check_space(self, step: int, items: Mapping) -> None:
        """Raise UserError if a checkpoint of these arrays does not fit on the disk."""
        if isinstance(self._folder, storage.BucketPath):
            return
        size = sum(array.nbytes for array in jax.tree.leaves(items))
        needed = size + max(size // 10, SPARE_BYTES)
        folder = self._folder if self._folder.exists() else self._folder.parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise UserError(
                f"{self._folder}: step {step} is not saved, because a checkpoint needs "
                f"{needed / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; the earlier checkpoints "
                "are intact, so free some space and repeat the command"
            )

    def _save_error(self, error: Exception) -> UserError:
        """Delete what is left of the step that could not be written; return the user's error."""
        step, self._writing = self._writing, None
        # In a bucket, the folder has no mark of completeness, and the next start deletes it.
        if not isinstance(self._folder, storage.BucketPath):
            _delete_while_written(self._folder, f"{step}.orbax-checkpoint-tmp*")
        return UserError(
            f"{self._folder}: cannot save step {step} ({os_error(error) or error_summary(error)}); "
            "the earlier checkpoints are intact, so mend the cause and repeat the command"
        )


def _delete_while_written(folder: pathlib.Path, pattern: str) -> None:
    """Delete the folders with these names; TensorStore may still write files and folders there."""
    for _ in range(20):
        for remains in folder.glob(pattern):
            shutil.rmtree(remains, ignore_errors=True)
        time.sleep(0.05)
        if not any(folder.glob(pattern)):
            return


class _KeepBest(policy.PreservationPolicy):
    """Preserve the checkpoint with the best score."""

    def __init__(self, scores: Mapping[int, float]):
        self._scores = scores

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        best = best_step(self._scores, [checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step == best for checkpoint in checkpoints]


def best_step(scores: Mapping[int, float], steps: Iterable[int]) -> int | None:
    """Return the step with the best score, the earliest of equals; None if none has a score."""
    scored = [step for step in steps if step in scores]
    return max(scored, key=lambda step: (scores[step], -step), default=None)
