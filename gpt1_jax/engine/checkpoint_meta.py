"""Write and verify the metadata of a checkpoint: its step, score, run, and checksums.

All decisions about a checkpoint are taken from its metadata, which holds a checksum of itself.
"""

import json
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from gpt1_jax import storage
from gpt1_jax.engine.checkpoint_errors import DamagedError, read_with_retries
from gpt1_jax.errors import UserError

ITEM, FILE = "meta", "metadata"  # the file ITEM/FILE in the folder of a checkpoint
PARAMS_ONLY = "params_only"  # True: the other arrays were deleted when the run had finished
# The names in metadata without a checksum, which earlier versions wrote.
WITHOUT_CHECKSUM = {"tokenizer", "step", "crc32"}


def build(
    values: Mapping[str, Any], step: int, score: float | None, items: Mapping
) -> dict[str, Any]:
    """Return the metadata of a checkpoint.

    Args:
        values: JSON values, among them those that are equal in all checkpoints of a run and
            differ in other runs.
        step: finished steps.
        score: the score of this step; higher is better.
        items: the nested dict of NumPy arrays.

    Returns:
        `values` with "step", "score", "crc32" and "arrays" (both by the slash-joined name of the
        array), and "checksum" over all of this.
    """
    meta = {
        **values,
        "step": step,
        "score": score,
        "crc32": checksums(items),
        "arrays": _structure(items),
    }
    return {**meta, "checksum": _checksum(meta)}


def read(
    folder: storage.Path, step: int, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Return the metadata of the checkpoint in `folder`, verified.

    Metadata of earlier versions has no checksum and only "tokenizer", "step" and "crc32".

    Raises:
        DamagedError: it is missing, or is not what was written.
        UserError: it cannot be read, or is that of another step than `step`.
    """
    path = folder / ITEM / FILE
    meta = read_with_retries(path.parent, lambda: json.loads(path.read_bytes()), sleep)
    if not isinstance(meta, dict):
        raise DamagedError("its metadata is no JSON object")
    stored = meta.get("checksum")
    values = {name: value for name, value in meta.items() if name != "checksum"}
    if stored != _checksum(values) if stored is not None else values.keys() - WITHOUT_CHECKSUM:
        raise DamagedError("its metadata is not what was written")
    if not isinstance(meta.get("crc32"), dict) or "step" not in meta:
        raise DamagedError("its metadata has no step or no checksums")
    if meta["step"] != step:
        raise UserError(
            f"{folder}: holds the checkpoint of step {meta['step']}, not of step {step}; "
            "it was copied or renamed: move it away"
        )
    return meta


def write_params_only(folder: storage.Path, meta: Mapping[str, Any]) -> None:
    """Note in the metadata `meta` of the checkpoint in `folder` that it has no array but params.

    Raises:
        OSError: the file cannot be written.
    """
    values = {name: value for name, value in meta.items() if name != "checksum"}
    values[PARAMS_ONLY] = True
    content = json.dumps({**values, "checksum": _checksum(values)})
    storage.write_text(folder / ITEM / FILE, content)


def check_run(folder: storage.Path, meta: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Raise UserError if the checkpoint does not hold the values `run` that its run shares."""
    if "checksum" not in meta or run.keys() - meta.keys():
        raise UserError(
            f"{folder}: an earlier version wrote this checkpoint without the settings of its run, "
            "so it cannot be resumed, only read (config.init.path, --checkpoint); "
            "give another --workdir"
        )
    if others := [name for name, value in run.items() if meta[name] != value]:
        raise UserError(
            f"{folder}: is a checkpoint of another run (another {', '.join(others)}); move it away"
        )


def check_structure(folder: storage.Path, meta: Mapping[str, Any], items: Mapping) -> None:
    """Raise UserError if the checkpoint has other arrays than the nested dict `items`."""
    stored, expected = meta["arrays"], _structure(items)
    for name in sorted(stored.keys() | expected.keys()):
        if stored.get(name) != expected.get(name):
            raise UserError(
                f"{folder}: {name} is {stored.get(name, 'absent')} in the checkpoint and "
                f"{expected.get(name, 'absent')} in this model and optimizer; "
                "give another --workdir, or use the version that wrote it"
            )


def checksums(items: Mapping) -> dict[str, int]:
    """Return slash-joined name -> CRC-32 of every array of a nested dict."""
    return {
        name: zlib.crc32(np.ascontiguousarray(leaf))  # pyright: ignore[reportArgumentType]
        for name, leaf in flatten_dict(items, sep="/").items()
    }


def verify(items: Mapping, stored: Mapping[str, int]) -> None:
    """Check the arrays of a nested dict against their stored checksums.

    Raises:
        DamagedError: an array was damaged.
    """
    for name, checksum in checksums(items).items():
        if checksum != stored.get(name):
            raise DamagedError(
                f"{name} is not what was written: checksum {checksum}, expected {stored.get(name)}"
            )


def _structure(items: Mapping) -> dict[str, str]:
    """Return slash-joined name -> type and shape of every array, such as "float32[300, 64]"."""
    return {
        name: f"{leaf.dtype}{list(leaf.shape)}"
        for name, leaf in flatten_dict(items, sep="/").items()
    }


def _checksum(values: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
