"""Test Adam against a separate float64 implementation, and the schedules at named points."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt1_jax.engine import optim

SETTINGS = dict(b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0)


def published(
    params, gradients, *, lr, steps, warmup, uncorrected_epsilon=True, bias_ratio_decay=True
):
    """Return the params after each published update (opt.py of the original code), in float64.

    Without `uncorrected_epsilon` the moments are corrected first. Without `bias_ratio_decay` the
    decay is scaled by the learning rate alone.
    """
    b1, b2 = SETTINGS["b1"], SETTINGS["b2"]
    m = {name: np.zeros_like(p) for name, p in params.items()}
    v = {name: np.zeros_like(p) for name, p in params.items()}
    history = []
    for t, grads in enumerate(gradients):
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        x = t / steps
        schedule = (x / warmup if x < warmup else 1) * (1 - x)
        first, second = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
        rate, ratio = lr * schedule, np.sqrt(second) / first
        params = dict(params)
        for name, g in grads.items():
            g = g * min(1, SETTINGS["clip"] / norm)
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            decay = SETTINGS["decay"] * params[name] if params[name].ndim > 1 else 0
            if uncorrected_epsilon:
                move = ratio * m[name] / (np.sqrt(v[name]) + SETTINGS["eps"])
            else:
                move = m[name] / first / (np.sqrt(v[name] / second) + SETTINGS["eps"])
            params[name] = params[name] - rate * (move + decay * (ratio if bias_ratio_decay else 1))
        history.append(params)
    return history


@pytest.fixture
def problem():
    random = np.random.default_rng(0)
    params = {
        "embedding": random.standard_normal((5, 3)),
        "conv": random.standard_normal((1, 2, 3)),
        "bias": random.standard_normal(3),
    }
    # Gradients far above, near and far below the clipping norm; none for the last embedding row.
    gradients = [
        {name: scale * random.standard_normal(p.shape) for name, p in params.items()}
        for scale in (10, 1, 0.1, 1e-3, 1e-9) * 2
    ]
    for grads in gradients:
        grads["embedding"][-1] = 0
    return params, gradients


def run(params, gradients, **arguments):
    optimizer = optim.adam(**arguments)
    params = {name: jnp.asarray(p, jnp.float32) for name, p in params.items()}
    state, history = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for grads in gradients:
        updates, state = update(
            {name: jnp.asarray(g, jnp.float32) for name, g in grads.items()}, state, params
        )
        params = jax.tree.map(jnp.add, params, updates)
        history.append(params)
    return history


@pytest.mark.parametrize("uncorrected_epsilon", [True, False])
@pytest.mark.parametrize("bias_ratio_decay", [True, False])
def test_ten_updates_equal_float64_with_and_without_each_quirk(
    problem, uncorrected_epsilon, bias_ratio_decay
):
    params, gradients = problem
    quirks = {"uncorrected_epsilon": uncorrected_epsilon, "bias_ratio_decay": bias_ratio_decay}
    actual = run(
        params, gradients, lr=0.05, schedule=optim.warmup_linear(10, 0.25), **SETTINGS, **quirks
    )
    expected = published(params, gradients, lr=0.05, steps=10, warmup=0.25, **quirks)
    for number, (a, b) in enumerate(zip(actual, expected, strict=True)):
        for name in params:
            np.testing.assert_allclose(
                a[name], b[name], rtol=0, atol=2e-6, err_msg=f"{name} after update {number + 1}"
            )
    assert np.abs(expected[-1]["conv"] - params["conv"]).max() > 0.05


def test_adam_without_quirks_is_adamw(problem):
    params, gradients = problem
    gradients = [jax.tree.map(lambda g: 1e-3 * g, grads) for grads in gradients[1:3]]  # not clipped
    clean = {"uncorrected_epsilon": False, "bias_ratio_decay": False}
    actual = run(params, gradients, lr=0.05, schedule=lambda count: 1.0, **SETTINGS, **clean)[-1]
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    adamw = optax.adamw(
        0.05, weight_decay=SETTINGS["decay"], mask=jax.tree.map(lambda p: p.ndim > 1, params)
    )
    state = adamw.init(params)
    for grads in gradients:
        updates, state = adamw.update(
            jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), grads), state, params
        )
        params = optax.apply_updates(params, updates)
    for name in params:
        np.testing.assert_allclose(actual[name], params[name], atol=1e-6)


def test_first_update_changes_only_the_moments(problem):
    params, gradients = problem
    first, second = run(
        params, gradients[:2], lr=0.05, schedule=optim.warmup_cosine(100, 0.1), **SETTINGS
    )
    for name, p in params.items():
        np.testing.assert_array_equal(first[name], p.astype(np.float32))
        assert (second[name] != first[name]).any()


def test_only_tensors_of_rank_above_one_decay(problem):
    params, gradients = problem
    zeros = [jax.tree.map(np.zeros_like, grads) for grads in gradients[:3]]
    after = run(params, zeros, lr=0.1, schedule=lambda count: 1.0, **SETTINGS)[-1]
    np.testing.assert_array_equal(after["bias"], params["bias"].astype(np.float32))
    for name in ("embedding", "conv"):  # rows without a gradient too
        assert (np.abs(after[name]) < np.abs(params[name])).all()


def test_gradients_are_clipped_by_the_global_norm(problem):
    params, gradients = problem
    scales = gradients[0], jax.tree.map(lambda g: 100 * g, gradients[0])
    one, other = (
        run(params, [grads] * 2, lr=0.1, schedule=lambda count: 1.0, **SETTINGS)[-1]
        for grads in scales
    )
    for name in params:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "count", "factor"),
    [
        (optim.warmup_cosine(1000, 0.002), 0, 0.0),
        (optim.warmup_cosine(1000, 0.002), 1, 0.5),
        # The cosine is that of the whole run.
        (optim.warmup_cosine(1000, 0.002), 2, 0.5 * (1 + np.cos(np.pi * 0.002))),
        (optim.warmup_cosine(1000, 0.002), 250, 0.5 * (1 + np.sqrt(0.5))),
        (optim.warmup_cosine(1000, 0.002), 500, 0.5),
        (optim.warmup_cosine(1000, 0.002), 1000, 0.0),
        (optim.warmup_linear(100, 0.1), 0, 0.0),
        (optim.warmup_linear(100, 0.1), 5, 0.5 * 0.95),
        (optim.warmup_linear(100, 0.1), 10, 0.9),
        (optim.warmup_linear(100, 0.1), 50, 0.5),
        (optim.warmup_linear(100, 0.1), 100, 0.0),
        # RTE: the warmup is shorter than one update.
        (optim.warmup_linear(231, 0.002), 1, 1 - 1 / 231),
        (optim.warmup_linear(100, 0.0), 0, 1.0),
        # Not as published: the update itself is counted; the decay begins at the end of the warmup.
        (optim.warmup_linear(100, 0.1, zero_first_update=False), 0, 0.1 * 0.99),
        (optim.warmup_cosine(1000, 0.002, zero_first_update=False), 0, 0.5),
        (optim.warmup_linear(100, 0.1, decay_includes_warmup=False), 5, 0.5),
        (optim.warmup_linear(100, 0.1, decay_includes_warmup=False), 10, 1.0),
        (optim.warmup_linear(100, 0.1, decay_includes_warmup=False), 55, 0.5),
        (optim.warmup_cosine(1000, 0.2, decay_includes_warmup=False), 200, 1.0),
        (optim.warmup_cosine(1000, 0.2, decay_includes_warmup=False), 600, 0.5),
        (optim.warmup_cosine(1000, 0.2, decay_includes_warmup=False), 1000, 0.0),
    ],
)
def test_schedules_at_named_points(schedule, count, factor):
    assert float(schedule(jnp.int32(count))) == pytest.approx(factor, abs=1e-6)


def test_frozen_rows_do_not_move_and_do_not_count_in_the_norm(problem):
    params, gradients = problem
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradients[0])
    frozen = {"bias": 3, "embedding": 2}
    optimizer = optim.adam(lr=0.1, schedule=lambda count: 1.0, **SETTINGS)
    freezing = optim.freeze(optimizer, frozen)
    updates, _ = freezing.update(grads, freezing.init(params), params)
    zeroed = {name: g.at[: frozen.get(name, 0)].set(0) for name, g in grads.items()}
    expected, _ = optimizer.update(zeroed, optimizer.init(params), params)
    for name, rows in {"conv": 0, **frozen}.items():
        assert not updates[name][:rows].any()
        np.testing.assert_array_equal(updates[name][rows:], expected[name][rows:])
