"""Define the bodies of the attention kernels, in the language that Pallas compiles.

One program of a kernel computes G heads of one tile of rows. It walks over the tiles of attention
weights that the causal mask leaves: for the output over the keys before its queries, for the
gradient of keys and values over the queries after its keys.

Letters: T rows and columns of a tile, L padded length, d width of a head, G heads of a program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from gpt1_jax.models.dropout import bits_at, drop

MASKED = -1e9  # finite, so that a row whose first tile is masked has no nan


class Sizes(NamedTuple):
    """Hold the static sizes of a kernel.

    Attributes:
        length: tokens of a row without padding; positions of the dropout mask count by it.
        tile: T.
        tiles: tiles of a padded row.
        heads: all heads of the model.
        group: G.
        size: d.
        rate: dropout rate.
    """

    length: int
    tile: int
    tiles: int
    heads: int
    group: int
    size: int
    rate: float

    def rows(self, tile) -> pl.Slice | slice:
        """Return the rows of tile number `tile`. A TPU slices parts of a memory tile only at 0."""
        return pl.ds(0 if self.tiles == 1 else tile * self.tile, self.tile)

    def columns(self, head: int) -> slice:
        """Return the columns of head number `head` of a program."""
        return slice(head * self.size, (head + 1) * self.size)


class Tile(NamedTuple):
    """Hold what masks one tile of attention weights.

    Attributes:
        mask: True where the query may attend to the key.
        bits: the random bits of the dropout mask; None without dropout.
    """

    mask: Any
    bits: Any


class Program(NamedTuple):
    """Hold what one program of a kernel knows.

    Attributes:
        sequence: number of the program's first head among the heads of all rows of the batch.
        tile: number of the program's tile of rows.
        words: reference to the words of the dropout mask [2].
        read: (part, tile, head) -> [T, d]; parts 0, 1, 2 are queries, keys and values.
        segments: None, or references to the segment ids as a column [L, 1] and as a row [1, L].
    """

    sequence: Any
    tile: Any
    words: Any
    read: Callable[..., Array]
    segments: tuple[Any, Any] | None


class Saved(NamedTuple):
    """Hold references to what the backward kernel reads besides the inputs.

    Attributes:
        logsumexp: logs of the sums of all rows of attention weights [G, L].
        output: the outputs [L, G*d].
        gradient: gradient of the outputs [L, G*d].
    """

    logsumexp: Any
    output: Any
    gradient: Any

    def delta(self, rows, columns) -> Float[Array, "T 1"]:
        """Return the sums of output times gradient over the columns of a head."""
        output, gradient = self.output[rows, columns], self.gradient[rows, columns]
        products = output.astype(jnp.float32) * gradient.astype(jnp.float32)
        return products.sum(axis=1, keepdims=True)


def forward_body(sizes: Sizes, program: Program, output, logsumexp) -> None:
    """Write the outputs [T, G*d] of a tile of queries, and the log of each row's sum [G, T]."""
    for head in range(sizes.group):
        values, logs = _attend(sizes, program, head)
        output[:, sizes.columns(head)] = values.astype(output.dtype)
        logsumexp[head : head + 1, :] = logs.T


def backward_body(
    sizes: Sizes, program: Program, saved: Saved, write: Callable[[int, int, Array], None]
) -> None:
    """Compute the gradients of queries, keys and values of a tile of rows.

    Call `write(part, head, gradient [T, d])`; parts 0, 1, 2 are queries, keys and values.
    """
    for head in range(sizes.group):
        write(0, head, _query_gradient(sizes, program, saved, head))
        for part, gradient in enumerate(_key_value_gradient(sizes, program, saved, head), 1):
            write(part, head, gradient)


def _attend(
    sizes: Sizes, program: Program, head: int
) -> tuple[Float[Array, "T d"], Float[Array, "T 1"]]:
    """Return the outputs of a tile of queries, and the log of each row's sum."""
    query = program.read(0, program.tile, head)

    def add_keys(step, carry):
        largest, total, sums = carry
        tile = _tile(sizes, program, head, program.tile, step)
        scores = _scores(sizes, query, program.read(1, step, head), tile)
        new_largest = jnp.maximum(largest, scores.max(axis=1, keepdims=True))
        weights, decay = jnp.exp(scores - new_largest), jnp.exp(largest - new_largest)
        total = decay * total + weights.sum(axis=1, keepdims=True)
        value = program.read(2, step, head)
        weights = _drop(sizes, weights, tile).astype(value.dtype)
        return new_largest, total, decay * sums + _matmul(weights, value)

    column = jnp.zeros((sizes.tile, 1), jnp.float32)
    start = (column + MASKED, column, jnp.zeros((sizes.tile, sizes.size), jnp.float32))
    largest, total, sums = jax.lax.fori_loop(0, program.tile + 1, add_keys, start)
    return sums / total, largest + jnp.log(total)


