"""The hash that draws dropout's bits, judged as a source of independent decisions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.dropout import dropout

SIZE = 1 << 18
SHAPE = (SIZE // 64, 64)


def dropped(seed: int, rate: float = 0.5) -> np.ndarray:
    key = jax.random.key(seed)  # raw seeds: neighbours must not be worse than folded keys
    return np.asarray(dropout(jnp.ones(SHAPE), rate, key) == 0)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# Chance alone strays by more than five standard deviations once in two million draws.
FIVE_SIGMA = 5 / np.sqrt(SIZE)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_rate_is_met_within_chance(rate, seed):
    assert abs(dropped(seed, rate).mean() - rate) < FIVE_SIGMA * np.sqrt(rate * (1 - rate))


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    x = jax.random.normal(jax.random.key(3), SHAPE)
    y = dropout(x, 0.1, jax.random.key(0))
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / 0.9, rtol=1e-6)


def test_rate_0_changes_nothing():
    x = jnp.arange(6.0).reshape(2, 3)
    assert dropout(x, 0.0, jax.random.key(0)) is x


def test_masks_of_different_keys_are_independent():
    for one, other in itertools.combinations([dropped(seed) for seed in range(8)], 2):
        assert abs(correlation(one, other)) < FIVE_SIGMA


def test_a_mask_is_not_another_one_shifted():
    # The position enters by a multiplication and the key by an addition, so a shift is what a weak mixing would leave.
    one, other = dropped(0).ravel(), dropped(1).ravel()
    spectrum = np.fft.ifft(
        np.fft.fft(one - one.mean()) * np.conj(np.fft.fft(other - other.mean()))
    ).real
    assert np.abs(spectrum).max() / (SIZE * one.std() * other.std()) < 7 / np.sqrt(
        SIZE
    )  # the largest of 262,144


@pytest.mark.parametrize("seed", [0, 7])
def test_positions_are_independent(seed):
    mask = dropped(seed).ravel()
    spectrum = np.abs(np.fft.fft(mask - mask.mean())) ** 2
    autocorrelation = np.fft.ifft(spectrum).real[1 : SIZE // 2] / spectrum.sum() * SIZE
    assert np.abs(autocorrelation).max() < 7 / np.sqrt(SIZE)
    # White noise has an exponential spectrum; a period would stick out.
    assert spectrum[1:].max() / spectrum[1:].mean() < 25


def test_rows_and_columns_are_hit_alike():
    mask = dropped(0, 0.1)
    for axis, count in ((0, SHAPE[0]), (1, SHAPE[1])):
        deviations = (mask.mean(axis=axis) - 0.1) / np.sqrt(0.09 / count)
        assert 0.8 < deviations.std() < 1.2


def test_the_same_mask_comes_under_jit_and_vmap():
    x = jnp.ones((5, 7))
    keys = jax.random.split(jax.random.key(1), 3)
    plain = jnp.stack([dropout(x, 0.5, key) for key in keys])
    np.testing.assert_array_equal(
        plain, jnp.stack([jax.jit(lambda key: dropout(x, 0.5, key))(key) for key in keys])
    )
    np.testing.assert_array_equal(plain, jax.vmap(lambda key: dropout(x, 0.5, key))(keys))
    assert not (plain[0] == plain[1]).all()


def test_a_given_shape_shares_decisions():
    y = np.asarray(dropout(jnp.ones((6, 4, 32)), 0.5, jax.random.key(0), (6, 1, 32)))
    assert (y == y[:, :1]).all()
    assert 0.3 < (y == 0).mean() < 0.7 and not (y[0] == y[1]).all()


def test_the_gradient_passes_where_the_value_does():
    x = jnp.ones(1000)
    kept = dropout(x, 0.3, jax.random.key(0))
    gradient = jax.grad(lambda x: dropout(x, 0.3, jax.random.key(0)).sum())(x)
    np.testing.assert_array_equal(gradient, kept)


def test_the_type_stays():
    assert dropout(jnp.ones((4, 4), jnp.bfloat16), 0.1, jax.random.key(0)).dtype == jnp.bfloat16
