"""Test the objectives against plain NumPy and log_softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import losses

RANDOM = np.random.default_rng(0)
HIDDEN = jnp.asarray(RANDOM.standard_normal((3, 5, 4)), jnp.float32)
EMBEDDING = jnp.asarray(RANDOM.standard_normal((11, 4)), jnp.float32)
# Rows from 7 on are positions: never a target, always in the softmax.
TARGETS = jnp.asarray(RANDOM.integers(0, 7, (3, 5)), jnp.int32)
MASK = jnp.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], jnp.float32)


def plain(hidden, embedding, targets, mask):
    """Return the same loss, by log_softmax."""
    logs = jax.nn.log_softmax(jnp.einsum("npd,td->npt", hidden, embedding))
    loss = -jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return (loss * mask).sum(axis=-1) / mask.sum(axis=-1)


def test_language_model_loss_is_a_mean_for_each_stream():
    expected = np.zeros(3)
    for stream in range(3):
        token_losses = []
        for position in range(5):
            if MASK[stream, position]:
                logits = np.asarray(EMBEDDING, np.float64) @ np.asarray(
                    HIDDEN[stream, position], np.float64
                )
                token_losses.append(
                    np.log(np.exp(logits).sum()) - logits[TARGETS[stream, position]]
                )
        expected[stream] = np.mean(token_losses)
    np.testing.assert_allclose(
        losses.language_model(HIDDEN, EMBEDDING, TARGETS, MASK), expected, rtol=1e-5
    )


def test_masked_positions_do_not_change_the_loss():
    changed = TARGETS.at[1:, 2:].set(0)
    np.testing.assert_array_equal(
        losses.language_model(HIDDEN, EMBEDDING, TARGETS, MASK),
        losses.language_model(HIDDEN.at[1:, 2:].set(9.0), EMBEDDING, changed, MASK),
    )
    assert (losses.language_model(HIDDEN, EMBEDDING, TARGETS, jnp.zeros((3, 5))) == 0).all()


def test_gradients_are_those_of_log_softmax():
    def gradients(loss):
        weights = jnp.array([1.0, 2.0, 3.0])
        return jax.jit(
            jax.grad(
                lambda hidden, embedding: (weights * loss(hidden, embedding, TARGETS, MASK)).sum(),
                argnums=(0, 1),
            )
        )(HIDDEN, EMBEDDING)

    for actual, expected in zip(gradients(losses.language_model), gradients(plain), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


WEIGHTS = jnp.asarray(
    [[0.5, 1.5, 0.0, 0.25, 0.0], [2.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.1, 0.1, 0.0, 0.0]], jnp.float32
)


# The mask has 8 ones; 7 of the weights are not 0.
@pytest.mark.parametrize(
    ("weights", "max_targets"),
    [
        *((MASK, max_targets) for max_targets in (8, 11, 15, 99)),
        *((WEIGHTS, max_targets) for max_targets in (None, 7, 9)),
    ],
)
def test_max_targets_does_not_change_loss_and_gradients(weights, max_targets):
    packed = lambda hidden, embedding: losses.language_model(
        hidden, embedding, TARGETS, weights, max_targets=max_targets
    )
    np.testing.assert_allclose(
        packed(HIDDEN, EMBEDDING), plain(HIDDEN, EMBEDDING, TARGETS, weights), rtol=1e-5
    )
    actual = jax.grad(lambda *arrays: packed(*arrays).sum(), argnums=(0, 1))(HIDDEN, EMBEDDING)
    expected = jax.grad(lambda *arrays: plain(*arrays, TARGETS, weights).sum(), argnums=(0, 1))(
        HIDDEN, EMBEDDING
    )
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("chunk", [4, 15, 99])
def test_training_loss_in_chunks_equals_the_plain_way(chunk):
    weights = jnp.asarray(RANDOM.random(15), jnp.float32)
    flat = HIDDEN.reshape(15, 4), EMBEDDING, TARGETS.ravel(), weights
    chunked = lambda hidden, embedding: (
        0.5 * losses.weighted_loss(hidden, embedding, *flat[2:], chunk)
    )

    def plain_loss(hidden, embedding):
        logs = jax.nn.log_softmax(hidden @ embedding.T)
        return -0.5 * (weights * jnp.take_along_axis(logs, flat[2][:, None], axis=1)[:, 0]).sum()

    # The forward pass alone, and the value that comes with the gradient.
    np.testing.assert_allclose(chunked(*flat[:2]), plain_loss(*flat[:2]), rtol=1e-6)
    actual, expected = (
        jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*flat[:2])
        for loss in (chunked, plain_loss)
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6),
        actual,
        expected,
    )


@pytest.mark.parametrize("stream_weight", [None, jnp.asarray([0.5, 2.0, 0.5])])
@pytest.mark.parametrize("max_targets", [None, 8, 11])
def test_training_loss_is_the_weighted_mean_over_streams(max_targets, stream_weight):
    means = losses.language_model(HIDDEN, EMBEDDING, TARGETS, MASK)
    loss = losses.mean_language_model(
        HIDDEN, EMBEDDING, TARGETS, MASK, max_targets=max_targets, stream_weight=stream_weight
    )
    factors = jnp.ones(3) if stream_weight is None else stream_weight
    np.testing.assert_allclose(loss, (factors * means).mean(), rtol=1e-6)


def test_half_precision_gives_a_float32_loss_near_the_exact_one():
    half = losses.language_model(
        HIDDEN.astype(jnp.bfloat16), EMBEDDING.astype(jnp.bfloat16), TARGETS, MASK
    )
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, plain(HIDDEN, EMBEDDING, TARGETS, MASK), rtol=0.03)


SCORES = jnp.asarray([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])


def test_plain_labels_give_cross_entropy():
    loss = losses.task(SCORES, jnp.asarray([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(
        loss, [np.log(np.exp([2.0, -1.0, 0.5]).sum()) - 0.5, np.log(3)], rtol=1e-6
    )


def test_soft_labels_give_cross_entropy_with_a_distribution():
    label = jnp.asarray([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]])
    logs = np.asarray(SCORES) - np.log(np.exp(SCORES).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        losses.task(SCORES, label), -(np.asarray(label) * logs).sum(axis=1), rtol=1e-6
    )


def test_numbers_give_squared_error():
    np.testing.assert_allclose(
        losses.task(jnp.asarray([[2.0], [-1.0]]), jnp.asarray([0.5, -1.0])), [2.25, 0.0]
    )


@pytest.mark.parametrize(
    ("score", "bins"),
    [
        (0.0, [1, 0, 0, 0, 0, 0]),
        (5.0, [0, 0, 0, 0, 0, 1]),
        (3.0, [0, 0, 0, 1, 0, 0]),
        (2.25, [0, 0, 0.75, 0.25, 0, 0]),
        (4.9, [0, 0, 0, 0, 0.1, 0.9]),
    ],
)
def test_graded_score_is_shared_by_its_two_neighbors(score, bins):
    distribution = losses.soft_bins(np.array([score]), 6)
    np.testing.assert_allclose(distribution, [bins], atol=1e-6)
    assert distribution @ np.arange(6) == pytest.approx(score, abs=1e-5)


def test_whole_labels_become_one_hot():
    np.testing.assert_array_equal(losses.soft_bins(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])


def test_accuracy_counts_the_most_probable_classes():
    scores = jnp.array([[2.0, 1.0], [0.0, 1.0], [5.0, 4.0]])
    labels = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.7, 0.3]])
    assert float(losses.accuracy(scores, labels)) == pytest.approx(2 / 3)
