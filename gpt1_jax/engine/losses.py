"""The paper's objectives: equation 1 (language model), 4 (task) and 5 (their sum).

Letters: N streams, P positions, D width, T rows of the table, B examples, K classes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num


def language_model(
    hidden: Float[Array, "N P D"],
    table: Float[Array, "T D"],
    targets: Int[Array, "N P"],
    weights: Float[Array, "N P"],
    max_targets: int | None = None,
) -> Float[Array, "N"]:
    """Mean negative log-likelihood (nats a token) of every stream, weighted by `weights`: 1 on what is predicted, 0 on padding.

    A mean for each stream, as published: short streams weigh as much as long ones. The softmax runs over all rows of the table,
    position rows included, as published.

    Args:
        weights: other numbers where one row holds several streams (`packing.PackedExamples`): the mean is then that of their means.
        max_targets: a bound on the weights that are not 0. Logits are then formed for that many positions, theirs, instead of for all:
            padding costs nothing. The values are the same.
    """
    streams, length, width = hidden.shape
    if max_targets is None or max_targets >= streams * length:
        losses = _token_losses(hidden, table, targets) * weights
        sums = losses.sum(axis=-1)
    else:
        beyond = streams * length  # an index outside: gathers zeros, and its sum is dropped
        (chosen,) = jnp.nonzero(weights.ravel(), size=max_targets, fill_value=beyond)
        rows, answers, each = (
            array.at[chosen].get(mode="fill", fill_value=0)
            for array in (hidden.reshape(beyond, width), targets.ravel(), weights.ravel())
        )
        losses = _token_losses(rows, table, answers) * each
        sums = jax.ops.segment_sum(losses, chosen // length, num_segments=streams)
    total = weights.sum(axis=-1)
    return sums / jnp.where(total > 0, total, 1)


def _token_losses(
    hidden: Float[Array, "*P D"], table: Float[Array, "T D"], targets: Int[Array, "*P"]
) -> Float[Array, "*P"]:
    logits = jnp.einsum("...d,td->...t", hidden, table, preferred_element_type=jnp.float32)
    # The target's logit comes from its own row: picking it out of `logits` would give the backward pass a second array of their
    # size, filled with zeros and one number a row.
    target = jnp.sum(hidden.astype(jnp.float32) * table[targets].astype(jnp.float32), axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - target


def task(scores: Float[Array, "B K"], label: Float[Array, "..."]) -> Float[Array, "B"]:
    """Loss of every example.

    Args:
        scores: of the head.
        label: [B K], a distribution over the classes: cross-entropy in nats (one-hot for plain labels, two neighbouring bins for
            graded similarity); [B], a number to regress: squared error, K is 1.
    """
    if label.ndim == 1:
        return jnp.square(scores[:, 0] - label)
    return -jnp.sum(label * jax.nn.log_softmax(scores), axis=-1)


def soft_bins(scores: Num[np.ndarray, "N"], bins: int) -> Float[np.ndarray, "N K"]:
    """Graded similarity as a distribution over whole scores 0 .. bins - 1: a score between two of them is shared by both.

    Tai et al. 2015, and the helper that the original code has for STS-B; the prediction is the distribution's mean.
    """
    whole = np.arange(bins)
    return np.clip(1 - np.abs(scores[:, None] - whole), 0, 1).astype(np.float32)
