"""Define Adam as OpenAI published it (finetune-transformer-lm, opt.py), from optax's parts.

It differs from `optax.adamw` in three ways. Epsilon is added to the root of the uncorrected second
moment. The weight decay is scaled by Adam's bias correction as well as by the schedule. The
schedule reads the number of finished updates, so the first update has learning rate 0. The
published schedules differ from today's, too: the decay extends over the whole run, not only over
the steps after the warmup. Each of the four differences has an argument that turns it off.
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
    """Return the schedule that rises linearly to 1 and then falls as 0.5 (1 + cos(pi x)).

    The schedule maps the number of finished updates to the factor of the learning rate.

    Args:
        steps: updates of the run.
        warmup: the length of the rise, as a fraction of `steps`.
        zero_first_update: compute the factor of an update from the number of updates before it.
            Otherwise the update itself is counted too, and the last one has factor 0.
        decay_includes_warmup: x is the finished fraction of the whole run. Otherwise x is the
            finished fraction of what follows the warmup.
    """

    def factor(count):
        x = _progress(count, steps, zero_first_update)
        decayed = _decay_progress(x, warmup, decay_includes_warmup)
        return jnp.where(x < warmup, _ramp(x, warmup), 0.5 * (1 + jnp.cos(jnp.pi * decayed)))

    return factor


def warmup_linear(
    steps: int, warmup: float, *, zero_first_update: bool = True, decay_includes_warmup: bool = True
) -> Schedule:
    """Return the schedule that rises linearly to 1 and then falls as 1 - x.

    The arguments are those of `warmup_cosine`. With `decay_includes_warmup`, as published, the rise
    is multiplied by 1 - x too.
    """

    def factor(count):
        x = _progress(count, steps, zero_first_update)
        ramp = _ramp(x, warmup)
        if decay_includes_warmup:
            ramp = ramp * (1 - x)
        return jnp.where(x < warmup, ramp, 1 - _decay_progress(x, warmup, decay_includes_warmup))

    return factor


def _progress(count, steps: int, zero_first_update: bool):
    return (count if zero_first_update else count + 1) / steps


def _ramp(x, warmup: float):
    return x / warmup if warmup > 0 else 1.0


def _decay_progress(x, warmup: float, decay_includes_warmup: bool):
    if decay_includes_warmup or warmup >= 1:
        return x
    return jnp.maximum(x - warmup, 0.0) / (1 - warmup)


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
    """Return global-norm clipping, Adam, decoupled weight decay and the scheduled learning rate.

    Args:
        lr: the highest learning rate.
        schedule: number of finished updates -> factor of `lr`.
        b1: the decay of the first moment.
        b2: the decay of the second moment.
        eps: see `uncorrected_epsilon`.
        decay: the weight decay, of every tensor of rank > 1.
        clip: the largest global norm of the gradient.
        uncorrected_epsilon: add `eps` to the root of the uncorrected second moment. Otherwise add
            it to the root of the corrected one.
        bias_ratio_decay: scale the decay by the ratio of the bias corrections, as the moments are.
            Otherwise scale it by the learning rate alone.
    """

    def bias_ratio(count):
        t = count + 1
        return jnp.sqrt(1 - b2**t) / (1 - b1**t)

    def rate(count):
        t, plain = count + 1, -lr * schedule(count)
        return plain * jnp.sqrt(1 - b2**t) / (1 - b1**t) if uncorrected_epsilon else plain

    def decay_rate(count):
        return decay * bias_ratio(count) if bias_ratio_decay else decay / bias_ratio(count)

    scale = _scale_by_moments if uncorrected_epsilon else optax.scale_by_adam
    # `rate` multiplies the decay too. If both options are equal, its ratio is the right one.
    weight_decay = decay if uncorrected_epsilon == bias_ratio_decay else decay_rate
    return optax.chain(
        optax.clip_by_global_norm(clip),
        scale(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, mask=_is_matrix),
        optax.scale_by_schedule(rate),
    )


def _is_matrix(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)


def freeze(
    optimizer: optax.GradientTransformation, frozen: Mapping[str, int]
) -> optax.GradientTransformation:
    """Return the optimizer with the first rows of some params frozen.

    Frozen rows have no gradient either, so they take no part in the clipped norm.

    Args:
        optimizer: the optimizer of all params.
        frozen: slash-joined param name -> number of frozen first rows.
    """

    def zero_frozen(tree):
        flat = flatten_dict(tree, sep="/")
        for name, rows in frozen.items():
            flat[name] = jnp.concatenate([jnp.zeros_like(flat[name][:rows]), flat[name][rows:]])
        return unflatten_dict(flat, sep="/")

    def update(updates, state, params=None):
        updates, state = optimizer.update(zero_frozen(updates), state, params)
        return zero_frozen(updates), state

    return optax.GradientTransformation(optimizer.init, update)


def _scale_by_moments(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Return m / (sqrt(v) + eps) with both moments uncorrected.

    `optax.scale_by_adam` corrects the moments before it adds epsilon.
    """

    def init(params):
        # Two separate trees of zeros: a step that reuses memory must not get a buffer twice.
        mu = jax.tree.map(jnp.zeros_like, params)
        nu = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates, state, params=None):
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return scaled, optax.ScaleByAdamState(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(init, update)
