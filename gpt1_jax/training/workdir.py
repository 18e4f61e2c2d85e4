"""A run's folder: one process owns it, one configuration made it, one result ends it.

config.json  log.txt  metrics.jsonl  tb/  checkpoints/  result.json
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from gpt1_jax.errors import UserError
from gpt1_jax.training.log import Log

# Settings that may change between the starts of one run: they decide what is seen and kept, not what is computed.
FREE = ("log", "checkpoint")


class Run(NamedTuple):
    """A run's folder, open: where it is, its log, and its result if it is finished already."""

    workdir: pathlib.Path
    log: Log
    result: dict | None

    def finish(self, result: Mapping[str, Any]) -> dict:
        """Writes result.json; the run is finished."""
        if jax.process_index() == 0:
            write_json(self.workdir / "result.json", result)
        self.log.line(f"finished: {self.workdir / 'result.json'}")
        return dict(result)


@contextlib.contextmanager
def opened(path: str, config: Mapping) -> Iterator[Run]:
    """The folder `path`, owned and made ready for a run of exactly these settings; raises what `claim` and `same_config` raise.

    A UserError inside, before training has begun here or in a folder below, leaves the folder as it was: the corrected command
    starts afresh.
    """
    workdir, primary = pathlib.Path(path), jax.process_index() == 0
    existed, before = os.path.isdir(workdir), set(workdir.glob("*"))
    with claim(workdir) if primary else contextlib.nullcontext():
        try:
            if primary:
                same_config(workdir, config)
            with contextlib.closing(Log(workdir, enabled=primary)) as log:
                finished = workdir / "result.json"
                run = Run(workdir, log, read_json(finished) if finished.exists() else None)
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
def claim(workdir: pathlib.Path) -> Iterator[None]:
    """Makes the folder and owns it until the end, or the death, of this process; UserError where that cannot be."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = open(workdir / ".lock", "w")
    except OSError as error:
        raise UserError(f"--workdir: cannot write to {workdir} ({error.strerror}); choose another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"--workdir: another run is at work in {workdir}; wait for it or choose another folder") from None
        yield


def same_config(workdir: pathlib.Path, config: Mapping, free: Sequence[str] = FREE) -> None:
    """Stores the configuration of a new run; for a known run, UserError with the first differences unless it is the same.

    Args:
        free: the top-level settings that may differ.
    """
    known_config(workdir, config, free)
    write_json(workdir / "config.json", config)


def known_config(workdir: pathlib.Path, config: Mapping, free: Sequence[str] = FREE) -> None:
    """UserError with the first differences where a run of another configuration has begun; writes nothing.

    Runs that are older than the section `published` were as published.
    """
    path = workdir / "config.json"
    config = json.loads(json.dumps(config))
    if not path.exists():
        return
    stored, wanted = flatten(read_json(path)), flatten(config)
    if not any(name.startswith("published.") for name in stored):
        stored |= {name: True for name in wanted if name.startswith("published.")}
    names = sorted(name for name in stored.keys() | wanted.keys() if name.split(".")[0] not in free)
    changes = [f"{name}={stored.get(name)!r} (now {wanted.get(name)!r})" for name in names if stored.get(name) != wanted.get(name)]
    if changes:
        raise UserError(f"{path}: this run was started with {', '.join(changes[:4])}; give the same again or another --workdir")


def same_data(workdir: pathlib.Path, fingerprints: Mapping[str, str]) -> None:
    """UserError where a known run has read other data: its data.json has other "fingerprints", of the parts by their names."""
    path = workdir / "data.json"
    if not path.exists():
        return
    stored = read_json(path)["fingerprints"]
    changed = sorted(name for name in stored.keys() | fingerprints.keys() if stored.get(name) != fingerprints.get(name))
    if changed:
        raise UserError(f"{path}: {', '.join(changed)} changed since this run began; restore it, or give another --workdir")


def read_json(path: pathlib.Path) -> Any:
    """The content of a JSON file; UserError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; is {path.parent} the folder of a run?") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); the file is damaged") from None


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes the file whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested settings -> dotted name: value."""
    flat = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
