"""Compute the fingerprint of a model's params."""

import hashlib
from collections.abc import Mapping

import jax
import numpy as np
from flax.traverse_util import flatten_dict


def params_sha256(params: Mapping) -> str:
    """Return the SHA-256, in hexadecimal, of the names, shapes, types and bytes of all params."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten_dict(jax.device_get(params), sep="/").items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(array)  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()
