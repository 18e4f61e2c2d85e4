"""Adam as OpenAI published it (finetune-transformer-lm, opt.py), from optax's parts.

It differs from `optax.adamw` in three ways: epsilon is added to the root of the uncorrected second moment; the weight decay is
scaled by Adam's bias correction as well as by the schedule; the schedule reads the number of finished updates, so the first update
has learning rate 0.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

Schedule = Callable[[jax.Array], jax.Array]


def warmup_cosine(steps: int, warmup: float) -> Schedule:
    """Finished updates -> factor: linear to 1 over `warmup` (a fraction of `steps`), then 0.5 (1 + cos(pi x)) of the whole run."""
    return _schedule(steps, warmup, inside=lambda x: 1.0, after=lambda x: 0.5 * (1 + jnp.cos(jnp.pi * x)))


def warmup_linear(steps: int, warmup: float) -> Schedule:
    """Finished updates -> factor: linear to 1 over `warmup` (a fraction of `steps`), all times 1 - x, as published."""
    return _schedule(steps, warmup, inside=lambda x: 1 - x, after=lambda x: 1 - x)


def _schedule(steps, warmup, inside, after):
    def factor(count):
        x = count / steps
        ramp = x / warmup if warmup > 0 else 1.0
        return jnp.where(x < warmup, ramp * inside(x), after(x))

    return factor


def adam(lr: float, schedule: Schedule, *, b1: float, b2: float, eps: float, decay: float, clip: float) -> optax.GradientTransformation:
    """The optimiser: global-norm clipping, uncorrected Adam, decoupled decay of every tensor of rank > 1, the rate of the step."""

    def rate(count):
        t = count + 1
        return -lr * schedule(count) * jnp.sqrt(1 - b2**t) / (1 - b1**t)

    return optax.chain(
        optax.clip_by_global_norm(clip),
        _scale_by_moments(b1, b2, eps),
        optax.add_decayed_weights(decay, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)),
        optax.scale_by_schedule(rate),
    )


def partly(optimizer: optax.GradientTransformation, frozen: Mapping[str, int]) -> optax.GradientTransformation:
    """`optimizer` for a model of which parts are frozen: of each param named (slash-joined) the given number of first rows.

    What is frozen has no gradient either, so it takes no part in the clipped norm.
    """

    def thawed(tree):
        flat = flatten_dict(tree, sep="/")
        for name, rows in frozen.items():
            flat[name] = jnp.concatenate([jnp.zeros_like(flat[name][:rows]), flat[name][rows:]])
        return unflatten_dict(flat, sep="/")

    def update(grads, state, params=None):
        updates, state = optimizer.update(thawed(grads), state, params)
        return thawed(updates), state

    return optax.GradientTransformation(optimizer.init, update)


def _scale_by_moments(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """m / (sqrt(v) + eps), both moments uncorrected; optax.scale_by_adam corrects them before adding epsilon."""

    def init(params):
        # Two sets of zeros: buffers that are given away to a step must not be shared.
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(grads, state, params=None):
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return scaled, optax.ScaleByAdamState(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(init, update)
