"""Adam as OpenAI published it (finetune-transformer-lm, opt.py), from optax's parts.

It differs from `optax.adamw` in three ways: epsilon is added to the root of the uncorrected second moment; the weight decay is
scaled by Adam's bias correction as well as by the schedule; the schedule reads the number of finished updates, so the first update
has learning rate 0. The published schedules differ from today's in a fourth: the decay is that of the whole run, not of what follows the
warmup. Each of the four can be had the other way.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

Schedule = Callable[[jax.Array], jax.Array]


def warmup_cosine(
    steps: int, warmup: float, *, zero_first_update: bool = True, decay_includes_warmup: bool = True
) -> Schedule:
    """Finished updates -> factor: linear to 1 over `warmup` (a fraction of `steps`), then 0.5 (1 + cos(pi x)).

    Args:
        zero_first_update: the factor of an update is read before it is counted; otherwise after, and the last one has factor 0.
        decay_includes_warmup: x is the part of the whole run; otherwise of what follows the warmup.
    """
    return _schedule(
        steps,
        warmup,
        zero_first_update,
        decay_includes_warmup,
        inside=lambda x: 1.0,
        after=lambda x: 0.5 * (1 + jnp.cos(jnp.pi * x)),
    )


def warmup_linear(
    steps: int, warmup: float, *, zero_first_update: bool = True, decay_includes_warmup: bool = True
) -> Schedule:
    """Finished updates -> factor: linear to 1 over `warmup` (a fraction of `steps`), then 1 - x; arguments as of `warmup_cosine`.

    As published the rise is multiplied by 1 - x, too.
    """
    inside = (lambda x: 1 - x) if decay_includes_warmup else (lambda x: 1.0)
    return _schedule(
        steps, warmup, zero_first_update, decay_includes_warmup, inside, after=lambda x: 1 - x
    )


def _schedule(steps, warmup, zero_first_update, decay_includes_warmup, inside, after):
    def factor(count):
        x = (count if zero_first_update else count + 1) / steps
        ramp = x / warmup if warmup > 0 else 1.0
        fallen = (
            x
            if decay_includes_warmup or warmup >= 1
            else jnp.maximum(x - warmup, 0.0) / (1 - warmup)
        )
        return jnp.where(x < warmup, ramp * inside(x), after(fallen))

    return factor


def adam(
    lr: float,
    schedule: Schedule,
    *,
    b1: float,
    b2: float,
    eps: float,
    decay: float,
    clip: float,
    uncorrected_epsilon: bool = True,
    bias_ratio_decay: bool = True,
) -> optax.GradientTransformation:
    """The optimiser: global-norm clipping, Adam, decoupled decay of every tensor of rank > 1, the rate of the step.

    Args:
        uncorrected_epsilon: epsilon is added to the root of the uncorrected second moment; otherwise to that of the corrected one.
        bias_ratio_decay: the decay is scaled by the ratio of the bias corrections, as the moments are; otherwise by the rate alone.
    """

    def ratio(count):
        t = count + 1
        return jnp.sqrt(1 - b2**t) / (1 - b1**t)

    def rate(count):
        t, plain = count + 1, -lr * schedule(count)
        return plain * jnp.sqrt(1 - b2**t) / (1 - b1**t) if uncorrected_epsilon else plain

    if uncorrected_epsilon == bias_ratio_decay:  # the ratio is in the rate of both, or in neither
        decays = decay
    elif bias_ratio_decay:
        decays = lambda count: decay * ratio(count)
    else:
        decays = lambda count: decay / ratio(count)
    return optax.chain(
        optax.clip_by_global_norm(clip),
        (_scale_by_moments if uncorrected_epsilon else optax.scale_by_adam)(b1, b2, eps),
        optax.add_decayed_weights(
            decays, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
        ),
        optax.scale_by_schedule(rate),
    )


def freeze(
    optimizer: optax.GradientTransformation, frozen: Mapping[str, int]
) -> optax.GradientTransformation:
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
