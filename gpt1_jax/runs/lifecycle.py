"""Manage the folder of a run, which has one process, one configuration and one result.

The folder holds config.json, environment.json, log.txt, metrics.jsonl, tb/, checkpoints/ and
result.json.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError
from gpt1_jax.inputs import flatten
from gpt1_jax.runs import environment, tracker
from gpt1_jax.runs.log import Log

# Settings that may change between the starts of one run. They decide what is written, not what is
# computed.
CHANGEABLE = ("log", "checkpoint", "check", "compile_for")
# Places of what a run reads. They may change too, because data.json records the content.
INPUT_PATHS = ("data.path", "init.path", "tokenizer.path")
PATHS = (*INPUT_PATHS, "data.cache")
LOCK = ".lock"
REPEAT = "the file is damaged: remove it, and repeat the command of the run"


class OpenRun(NamedTuple):
    """Hold the open folder of a run.

    Attributes:
        workdir: the folder.
        log: its log.
        result: the content of result.json if the run has finished, else None.
        created: the entries of the folder that this start has created (`new_path`).
        has_moved: True if an earlier start read its data from other INPUT_PATHS. A run that has
            finished must then compare the content (`check_data`).
    """

    workdir: storage.Path
    log: Log
    result: dict | None
    created: list[storage.Path]
    has_moved: bool

    def new_path(self, name: str) -> storage.Path:
        """Return the path of an entry that this start is about to write.

        If it does not exist yet, an error before training removes it.
        """
        path = self.workdir / name
        if not path.exists():
            self.created.append(path)
        return path

    def confirm(self) -> None:
        """Make sure, before a write that matters, that no other process has taken the run over.

        Raises:
            SystemExit: one has.
            OSError: the bucket of the run does not answer.
        """
        if jax.process_index() == 0:
            storage.confirm(self.workdir / LOCK)

    def finish(self, result: Mapping[str, Any]) -> dict:
        """Write result.json, which ends the run, and return it: `result` and what made the run."""
        self.confirm()
        result = {**result, "made_by": environment.makers(self.workdir / environment.FILE)}
        if jax.process_index() == 0:
            storage.write_json(self.workdir / "result.json", result)
        self.log.line(f"finished: {self.workdir / 'result.json'}")
        return result


@contextlib.contextmanager
def open_run(path: str, config: Mapping, tracker_name: str = tracker.NONE) -> Iterator[OpenRun]:
    """Lock the folder `path` and prepare it for a run with exactly this configuration.

    A UserError before training begins (`Log.start`) removes what this start has created, and
    nothing else. The corrected command then starts from the beginning. An earlier config.json is
    restored.

    Args:
        path: the folder.
        config: the settings, as JSON values.
        tracker_name: one of tracker.TRACKERS, which receives the metrics, too.

    Raises:
        UserError: as `lock_workdir`, `store_config` and `Log`.
    """
    workdir, is_primary = storage.path(path), jax.process_index() == 0
    created = [entry for entry in (workdir, workdir / LOCK) if not entry.exists()]
    with lock_workdir(workdir) if is_primary else contextlib.nullcontext():
        files = workdir / "config.json", workdir / "log.txt"
        created += [file for file in files if not file.exists()]
        log = earlier = None
        try:
            earlier = inputs.read_object(workdir / "config.json", missing=None)
            moved = has_moved(workdir, config)
            if is_primary:
                store_config(workdir, config)
            settings = flatten(config)
            with contextlib.closing(Log(workdir, is_primary, settings, tracker_name)) as log:
                result_path = workdir / "result.json"
                result = inputs.read_object(result_path, missing=None, damaged=REPEAT)
                if result is not None:
                    log.line(f"finished before: {result_path}")
                run = OpenRun(workdir, log, result, created, moved)
                with _recorded_start(run) if is_primary else contextlib.nullcontext():
                    yield run
        except UserError:
            if is_primary and not (log and log.started):
                _remove(created)
                if earlier is not None:
                    storage.write_json(workdir / "config.json", earlier)
            raise


def _recorded_start(run: OpenRun) -> contextlib.AbstractContextManager:
    """Return the block that records this start in environment.json, unless the run has finished."""
    if run.result is not None:
        return contextlib.nullcontext()
    return environment.record_start(run.new_path(environment.FILE), REPEAT)


def _remove(created: Sequence[storage.Path]) -> None:
    """Delete files and empty folders; `created` lists a folder before its entries."""
    for entry in reversed(created):
        # A folder that others have put something into stays, and so does what is gone already.
        with contextlib.suppress(OSError):
            entry.rmdir() if entry.is_dir() else entry.unlink()


@contextlib.contextmanager
def lock_workdir(workdir: storage.Path) -> Iterator[None]:
    """Create the folder and lock it for the duration of the block, at most until this process ends.

    Raises:
        UserError: the folder cannot be written, or another process holds its lock.
    """

    def report_wait():
        print(
            f"{workdir} is locked: waiting, at most a minute, to see whether its process is alive",
            file=sys.stderr,
            flush=True,
        )

    with contextlib.ExitStack() as stack:
        try:
            lock = storage.lock(workdir / LOCK, on_wait=report_wait, patient=True, guards=workdir)
            acquired = stack.enter_context(lock)
        except OSError as error:
            raise UserError(
                f"--workdir: cannot write to {workdir} ({error.strerror}); choose another folder"
            ) from None
        if not acquired:
            raise UserError(
                f"--workdir: another process runs in {workdir}; "
                "wait for it or choose another folder"
            )
        yield


def store_config(
    workdir: storage.Path, config: Mapping, changeable: Sequence[str] = CHANGEABLE
) -> None:
    """Write config.json. Refuse the folder of a run that was started with other settings.

    The PATHS of any section may change.

    Args:
        workdir: folder of the run.
        config: nested settings.
        changeable: top-level settings that may change between the starts of the run, too.

    Raises:
        UserError: the run was started with other settings; the message lists the first differences.
    """
    check_config(workdir, config, changeable)
    storage.write_json(workdir / "config.json", config)


def check_config(
    workdir: storage.Path, config: Mapping, changeable: Sequence[str] = CHANGEABLE
) -> None:
    """Raise the UserError of `store_config` without writing anything; arguments as there."""
    changes = [
        f"{name}={old!r} (now {new!r})"
        for name, (old, new) in _changed(workdir, config).items()
        if name.split(".")[0] not in changeable and not _is_one_of(name, PATHS)
    ]
    if changes:
        raise UserError(
            f"{workdir / 'config.json'}: this run was started with {', '.join(changes[:4])}; "
            "give the same again or another --workdir"
        )


def has_moved(workdir: storage.Path, config: Mapping) -> bool:
    """Return whether config.json names other INPUT_PATHS than `config`."""
    return any(_is_one_of(name, INPUT_PATHS) for name in _changed(workdir, config))


def _changed(workdir: storage.Path, config: Mapping) -> dict[str, tuple[Any, Any]]:
    """Return dotted name -> (value in config.json, value in `config`) of what differs."""
    stored = inputs.read_object(workdir / "config.json", missing=None)
    if stored is None:
        return {}
    old, new = flatten(stored), flatten(json.loads(json.dumps(config)))
    names = sorted(old.keys() | new.keys())
    return {
        name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    }


def _is_one_of(name: str, settings: Sequence[str]) -> bool:
    """Return whether the dotted name is one of `settings`, in any section."""
    return any(f".{name}".endswith(f".{setting}") for setting in settings)


def config_fingerprint(config: Mapping, changeable: Sequence[str] = CHANGEABLE) -> str:
    """Return the SHA-256, in hexadecimal, of the settings that all starts of a run share."""
    fixed = {
        name: value
        for name, value in flatten(config).items()
        if name.split(".")[0] not in changeable and not _is_one_of(name, PATHS)
    }
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def check_data(workdir: storage.Path, fingerprints: Mapping[str, Any]) -> None:
    """Compare the run's data with the data of its first start, as data.json records it.

    Args:
        workdir: folder of the run.
        fingerprints: name of each part of the data -> its fingerprint, a JSON value.

    Raises:
        UserError: data.json exists and a fingerprint differs.
    """
    path = workdir / "data.json"
    if not path.exists():
        return
    stored = inputs.read_object(path, {"fingerprints": dict})["fingerprints"]
    names = sorted(stored.keys() | fingerprints.keys())
    changes = [name for name in names if stored.get(name) != fingerprints.get(name)]
    if changes:
        raise UserError(
            f"{path}: {', '.join(changes)} changed since this run began; "
            "restore the data or give another --workdir"
        )
