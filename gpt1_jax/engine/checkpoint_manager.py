"""Save and restore the checkpoints of a run, by orbax: asynchronous, atomic and verified.

In a job of several processes, process 0 alone writes, verifies and renames checkpoints. The others
read the step that process 0 has chosen. `checkpoint.py` reads single checkpoints, also those of
other runs.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import numpy as np
from flax import serialization

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint_meta, devices
from gpt1_jax.engine.checkpoint import FOLDER, read_state, read_verified_params, saved_steps
from gpt1_jax.engine.checkpoint_errors import DamagedError
from gpt1_jax.engine.checkpoint_writer import Writer, best_step
from gpt1_jax.errors import UserError

Content = TypeVar("Content")
NO_STEP = -1
SET_ASIDE = re.compile(r"bad-(\d+)-\d+")


class Checkpoints:
    """Manage the folder checkpoints/ of one run.

    Besides the newest checkpoints, keep the one with the best score: the earliest one on a tie.
    All processes of a job call `restore`, `wait` and `best` in the same order.

    Args:
        workdir: the run's folder.
        run: JSON values that are equal in all checkpoints of this run and differ in other runs
            (the tokenizer's fingerprint, the seed). They are stored with every checkpoint.
        keep: the number of newest checkpoints to keep.
        keep_steps: steps whose checkpoints are never deleted.
        log_line: write a line to the log.
        sleep: wait for a number of seconds, between two attempts to read.
    """

    def __init__(
        self,
        workdir: storage.Path,
        run: Mapping[str, Any],
        *,
        keep: int,
        keep_steps: Sequence[int] = (),
        log_line: Callable[[str], None] = print,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._workdir, self._folder = workdir, (workdir / FOLDER).absolute()
        self._run, self._log_line, self._sleep = dict(run), log_line, sleep
        self._scores: dict[int, float] = {}  # step -> score, of the checkpoints that have one
        self._writer = Writer(self._folder, keep, keep_steps, self._scores)

    def save(
        self,
        step: int,
        state: Mapping,
        score: float | None = None,
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Start to write the state after `step` steps; do nothing if this step is saved already.

        Args:
            step: finished steps.
            state: {"params", "opt_state"}. It is copied to the host before this returns, so its
                memory may be reused.
            score: the score of this step; higher is better.
            values: JSON values that belong to this step; `checkpoint.read_meta` returns them.

        Raises:
            UserError: this checkpoint or an earlier one cannot be written.
        """
        if jax.process_index() != 0:
            return
        self._writer.finish()
        if step in saved_steps(self._folder):
            return
        items = _to_host(state)
        if score is not None:
            self._scores[step] = score
        meta = checkpoint_meta.build({**self._run, **values}, step, score, items)
        self._writer.write(step, items, meta)

    def wait(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            UserError: a checkpoint cannot be written.
        """

        def finish() -> int:
            self._writer.finish()
            return NO_STEP

        devices.from_first_process(finish)

    def close(self) -> None:
        """Release the folder after the last save has ended, on this process only.

        Raises:
            UserError: a checkpoint cannot be written.
        """
        self._writer.close()

    def restore(self, state: Mapping, final: int | None = None) -> tuple[int, dict] | None:
        """Return (step, state) of the newest intact checkpoint, on the host; None if there is none.

        If a checkpoint is intact, the damaged ones are renamed to bad-<step>-<time>, with a line in
        the log. If none is, the newest folder bad-* that is intact is renamed back. An error of the
        system renames nothing, nor do arrays of another structure.

        Args:
            state: a state of the same structure.
            final: the last step of the run. A checkpoint of this step may hold params only; the
                optimizer's state is then that of `state`, because no step will use it.

        Raises:
            UserError: there are checkpoints, and all are damaged; one cannot be read; one is of
                another run, another step or another structure; the newest intact one holds params
                only, and is not the last of the run.
        """
        target = _to_host(state)
        chosen = self._choose(
            lambda: self._newest_intact(target),
            lambda step: self._read(step, self._folder / str(step), target),
        )
        if chosen is None:
            return None
        step, items = chosen
        if "opt_state" not in items:
            if step != final:
                raise UserError(
                    f"{self._folder / str(step)}: holds params only, as every checkpoint of a "
                    "finished run, so training cannot go on from it; start from its params "
                    "(config.init.path), or give another --workdir"
                )
            return step, {"params": items["params"], "opt_state": state["opt_state"]}
        opt_state = serialization.from_state_dict(state["opt_state"], items["opt_state"])
        return step, {"params": items["params"], "opt_state": opt_state}

    def best(self) -> tuple[int, dict] | None:
        """Return (step, params) of the best score, the earliest of equals; None without scores.

        If it is damaged, rename it as `restore` does, and return the next best one.

        Raises:
            UserError: all checkpoints with a score are damaged, or one cannot be read.
        """
        return self._choose(self._best_intact, self._read_params)

    def _choose(
        self,
        choose: Callable[[], tuple[int, Content] | None],
        read: Callable[[int], Content],
    ) -> tuple[int, Content] | None:
        """Return `choose()` of process 0: a step and its content. The others call `read(step)`."""
        chosen = None

        def choose_step() -> int:
            nonlocal chosen
            chosen = choose()
            return NO_STEP if chosen is None else chosen[0]

        step = devices.from_first_process(choose_step)
        if chosen is not None or step == NO_STEP:
            return chosen
        try:
            return step, read(step)
        except DamagedError as error:
            raise UserError(
                f"{self._folder / str(step)}: process {jax.process_index()} does not read what "
                f"process 0 reads ({error}); all hosts must share the folder"
            ) from error

    def _newest_intact(self, target: Mapping) -> tuple[int, dict] | None:
        """Return the newest intact checkpoint, else the newest intact folder bad-*."""
        steps, damaged = self._read_scores()
        candidates = [(step, self._folder / str(step)) for step in reversed(steps)]
        for step, folder in [*candidates, *self._folders_set_aside()]:
            try:
                items = self._read(step, folder, target)
            except DamagedError as error:
                damaged[folder] = error
                continue
            self._set_aside(damaged)
            if folder.parent != self._folder:
                self._move(folder, self._folder / str(step))
                self._log_line(f"{folder} is intact; renamed to {self._folder / str(step)}")
                self._read_scores()
            return step, items
        self._check_some_intact(damaged)
        return None

    def _best_intact(self) -> tuple[int, dict] | None:
        """Return the step and the params of the intact checkpoint with the best score."""
        steps, damaged = self._read_scores()
        while (step := best_step(self._scores, steps)) is not None:
            try:
                params = self._read_params(step)
            except DamagedError as error:
                damaged[self._folder / str(step)] = error
                steps.remove(step)
                continue
            self._set_aside(damaged)
            if damaged:
                self._log_line(f"the best intact checkpoint is that of step {step}")
            return step, params
        self._check_some_intact(damaged)
        return None

    def _read_scores(self) -> tuple[list[int], dict[storage.Path, DamagedError]]:
        """Read the scores from all verified metadata; return their steps, and what is damaged."""
        steps, damaged = [], {}
        self._scores.clear()
        for step in saved_steps(self._folder):
            folder = self._folder / str(step)
            try:
                score = self._read_meta(step, folder)["score"]
            except DamagedError as error:
                damaged[folder] = error
                continue
            steps.append(step)
            if score is not None:
                self._scores[step] = score
        return steps, damaged

    def _read_meta(self, step: int, folder: storage.Path) -> dict[str, Any]:
        """Return the verified metadata of a checkpoint of this run."""
        meta = checkpoint_meta.read(folder, step, self._sleep)
        checkpoint_meta.check_run(folder, meta, self._run)
        return meta

    def _read(self, step: int, folder: storage.Path, target: Mapping) -> dict:
        """Return the verified arrays of a checkpoint of this run, by item: params, opt_state.

        The second is missing after a pruning.
        """
        meta = self._read_meta(step, folder)
        checkpoint_meta.check_structure(folder, meta, target)
        if meta.get(checkpoint_meta.PARAMS_ONLY):
            target = {"params": target["params"]}
        return read_state(folder, target, meta["crc32"], self._sleep)

    def _read_params(self, step: int) -> dict:
        return read_verified_params(self._folder / str(step), step, sleep=self._sleep)

    def _folders_set_aside(self) -> list[tuple[int, storage.Path]]:
        """Return (step, folder) of the damaged checkpoints of earlier starts, newest first."""
        folders = [self._workdir / name for name in storage.names(self._workdir)]
        matches = [(SET_ASIDE.fullmatch(folder.name), folder) for folder in folders]
        return sorted(((int(match[1]), folder) for match, folder in matches if match), reverse=True)

    def _check_some_intact(self, damaged: Mapping[storage.Path, DamagedError]) -> None:
        """Raise UserError if there are damaged checkpoints."""
        if damaged:
            folder, error = next(iter(damaged.items()))
            raise UserError(
                f"{self._folder}: all {len(damaged)} checkpoints are damaged "
                f"({folder.name}: {error}); "
                f"remove the folder {self._workdir} to start from scratch"
            )

    def _set_aside(self, damaged: Mapping[storage.Path, DamagedError]) -> None:
        """Rename damaged checkpoints, so that their steps can be saved again."""
        for folder, error in damaged.items():
            if folder.parent == self._folder:
                self._writer.close()  # orbax's manager has a list of the steps
                self._scores.pop(int(folder.name), None)
                bad = self._workdir / f"bad-{folder.name}-{int(time.time())}"
                self._move(folder, bad)
                self._log_line(
                    f"checkpoint of step {folder.name} is damaged ({error}); renamed to {bad}"
                )

    @staticmethod
    def _move(folder: storage.Path, target: storage.Path) -> None:
        try:
            storage.move_folder(folder, target)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be renamed to {target} ({error.strerror}); "
                "rename it and repeat the command"
            ) from None


def _to_host(state: Mapping) -> dict:
    """Return the state as NumPy arrays, with optax's named tuples as dicts, as orbax stores it."""
    params, opt_state = jax.device_get((state["params"], state["opt_state"]))
    return jax.tree.map(
        np.asarray, {"params": params, "opt_state": serialization.to_state_dict(opt_state)}
    )
