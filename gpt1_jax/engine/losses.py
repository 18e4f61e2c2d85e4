"""Define the paper's objectives: equation 1 (language model), 4 (task) and 5 (their sum).

Letters: N streams, P positions, D width, V rows of the embedding matrix, B examples, K classes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num


def language_model(
    hidden: Float[Array, "N P D"],
    embedding: Float[Array, "V D"],
    targets: Int[Array, "N P"],
    weights: Float[Array, "N P"],
    max_targets: int | None = None,
) -> Float[Array, "N"]:
    """Return the weighted mean negative log-likelihood of every stream, in nats per token.

    Each stream has its own mean, as published: short streams weigh as much as long ones. The
    softmax runs over all rows of the embedding matrix.

    Args:
        hidden: the states after the last block.
        embedding: the embedding matrix. As published it includes the position rows.
        targets: the next token at every position.
        weights: 1 at predicted positions, 0 on padding. Other numbers occur where one row holds
            several streams (`packing.PackedExamples`); the result is then the mean of their means.
        max_targets: a bound on the number of weights that are not 0. Logits are then formed for
            only so many positions, and padding costs nothing. The values are the same.
    """
    streams, length, width = hidden.shape
    positions = streams * length
    if max_targets is None or max_targets >= positions:
        sums = (_token_losses(hidden, embedding, targets) * weights).sum(axis=-1)
    else:
        # Surplus indices lie outside the arrays: they read zeros, and segment_sum drops them.
        (indices,) = jnp.nonzero(weights.ravel(), size=max_targets, fill_value=positions)
        hidden_rows, target_ids, row_weights = (
            array.at[indices].get(mode="fill", fill_value=0)
            for array in (hidden.reshape(positions, width), targets.ravel(), weights.ravel())
        )
        losses = _token_losses(hidden_rows, embedding, target_ids) * row_weights
        sums = jax.ops.segment_sum(losses, indices // length, num_segments=streams)
    total = weights.sum(axis=-1)
    return sums / jnp.where(total > 0, total, 1)


def _token_losses(
    hidden: Float[Array, "*P D"], embedding: Float[Array, "V D"], targets: Int[Array, "*P"]
) -> Float[Array, "*P"]:
    logits = jnp.einsum("...d,vd->...v", hidden, embedding, preferred_element_type=jnp.float32)
    # The target's logit is computed from its own embedding row. Indexing `logits` would give the
    # backward pass a second array of the size of `logits`, filled with zeros and one number a row.
    target_rows = embedding[targets].astype(jnp.float32)
    target_logits = jnp.sum(hidden.astype(jnp.float32) * target_rows, axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - target_logits


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


def soft_bins(scores: Num[np.ndarray, "N"], bins: int) -> Float[np.ndarray, "N K"]:
    """Return graded similarities as distributions over the whole scores 0 .. bins - 1.

    A score between two whole scores is shared by both, so that it is the mean of its distribution
    (Tai et al. 2015; the original code has the same helper for STS-B).
    """
    whole_scores = np.arange(bins)
    return np.clip(1 - np.abs(scores[:, None] - whole_scores), 0, 1).astype(np.float32)
