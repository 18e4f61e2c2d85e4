"""Transfer params of a pretrained model to a new one, as pure functions on trees of arrays.

The published rule: K layers transfer the embeddings and the first K blocks, 0 only the embeddings,
-1 nothing. The other params keep their random initialization, and all are trained.
"""

import collections
from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from gpt1_jax.errors import UserError

EMBEDDINGS = ("tokens", "positions")
FINAL_NORM = "ln_f"  # of a pre-LN body; it belongs to the last block


def transferred_names(names: list[str], layers: int) -> list[str]:
    """Return those of the slash-joined param `names` that a transfer of `layers` layers restores.

    Raises:
        UserError: `layers` is below -1 or above the number of blocks.
    """
    blocks = len({name.split("/")[0] for name in names if name.startswith("h")})
    if not -1 <= layers <= blocks:
        raise UserError(
            f"config.init.layers: {layers} is not between -1 (nothing), 0 (embeddings) and the "
            f"{blocks} blocks of the run"
        )
    if layers == -1:
        return []
    parts = {*EMBEDDINGS, *(f"h{layer}" for layer in range(layers))}
    if layers == blocks:
        parts.add(FINAL_NORM)
    return [name for name in names if name.split("/")[0] in parts]


def merge(fresh: Mapping, stored: Mapping[str, np.ndarray]) -> tuple[dict, dict[str, int]]:
    """Replace params of a new model by those of a checkpoint.

    Return (params, param name -> number of restored first rows). Embeddings may differ in rows. If
    the new model has more, its last rows stay fresh (new special tokens). If it has fewer, the last
    rows of the checkpoint are dropped (positions that the data never reach).

    Args:
        fresh: nested dict of the new model's arrays.
        stored: slash-joined name -> array of the checkpoint.

    Raises:
        UserError: the new model has no param of a stored name, or one of another shape.
    """
    merged = flatten_dict(fresh, sep="/")
    restored_rows = dict.fromkeys(merged, 0)
    for name, array in stored.items():
        if name not in merged:
            raise UserError(
                f"config.init.path: the checkpoint's {name} is not a param of this model; "
                "give config.model the same sizes"
            )
        merged[name], restored_rows[name] = _merge_param(name, merged[name], array)
    return unflatten_dict(merged, sep="/"), restored_rows


def _merge_param(name: str, fresh, stored: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the merged param and the number of its restored first rows."""
    if stored.shape == fresh.shape:
        return stored, len(fresh)
    if name not in EMBEDDINGS or stored.shape[1:] != fresh.shape[1:]:
        raise UserError(
            f"config.init.path: {name} is {stored.shape} in the checkpoint and {fresh.shape} in "
            "this model; give config.model the same sizes or set config.init.layers to leave it out"
        )
    rows = min(len(stored), len(fresh))
    return np.concatenate([stored[:rows], np.asarray(fresh)[rows:]]), rows


def transfer_status(merged: Mapping, restored_rows: Mapping[str, int]) -> dict[str, str]:
    """Return the status of every param of `merge`: "restored", "fresh", or how many rows of it."""
    sizes = {name: len(array) for name, array in flatten_dict(merged, sep="/").items()}
    return {name: _status(sizes[name], rows) for name, rows in restored_rows.items()}


def _status(size: int, rows: int) -> str:
    if rows == 0:
        return "fresh"
    return "restored" if rows == size else f"restored {rows} of {size} rows"


def status_summary(statuses: Mapping[str, str]) -> str:
    """Return a line for the log for each top-level part: its status and its number of arrays."""
    parts = collections.Counter((name.split("/")[0], status) for name, status in statuses.items())
    lines = (f"  {part:<10} {status} ({count} arrays)" for (part, status), count in parts.items())
    return "\n".join(["transfer:", *lines])
