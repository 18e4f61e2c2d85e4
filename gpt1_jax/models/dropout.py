"""Dropout whose random bits cost next to nothing.

A training step of GPT-1 draws about 250 million keep-or-drop decisions for every 2 x 512 tokens; drawn by threefry they are
almost half of a CPU step. Here the bits are a hash of (key, position): pure integer arithmetic that XLA fuses into the loop which
consumes the mask, so nothing is written to memory, and the same key gives the same mask on every backend and under vmap.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32


def bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """32 random bits for every position of `shape`.

    The position, spread by the golden ratio and offset by one word of the key, goes through the two multiply-and-shift rounds of the
    "lowbias32" integer hash (Wellons, hash-prospector); the key's other word joins between them. The words are hashed first, so that
    neighbouring seeds are as good as any. Made for dropout masks; not for what needs a cryptographic or a long-period generator.
    """
    first, second = jax.random.key_data(key).ravel()[-2:]
    first = _hash(first ^ _hash(second, jnp.uint32(0)), jnp.uint32(0))
    second = _hash(second, first)
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return _hash(position * jnp.uint32(0x9E3779B1) + first, second)


def _hash(word: UInt32[Array, "..."], joined: UInt32[Array, ""]) -> UInt32[Array, "..."]:
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15) ^ joined) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)


def dropout(
    x: Float[Array, "..."], rate: float, key: Key[Array, ""], shape: tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """Zeroes elements of `x` with probability `rate` and scales the others by 1 / (1 - rate).

    Args:
        x: any shape.
        rate: in [0, 1).
        key: a fresh key for every mask.
        shape: of the mask, broadcast to x; 1 where elements share one decision. The shape of x by default.
    """
    if rate == 0.0:
        return x
    keep = bits(key, x.shape if shape is None else shape) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
