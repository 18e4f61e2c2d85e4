"""The objectives against naive NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import losses

RANDOM = np.random.default_rng(0)
HIDDEN = jnp.asarray(RANDOM.standard_normal((3, 5, 4)), jnp.float32)
TABLE = jnp.asarray(RANDOM.standard_normal((11, 4)), jnp.float32)
TARGETS = jnp.asarray(
    RANDOM.integers(0, 7, (3, 5)), jnp.int32
)  # rows above 7 are positions: never right, always in the softmax
MASK = jnp.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], jnp.float32)


def plain(hidden, table, targets, mask):
    """The same loss by log_softmax."""
    logs = jax.nn.log_softmax(jnp.einsum("npd,td->npt", hidden, table))
    loss = -jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return (loss * mask).sum(axis=-1) / mask.sum(axis=-1)


def test_the_language_model_loss_is_a_mean_for_each_stream():
    expected = np.zeros(3)
    for stream in range(3):
        found = []
        for position in range(5):
            if MASK[stream, position]:
                logits = np.asarray(TABLE, np.float64) @ np.asarray(
                    HIDDEN[stream, position], np.float64
                )
                found.append(np.log(np.exp(logits).sum()) - logits[TARGETS[stream, position]])
        expected[stream] = np.mean(found)
    np.testing.assert_allclose(
        losses.language_model(HIDDEN, TABLE, TARGETS, MASK), expected, rtol=1e-5
    )


def test_masked_positions_have_no_part_in_it():
    moved = TARGETS.at[1:, 2:].set(0)
    np.testing.assert_array_equal(
        losses.language_model(HIDDEN, TABLE, TARGETS, MASK),
        losses.language_model(HIDDEN.at[1:, 2:].set(9.0), TABLE, moved, MASK),
    )
    assert (losses.language_model(HIDDEN, TABLE, TARGETS, jnp.zeros((3, 5))) == 0).all()


def test_its_gradients_are_those_of_log_softmax():
    def gradients(loss):
        weights = jnp.array([1.0, 2.0, 3.0])
        return jax.jit(
            jax.grad(
                lambda hidden, table: (weights * loss(hidden, table, TARGETS, MASK)).sum(),
                argnums=(0, 1),
            )
        )(HIDDEN, TABLE)

    for ours, expected in zip(gradients(losses.language_model), gradients(plain), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


WEIGHTS = jnp.asarray(
    [[0.5, 1.5, 0.0, 0.25, 0.0], [2.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.1, 0.1, 0.0, 0.0]], jnp.float32
)


# The mask has 8 ones; of the weights seven are not 0.
@pytest.mark.parametrize(
    ("weights", "max_targets"),
    [
        *((MASK, max_targets) for max_targets in (8, 11, 15, 99)),
        *((WEIGHTS, max_targets) for max_targets in (None, 7, 9)),
    ],
)
def test_logits_of_weighted_positions_alone_give_the_weighted_mean(weights, max_targets):
    packed = lambda hidden, table: losses.language_model(
        hidden, table, TARGETS, weights, max_targets=max_targets
    )
    np.testing.assert_allclose(
        packed(HIDDEN, TABLE), plain(HIDDEN, TABLE, TARGETS, weights), rtol=1e-5
    )
    ours = jax.grad(lambda *arrays: packed(*arrays).sum(), argnums=(0, 1))(HIDDEN, TABLE)
    expected = jax.grad(lambda *arrays: plain(*arrays, TARGETS, weights).sum(), argnums=(0, 1))(
        HIDDEN, TABLE
    )
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_half_precision_inputs_give_a_float32_loss_near_the_exact_one():
    half = losses.language_model(
        HIDDEN.astype(jnp.bfloat16), TABLE.astype(jnp.bfloat16), TARGETS, MASK
    )
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, plain(HIDDEN, TABLE, TARGETS, MASK), rtol=0.03)


SCORES = jnp.asarray([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])


def test_plain_labels_are_cross_entropy():
    found = losses.task(SCORES, jnp.asarray([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(
        found, [np.log(np.exp([2.0, -1.0, 0.5]).sum()) - 0.5, np.log(3)], rtol=1e-6
    )


def test_soft_labels_are_cross_entropy_with_a_distribution():
    label = jnp.asarray([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]])
    logs = np.asarray(SCORES) - np.log(np.exp(SCORES).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        losses.task(SCORES, label), -(np.asarray(label) * logs).sum(axis=1), rtol=1e-6
    )


def test_numbers_are_squared_error():
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
def test_a_graded_score_is_shared_by_its_two_neighbours(score, bins):
    found = losses.soft_bins(np.array([score]), 6)
    np.testing.assert_allclose(found, [bins], atol=1e-6)
    assert found @ np.arange(6) == pytest.approx(score, abs=1e-5)


def test_whole_labels_become_one_hot():
    np.testing.assert_array_equal(losses.soft_bins(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
