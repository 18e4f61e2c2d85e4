"""Check the hash that generates dropout's bits as a source of independent decisions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.dropout import dropout

SIZE = 1 << 18
SHAPE = (SIZE // 64, 64)


def dropped(seed: int, rate: float = 0.5) -> np.ndarray:
    key = jax.random.key(seed)  # raw seeds: neighbors must not be worse than folded keys
    return np.asarray(dropout(jnp.ones(SHAPE), rate, key) == 0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# Chance alone exceeds five standard deviations once in two million draws.
FIVE_SIGMA = 5 / np.sqrt(SIZE)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_dropped_fraction_is_the_rate(rate, seed):
    assert abs(dropped(seed, rate).mean() - rate) < FIVE_SIGMA * np.sqrt(rate * (1 - rate))


def test_other_elements_are_scaled_to_keep_the_mean():
    x = jax.random.normal(jax.random.key(3), SHAPE)
    y = dropout(x, 0.1, jax.random.key(0))
    mask = y != 0
    np.testing.assert_allclose(y[mask], x[mask] / 0.9, rtol=1e-6)


def test_rate_0_changes_nothing():
    x = jnp.arange(6.0).reshape(2, 3)
    assert dropout(x, 0.0, jax.random.key(0)) is x


def test_masks_of_different_keys_are_independent():
    for first, second in itertools.combinations([dropped(seed) for seed in range(8)], 2):
        assert abs(correlation(first, second)) < FIVE_SIGMA


def test_mask_is_not_a_shift_of_another_mask():
    # The position enters by a multiplication and the key by an addition, so weak mixing would leave
    # a shift.
    first, second = dropped(0).ravel(), dropped(1).ravel()
    spectrum = np.fft.fft(first - first.mean()) * np.conj(np.fft.fft(second - second.mean()))
    correlations = np.fft.ifft(spectrum).real / (SIZE * first.std() * second.std())
    assert np.abs(correlations).max() < 7 / np.sqrt(SIZE)  # the largest of 262,144


@pytest.mark.parametrize("seed", [0, 7])
def test_positions_are_independent(seed):
    mask = dropped(seed).ravel()
    spectrum = np.abs(np.fft.fft(mask - mask.mean())) ** 2
    autocorrelation = np.fft.ifft(spectrum).real[1 : SIZE // 2] / spectrum.sum() * SIZE
    assert np.abs(autocorrelation).max() < 7 / np.sqrt(SIZE)
    # White noise has an exponential spectrum. A period would be a peak.
    assert spectrum[1:].max() / spectrum[1:].mean() < 25


def test_rows_and_columns_are_dropped_evenly():
    mask = dropped(0, 0.1)
    for axis, count in ((0, SHAPE[0]), (1, SHAPE[1])):
        deviations = (mask.mean(axis=axis) - 0.1) / np.sqrt(0.09 / count)
        assert 0.8 < deviations.std() < 1.2


def test_mask_is_the_same_under_jit_and_vmap():
    def drop(key):
        return dropout(jnp.ones((5, 7)), 0.5, key)

    keys = jax.random.split(jax.random.key(1), 3)
    plain = jnp.stack([drop(key) for key in keys])
    np.testing.assert_array_equal(plain, jnp.stack([jax.jit(drop)(key) for key in keys]))
    np.testing.assert_array_equal(plain, jax.vmap(drop)(keys))
    assert not (plain[0] == plain[1]).all()


def test_broadcast_shape_shares_decisions():
    y = np.asarray(dropout(jnp.ones((6, 4, 32)), 0.5, jax.random.key(0), (6, 1, 32)))
    assert (y == y[:, :1]).all()
    assert 0.3 < (y == 0).mean() < 0.7 and not (y[0] == y[1]).all()


def test_gradient_has_the_mask_of_the_value():
    x = jnp.ones(1000)
    y = dropout(x, 0.3, jax.random.key(0))
    gradient = jax.grad(lambda x: dropout(x, 0.3, jax.random.key(0)).sum())(x)
    np.testing.assert_array_equal(gradient, y)


def test_dtype_is_unchanged():
    assert dropout(jnp.ones((4, 4), jnp.bfloat16), 0.1, jax.random.key(0)).dtype == jnp.bfloat16
