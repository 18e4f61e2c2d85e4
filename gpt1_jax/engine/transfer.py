"""Transfer: which params of a pretrained model a new one keeps. Pure functions on trees of arrays; nothing is read here.

The published rule: -1 keeps nothing, 0 the embeddings, K the embeddings and the first K blocks. The rest keeps its random start and
everything is trained.
"""

import collections
from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from gpt1_jax.errors import UserError

EMBEDDINGS = ("tokens", "positions")


def transferred_names(names: list[str], layers: int) -> list[str]:
    """The slash-joined names of params, among `names`, that a transfer of `layers` takes from a checkpoint.

    Raises:
        UserError: `layers` is below -1 or above the number of blocks.
    """
    depth = len({name.split("/")[0] for name in names if name.startswith("h")})
    if not -1 <= layers <= depth:
        raise UserError(
            f"config.init.layers: {layers} is not between -1 (nothing), 0 (embeddings) and the {depth} blocks of the run"
        )
    if layers == -1:
        return []
    parts = {*EMBEDDINGS, *(f"h{layer}" for layer in range(layers))}
    return [name for name in names if name.split("/")[0] in parts]


def merge(fresh: Mapping, stored: Mapping[str, np.ndarray]) -> tuple[dict, dict[str, int]]:
    """The fresh tree with the stored arrays in their places, and slash-joined name -> how many of a param's first rows are stored ones.

    Tables may differ in rows: a longer fresh one keeps its own last rows (new special tokens), a shorter one takes the first rows
    (positions that the data never reach).

    Args:
        fresh: nested dict of the new model's arrays.
        stored: slash-joined name -> array, from the checkpoint.

    Raises:
        UserError: a stored array has no place in the new model, or another shape than its place.
    """
    merged = flatten_dict(fresh, sep="/")
    kept = dict.fromkeys(merged, 0)
    for name, array in stored.items():
        if name not in merged:
            raise UserError(
                f"config.init.path: the checkpoint's {name} has no place in this model; give config.model the same sizes"
            )
        target = merged[name]
        rows = name in EMBEDDINGS and min(len(array), len(target))
        if array.shape[bool(rows) :] != target.shape[bool(rows) :]:
            raise UserError(
                f"config.init.path: {name} is {array.shape} in the checkpoint and {target.shape} in this model; give config.model the "
                "same sizes or set config.init.layers to leave it out"
            )
        whole = array.shape == target.shape
        merged[name] = array if whole else np.concatenate([array[:rows], np.asarray(target)[rows:]])
        kept[name] = len(target) if whole else rows
    return unflatten_dict(merged, sep="/"), kept


def transfer_status(merged: Mapping, kept: Mapping[str, int]) -> dict[str, str]:
    """A word on every param of what `merge` gave."""
    sizes = {name: len(array) for name, array in flatten_dict(merged, sep="/").items()}
    told = lambda size, rows: (
        f"restored {rows} of {size} rows" if 0 < rows < size else "restored" if rows else "fresh"
    )
    return {name: told(sizes[name], rows) for name, rows in kept.items()}


def status_summary(fates: Mapping[str, str]) -> str:
    """A line for each top-level part: restored, fresh or dropped, and how many arrays; for the log."""
    parts = collections.Counter((name.split("/")[0], fate) for name, fate in fates.items())
    return "\n".join(
        [
            "transfer:",
            *(f"  {part:<10} {fate} ({count} arrays)" for (part, fate), count in parts.items()),
        ]
    )