def _query_gradient(sizes: Sizes, program: Program, saved: Saved, head: int) -> Float[Array, "T d"]:
    """Return the gradient of a tile of queries, from all keys before them."""
    rows, columns = sizes.rows(program.tile), sizes.columns(head)
    query = program.read(0, program.tile, head)
    gradient, delta = saved.gradient[rows, columns], saved.delta(rows, columns)
    logsumexp = saved.logsumexp[head : head + 1, rows].T

    def add_keys(step, total):
        tile = _tile(sizes, program, head, program.tile, step)
        key, value = program.read(1, step, head), program.read(2, step, head)
        weights = jnp.exp(_scores(sizes, query, key, tile) - logsumexp)
        weights_gradient = _drop(sizes, _matmul(gradient, value.T), tile)
        scores_gradient = weights * (weights_gradient - delta)
        return total + _matmul(scores_gradient.astype(key.dtype), key)

    zeros = jnp.zeros((sizes.tile, sizes.size), jnp.float32)
    return jax.lax.fori_loop(0, program.tile + 1, add_keys, zeros) * sizes.size**-0.5


def _key_value_gradient(
    sizes: Sizes, program: Program, saved: Saved, head: int
) -> tuple[Float[Array, "T d"], Float[Array, "T d"]]:
    """Return the gradients of a tile of keys and values, from all queries after them."""
    key, value = (program.read(part, program.tile, head) for part in (1, 2))
    columns = sizes.columns(head)

    def add_queries(step, carry):
        key_gradient, value_gradient = carry
        rows = sizes.rows(step)
        query, gradient = program.read(0, step, head), saved.gradient[rows, columns]
        tile = _tile(sizes, program, head, step, program.tile, transposed=True)
        weights = jnp.exp(_scores(sizes, key, query, tile) - saved.logsumexp[head : head + 1, rows])
        dropped = _drop(sizes, weights, tile).astype(query.dtype)
        value_gradient += _matmul(dropped, gradient)
        weights_gradient = _drop(sizes, _matmul(value, gradient.T), tile)
        scores_gradient = weights * (weights_gradient - saved.delta(rows, columns).T)
        key_gradient += _matmul(scores_gradient.astype(query.dtype), query)
        return key_gradient, value_gradient

    zeros = jnp.zeros((sizes.tile, sizes.size), jnp.float32)
    key_gradient, value_gradient = jax.lax.fori_loop(
        program.tile, sizes.tiles, add_queries, (zeros, zeros)
    )
    return key_gradient * sizes.size**-0.5, value_gradient


def _tile(
    sizes: Sizes, program: Program, head: int, query_tile, key_tile, transposed: bool = False
) -> Tile:
    """Return the mask and the dropout bits of a tile [queries, keys], or [keys, queries]."""
    shape, axis = (sizes.tile, sizes.tile), int(transposed)
    query = query_tile * sizes.tile + jax.lax.broadcasted_iota(jnp.int32, shape, axis)
    key = key_tile * sizes.tile + jax.lax.broadcasted_iota(jnp.int32, shape, 1 - axis)
    mask = key <= query
    if program.segments is not None:
        column, row = program.segments
        tiles = (key_tile, query_tile) if transposed else (query_tile, key_tile)
        first = column[sizes.rows(tiles[0]), :]
        second = row[:, sizes.rows(tiles[1])]
        query_segment, key_segment = (second, first) if transposed else (first, second)
        mask &= (key_segment == 0) | (key_segment == query_segment)
    if not sizes.rate:
        return Tile(mask, None)
    first = (program.sequence + head) * sizes.length
    position = (first + query) * sizes.length + key  # wraps around at 2**32
    return Tile(mask, bits_at(position.astype(jnp.uint32), program.words[0], program.words[1]))


def _scores(sizes: Sizes, rows: Array, columns: Array, tile: Tile) -> Float[Array, "T T"]:
    scores = _matmul(rows, columns.T) * sizes.size**-0.5
    return jnp.where(tile.mask, scores, MASKED)


def _drop(sizes: Sizes, weights: Float[Array, "T T"], tile: Tile) -> Float[Array, "T T"]:
    return drop(weights, tile.bits, sizes.rate) if sizes.rate else weights


def _matmul(x: Array, y: Array) -> Float[Array, "..."]:
    return jnp.dot(x, y, preferred_element_type=jnp.float32)
