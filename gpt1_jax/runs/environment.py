"""Record what made a run: the command, the commit, versions, devices, host and times.

`environment.json` in the folder of a run has one entry for each start. jax is imported late, so
that `gpt1 --version` is instant.
"""

import contextlib
import functools
import importlib.metadata
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gpt1_jax import inputs, storage

FILE = "environment.json"
PACKAGES = ("gpt1_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
# Fields that a reader may rely on, as `inputs.check_fields` takes them.
FIELDS = {"starts.[].commit": str, "starts.[].versions.*": str}
DEVICES = {"starts.[].devices.kind": str, "starts.[].devices.count": int}
REPOSITORY = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def record_start(path: storage.Path, damaged: str) -> Iterator[None]:
    """Add a start to the file `path`, and its end after the block.

    A start without an end was killed.

    Args:
        path: environment.json in the folder of the run.
        damaged: what to do about a damaged file; completes the error message.

    Raises:
        UserError: the file is damaged.
    """
    earlier = inputs.read_object(path, missing={"starts": []}, damaged=damaged)["starts"]
    start = _describe()
    storage.write_json(path, {"starts": [*earlier, start]})
    try:
        yield
    finally:
        start["end"] = _now()
        with contextlib.suppress(OSError):  # a full disk has its own error
            storage.write_json(path, {"starts": [*earlier, start]})


def _describe() -> dict[str, Any]:
    import jax

    devices = jax.devices()
    return {
        "begin": _now(),
        "end": None,
        "command": sys.argv,
        "commit": commit(),
        "versions": versions(),
        "devices": {"kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "host": platform.node(),
        "system": platform.platform(),
    }


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z")


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that decide what a run computes."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.cache
def commit() -> str:
    """Return the commit of this code, with "+changes" if files differ from it; "" outside git."""
    if not (REPOSITORY / ".git").exists():
        return ""
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(REPOSITORY), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}+changes" if changes else head


def summary() -> str:
    """Return one line for `gpt1 --version`."""
    return title({"commit": commit(), "versions": versions()})


def title(start: Mapping[str, Any]) -> str:
    """Return what made a start, in one line."""
    found = start["versions"]
    named = [f"{name} {found[name]}" for name in ("gpt1_jax", "jax", "python") if name in found]
    head, plus, changes = start["commit"].partition("+")
    if head:
        named.insert(1, f"commit {head[:10]}{plus}{changes}")
    return ", ".join(named)


def makers(path: storage.Path) -> list[str]:
    """Return what made a run, and on which devices; several entries if its starts differ.

    Args:
        path: environment.json in the folder of the run; a missing file gives [].

    Raises:
        UserError: the file is damaged.
    """
    starts = inputs.read_object(path, FIELDS | DEVICES, missing={"starts": []})["starts"]
    lines = [
        f"{title(start)}, on {start['devices']['count']} x {start['devices']['kind']}"
        for start in starts
    ]
    return list(dict.fromkeys(lines))
