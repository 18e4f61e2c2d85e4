"""A run's folder: one process owns it, one configuration made it, one result ends it.

config.json  log.txt  metrics.jsonl  tb/  checkpoints/  result.json
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.runs.log import Log

# Settings that may change between the starts of one run: they decide what is seen and kept, not what is computed.
CHANGEABLE = ("log", "checkpoint")


class OpenRun(NamedTuple):
    """A run's folder, open: where it is, its log, and its result if it is finished already."""

    workdir: pathlib.Path
    log: Log
    result: dict | None

    def finish(self, result: Mapping[str, Any]) -> dict:
        """Writes result.json; the run is finished."""
        if jax.process_index() == 0:
            storage.write_json(self.workdir / "result.json", result)
        self.log.line(f"finished: {self.workdir / 'result.json'}")
        return dict(result)


@contextlib.contextmanager
def open_run(path: str, config: Mapping) -> Iterator[OpenRun]:
    """The folder `path`, owned and made ready for a run of exactly these settings; raises what `own_folder` and `store_config` raise.

    A UserError inside, before training has begun here or in a folder below, leaves the folder as it was: the corrected command
    starts afresh.
    """
    workdir, primary = pathlib.Path(path), jax.process_index() == 0
    existed, before = os.path.isdir(workdir), set(workdir.glob("*"))
    with own_folder(workdir) if primary else contextlib.nullcontext():
        try:
            if primary:
                store_config(workdir, config)
            with contextlib.closing(Log(workdir, enabled=primary)) as log:
                finished = workdir / "result.json"
                run = OpenRun(workdir, log, storage.read_json(finished, missing=None))
                if run.result is not None:
                    log.line(f"finished before: {finished}")
                yield run
        except UserError:
            if primary and not any(workdir.rglob("metrics.jsonl")):
                for made in set(workdir.glob("*")) - before:
                    shutil.rmtree(made) if made.is_dir() else made.unlink()
                if not existed:
                    workdir.rmdir()
            raise


@contextlib.contextmanager
def own_folder(workdir: pathlib.Path) -> Iterator[None]:
    """Makes the folder and owns it until the end, or the death, of this process; UserError where that cannot be."""
    with contextlib.ExitStack() as stack:
        try:
            acquired = stack.enter_context(storage.lock(workdir / ".lock"))
        except OSError as error:
            raise UserError(f"--workdir: cannot write to {workdir} ({error.strerror}); choose another folder") from None
        if not acquired:
            raise UserError(f"--workdir: another run is at work in {workdir}; wait for it or choose another folder")
        yield


def store_config(workdir: pathlib.Path, config: Mapping, free: Sequence[str] = CHANGEABLE) -> None:
    """Stores the configuration of a new run; for a known run, UserError with the first differences unless it is the same.

    Args:
        free: the top-level settings that may differ.
    """
    check_config(workdir, config, free)
    storage.write_json(workdir / "config.json", config)


def check_config(workdir: pathlib.Path, config: Mapping, free: Sequence[str] = CHANGEABLE) -> None:
    """UserError with the first differences where a run of another configuration has begun; writes nothing."""
    path = workdir / "config.json"
    config = json.loads(json.dumps(config))
    if not path.exists():
        return
    stored, wanted = flatten(storage.read_json(path)), flatten(config)
    names = sorted(name for name in stored.keys() | wanted.keys() if name.split(".")[0] not in free)
    changes = [f"{name}={stored.get(name)!r} (now {wanted.get(name)!r})" for name in names if stored.get(name) != wanted.get(name)]
    if changes:
        raise UserError(f"{path}: this run was started with {', '.join(changes[:4])}; give the same again or another --workdir")


def check_data(workdir: pathlib.Path, fingerprints: Mapping[str, str]) -> None:
    """UserError where a known run has read other data: its data.json has other "fingerprints", of the parts by their names."""
    path = workdir / "data.json"
    if not path.exists():
        return
    stored = storage.read_json(path)["fingerprints"]
    changed = sorted(name for name in stored.keys() | fingerprints.keys() if stored.get(name) != fingerprints.get(name))
    if changed:
        raise UserError(f"{path}: {', '.join(changed)} changed since this run began; restore it, or give another --workdir")


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested settings -> dotted name: value."""
    flat = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
