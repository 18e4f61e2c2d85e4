"""Define the paper's objectives: equation 1 (language model), 4 (task) and 5 (their sum).

Letters: N streams, P positions, D width, V rows of the embedding matrix, B examples, K classes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Num

from gpt1_jax.engine.softmax_kernel import softmax_gradient

COLUMNS = 128  # the embedding matrix is padded to a multiple of so many rows
CHUNK = 4_096  # positions whose logits exist at one time; with 40,990 rows 1.3 GB in float32


def language_model(
    hidden: Float[Array, "N P D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "N P"],
    weights: Float[Array, "N P"],
    max_targets: int | None = None,
) -> Float[Array, "N"]:
    """Return the weighted mean negative log-likelihood of every stream, in nats per token.

    Each stream has its own mean, as published: short streams weigh as much as long ones. The
    softmax runs over all rows of the embedding matrix. For training see `mean_language_model`.

    Args:
        hidden: the states after the last block.
        embedding: the embedding matrix. As published it includes the position rows.
        targets: the next token at every position.
        weights: 1 at predicted positions, 0 on padding. Other numbers occur where one row holds
            several streams (`packing.PackedExamples`); the result is then the mean of their means.
        max_targets: a bound on the number of weights that are not 0. Logits are then formed for
            only so many positions, and padding costs nothing. The values are the same.
    """
    streams, length = targets.shape
    weights = weights / _nonzero(weights.sum(axis=-1, keepdims=True))
    positions = _select(hidden, targets, weights, max_targets)
    token_losses = _token_losses(positions.hidden, embedding, positions.targets)
    return jax.ops.segment_sum(
        token_losses * positions.weights, positions.indices // length, num_segments=streams
    )


def mean_language_model(
    hidden: Float[Array, "N P D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "N P"],
    weights: Float[Array, "N P"],
    max_targets: int | None = None,
    stream_weight: Float[Array, "N"] | None = None,
) -> Float[Array, ""]:
    """Return the mean of `language_model` over the streams, each times its `stream_weight`.

    Training uses this form: its gradient takes three products and little memory
    (`weighted_loss`).
    """
    scale = jnp.ones(len(targets)) if stream_weight is None else stream_weight
    scale = scale / (len(targets) * _nonzero(weights.sum(axis=-1)))
    positions = _select(hidden, targets, weights * scale[:, None], max_targets)
    return weighted_loss(positions.hidden, embedding, positions.targets, positions.weights)


class _Positions(NamedTuple):
    """Hold the positions of all streams whose losses are computed, and their flat indices."""

    hidden: Float[Array, "P D"]
    targets: Int[Array, "P"]
    weights: Float[Array, "P"]
    indices: Int[Array, "P"]


def _select(
    hidden: Float[Array, "N P D"],
    targets: Int[Array, "N P"],
    weights: Float[Array, "N P"],
    max_targets: int | None,
) -> _Positions:
    """Return the positions with a weight, up to `max_targets`; all positions if it is None."""
    count = targets.size
    arrays = hidden.reshape(count, -1), targets.ravel(), weights.ravel()
    if max_targets is None or max_targets >= count:
        return _Positions(*arrays, jnp.arange(count))
    # Surplus indices lie outside the arrays: they read zeros, and segment_sum drops them.
    (indices,) = jnp.nonzero(weights.ravel(), size=max_targets, fill_value=count)
    read = lambda array: array.at[indices].get(mode="fill", fill_value=0)
    hidden, targets, weights = map(read, arrays)
    return _Positions(hidden, targets, weights, indices)


def _nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.where(total > 0, total, 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def weighted_loss(
    hidden: Float[Array, "P D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "P"],
    weights: Float[Array, "P"],
    chunk: int = CHUNK,
) -> Float[Array, ""]:
    """Return the sum of weight times negative log-likelihood over all positions.

    The gradient with respect to `hidden` and `embedding` is formed together with the loss, chunk
    by chunk, while a chunk's logits exist: softmax minus one-hot, times weight. No array of all
    logits is kept, and no product is computed twice. `weights` is constant.

    Args:
        hidden: the states of the positions.
        embedding: the embedding matrix.
        targets: the next tokens.
        weights: weights of the positions.
        chunk: positions whose logits exist at one time.
    """
    return jnp.sum(weights * _token_losses(hidden, embedding, targets, chunk))


def _weighted_loss_forward(hidden, embedding, targets, weights, chunk):
    # Whole tiles of columns: otherwise, XLA pads the matrix for a GPU in every chunk.
    vocab_size = len(embedding)
    embedding = jnp.pad(embedding, [(0, -vocab_size % COLUMNS), (0, 0)])
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)

    def add_chunk(total, part):
        loss, embedding_gradient = total
        hidden, targets, weights = part
        logits = product("pd,vd->pv", hidden, embedding)
        log_sums, gradient = _softmax_gradient(logits, targets, weights, vocab_size, hidden.dtype)
        loss += jnp.sum(weights * (log_sums - _target_logits(hidden, embedding, targets)))
        embedding_gradient += product("pv,pd->vd", gradient, hidden)
        hidden_gradient = product("pv,vd->pd", gradient, embedding).astype(hidden.dtype)
        return (loss, embedding_gradient), hidden_gradient

    zeros = jnp.float32(0), jnp.zeros(embedding.shape, jnp.float32)
    (loss, embedding_gradient), hidden_gradient = _scan(
        add_chunk, zeros, (hidden, targets, weights), chunk
    )
    return loss, (hidden_gradient, embedding_gradient[:vocab_size].astype(embedding.dtype))


def _softmax_gradient(
    logits: Float[Array, "P V"],
    targets: Int[Array, "P"],
    weights: Float[Array, "P"],
    vocab_size: int,
    dtype: DTypeLike,
) -> tuple[Float[Array, "P"], Float[Array, "P V"]]:
    """Return logsumexp(logits) and (softmax(logits) - one-hot(targets)) * weights.

    Only the first `vocab_size` columns count.
    """

    def plain(logits, targets, weights):
        columns = jax.lax.broadcasted_iota(targets.dtype, logits.shape, 1)
        logits = jnp.where(columns < vocab_size, logits, -jnp.inf)
        log_sums = jax.nn.logsumexp(logits, axis=-1)
        is_target = columns == targets[:, None]
        gradient = (jnp.exp(logits - log_sums[:, None]) - is_target) * weights[:, None]
        return log_sums, gradient.astype(dtype)

    kernel = functools.partial(softmax_gradient, count=vocab_size, dtype=dtype)
    return jax.lax.platform_dependent(
        logits, targets, weights, cuda=kernel, rocm=kernel, default=plain
    )


def _weighted_loss_backward(_, gradients, scale):
    hidden_gradient, embedding_gradient = gradients
    scaled = lambda gradient: (gradient * scale).astype(gradient.dtype)
    return scaled(hidden_gradient), scaled(embedding_gradient), None, None


weighted_loss.defvjp(_weighted_loss_forward, _weighted_loss_backward)


def _token_losses(
    hidden: Float[Array, "P D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "P"],
    chunk: int = CHUNK,
) -> Float[Array, "P"]:
    def losses(_, part):
        hidden, targets = part
        log_sums = jax.nn.logsumexp(_logits(hidden, embedding), axis=-1)
        return None, log_sums - _target_logits(hidden, embedding, targets)

    return _scan(losses, None, (hidden, targets), chunk)[1]


def _scan(step: Callable, carry: Any, arrays: Any, chunk: int) -> tuple[Any, Any]:
    """Scan over chunks of the rows of `arrays`, which are padded with zeros to whole chunks."""
    rows = len(arrays[0])
    if rows <= chunk:
        return step(carry, arrays)
    chunks = -(-rows // chunk)
    size = -(-rows // chunks)  # chunks of equal sizes need the least padding

    def split(array):
        missing = chunks * size - rows
        padded = jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])
        return padded.reshape(chunks, size, *array.shape[1:])

    carry, results = jax.lax.scan(step, carry, jax.tree.map(split, arrays))
    return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:rows], results)


def _logits(hidden: Float[Array, "P D"], embedding: Float[Array, "V D"]) -> Float[Array, "P V"]:
    return jnp.einsum("pd,vd->pv", hidden, embedding, preferred_element_type=jnp.float32)


def _target_logits(
    hidden: Float[Array, "P D"], embedding: Float[Array, "V D"], targets: Int[Array, "P"]
) -> Float[Array, "P"]:
    """Return the logit of each target, from its own row of the embedding matrix."""
    target_rows = embedding[targets].astype(jnp.float32)
    return jnp.sum(hidden.astype(jnp.float32) * target_rows, axis=-1)


def softmax_rows(
    embedding: Float[Array, "E D"], vocab_size: int, softmax_positions: bool
) -> Float[Array, "R D"]:
    """Return the rows of the embedding matrix over which the language model's softmax runs.

    Args:
        embedding: the embedding matrix, first the rows of tokens.
        vocab_size: the number of rows of tokens.
        softmax_positions: return all rows, also those of positions, as published. Otherwise
            return the rows of tokens.
    """
    return embedding if softmax_positions else embedding[:vocab_size]


def task(scores: Float[Array, "B K"], label: Float[Array, "..."]) -> Float[Array, "B"]:
    """Return the loss of every example.

    Args:
        scores: the outputs of the head.
        label: [B K], a distribution over the classes: the loss is the cross-entropy in nats. The
            distribution is one-hot for plain labels and covers two neighboring bins for graded
            similarity. Or [B], numbers to regress with K = 1: the loss is the squared error.
    """
    if label.ndim == 1:
        return jnp.square(scores[:, 0] - label)
    return -jnp.sum(label * jax.nn.log_softmax(scores), axis=-1)


def accuracy(scores: Float[Array, "B K"], label: Float[Array, "B K"]) -> Float[Array, ""]:
    """Return the fraction of examples whose most probable class is that of the label."""
    return jnp.mean(scores.argmax(axis=-1) == label.argmax(axis=-1), dtype=jnp.float32)


def soft_bins(scores: Num[np.ndarray, "N"], bins: int) -> Float[np.ndarray, "N K"]:
    """Return graded similarities as distributions over the whole scores 0 .. bins - 1.

    A score between two whole scores is shared by both, so that it is the mean of its distribution
    (Tai et al. 2015; the original code has the same helper for STS-B).
    """
    whole_scores = np.arange(bins)
    return np.clip(1 - np.abs(scores[:, None] - whole_scores), 0, 1).astype(np.float32)
