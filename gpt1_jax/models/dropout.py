"""Define dropout whose random bits cost next to nothing.

A training step of GPT-1 makes about 250 million dropout decisions for every 2 x 512 tokens. Drawing
them by threefry takes almost half of a CPU step. Here the bits are a hash of (key, position). XLA
fuses this integer arithmetic into the loop that consumes the mask, so the mask is never written to
memory. The same key gives the same mask on every backend and under vmap.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32


def random_bits(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Return 32 random bits for every position of `shape`."""
    position = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return bits_at(position, *hash_key(key))


def hash_key(key: Key[Array, ""]) -> UInt32[Array, "2"]:
    """Return the two words of `bits_at` for a key.

    Both words of the key are hashed, so neighboring seeds are as independent as any others.
    """
    first, second = jax.random.key_data(key).ravel()[-2:]
    first = _hash(first ^ _hash(second, jnp.uint32(0)), jnp.uint32(0))
    return jnp.stack([first, _hash(second, first)])


def bits_at(
    position: UInt32[Array, "..."], first: UInt32[Array, ""], second: UInt32[Array, ""]
) -> UInt32[Array, "..."]:
    """Return 32 random bits for every position; `first` and `second` are those of `hash_key`.

    The position is multiplied by the golden ratio and offset by the first word. The result goes
    through the two multiply-and-shift rounds of the "lowbias32" integer hash (Wellons,
    hash-prospector). The second word enters between the rounds. The generator is made for dropout
    masks. It is not cryptographic, and its period is short.
    """
    return _hash(position * jnp.uint32(0x9E3779B1) + first, second)


def _hash(word: UInt32[Array, "..."], salt: UInt32[Array, ""]) -> UInt32[Array, "..."]:
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15) ^ salt) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)


def dropout(
    x: Float[Array, "..."], rate: float, key: Key[Array, ""], shape: tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """Zero elements of `x` with probability `rate` and scale the others by 1 / (1 - rate).

    Args:
        x: array of any shape.
        rate: probability in [0, 1).
        key: random key; pass a fresh one for every mask.
        shape: shape of the mask, broadcast to x. Elements share one decision along an axis of
            size 1. Defaults to the shape of x.
    """
    if rate == 0.0:
        return x
    return drop(x, random_bits(key, x.shape if shape is None else shape), rate)


def drop(x: Float[Array, "..."], bits: UInt32[Array, "..."], rate: float) -> Float[Array, "..."]:
    """Zero the elements of `x` whose bits are small, and scale the others, as `dropout` does."""
    keep = bits >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
