"""What the training programs share: from a loss and its data to trained params, resumable at every update."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.training import devices, loop, losses, optim, step
from gpt1_jax.training.checkpoint import Checkpoints
from gpt1_jax.training.workdir import Run


class Recipe(NamedTuple):
    """How params are moved, and where. Hashable: runs of one recipe and one model share their compiled programs.

    Attributes:
        schedule: (steps, warmup) -> factor of the rate (training/optim.py); `warmup` is a fraction of `steps`.
    """

    schedule: Callable[[int, float], optim.Schedule]
    steps: int
    warmup: float
    lr: float
    b1: float
    b2: float
    eps: float
    decay: float
    clip: float
    accumulate: int
    backend: str

    def rate(self, count: int) -> float:
        """The learning rate after `count` finished updates."""
        return float(self.lr * self.schedule(self.steps, self.warmup)(count))


def recipe(config: ConfigDict, schedule: Callable[[int, float], optim.Schedule], steps: int, warmup: float) -> Recipe:
    """The recipe of a run of `steps` updates, the rest as config.optim says."""
    given = config.optim
    moments = dict(b1=given.b1, b2=given.b2, eps=given.eps, decay=given.decay, clip=given.clip)
    return Recipe(schedule, steps, warmup, given.lr, **moments, accumulate=given.accumulate, backend=config.backend)


class Training(NamedTuple):
    """A compiled training step: step(state, batch, moment) -> (state, metrics), the state donated; its optimiser and its recipe."""

    step: Callable
    optimizer: optax.GradientTransformation
    recipe: Recipe


def training(loss: Callable, recipe: Recipe, frozen: Mapping[str, int] = MappingProxyType({})) -> Training:
    """The step for `loss`, (params, batch, key) -> (loss, metrics) of one device's rows.

    Args:
        frozen: how many first rows of a param stay as they are, by its slash-joined name.
    """
    schedule = recipe.schedule(recipe.steps, recipe.warmup)
    moments = dict(b1=recipe.b1, b2=recipe.b2, eps=recipe.eps, decay=recipe.decay, clip=recipe.clip)
    optimizer = optim.adam(recipe.lr, schedule, **moments)
    if frozen:
        optimizer = optim.partly(optimizer, frozen)
    single = step.training(loss, optimizer, accumulate=recipe.accumulate)
    return Training(devices.parallelise(single, donate=True, backend=recipe.backend), optimizer, recipe)


class Evaluation(NamedTuple):
    """What happens after every `every` updates: `call(update, params)` gives metrics for the log and a score, or None.

    With scores, each evaluated state is saved and the best one kept.
    """

    every: int
    call: Callable[[int, Mapping], tuple[dict[str, float], float | None]]


class Fitted(NamedTuple):
    """The params after the last update, on the devices, and the update with the best score (None without scores)."""

    params: Mapping
    best_step: int | None


def fit(
    config: ConfigDict,
    run: Run,
    *,
    params: Mapping,
    training: Training,
    batch_at: Callable[[int], Mapping[str, np.ndarray]],
    flops: Callable[[int, int], float],
    derive: Callable[[Mapping[str, float]], Mapping[str, float]],
    evaluation: Evaluation,
    meta: Mapping[str, Any],
) -> Fitted:
    """Trains `params` to the last update of the recipe, or from the newest checkpoint of the run where it has one.

    Args:
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further ones.
        meta: what readers of a checkpoint need to know.
    """
    state = {"params": params, "opt_state": training.optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    keep = config.checkpoint
    checkpoints = Checkpoints(run.workdir, keep=keep.keep, keep_steps=keep.keep_steps, say=run.log.line)
    start, state = checkpoints.restore(state) or (0, state)
    if start:
        run.log.line(f"goes on from update {start}")
    run.log.start(start)

    peak = devices.matmul_flops(config.model.dtype) * jax.device_count()
    rate = lambda number: {"lr": training.recipe.rate(number - 1)}
    # Closing waits for the last save, also on the way out after SIGTERM.
    with contextlib.closing(checkpoints), run.log.bar("training") as advance:
        state = loop.run(
            lambda state, batch, number: training.step(state, batch, step.moment(config.seed, number)),
            devices.replicated(state),
            batch_at,
            start=start,
            steps=training.recipe.steps,
            flops=flops,
            meter=loop.Meter(run.log, config.log.every, peak, rate, derive),
            hooks=_hooks(run, checkpoints, evaluation, meta, keep),
            advance=advance,
        )
        checkpoints.wait()
        return Fitted(state["params"], checkpoints.best_step())


def _hooks(run: Run, checkpoints: Checkpoints, evaluation: Evaluation, meta: Mapping, keep: ConfigDict) -> list[loop.Hook]:
    """Evaluation first, so that an evaluated state is saved with its score; then the checkpoints in between."""

    def evaluate(number, state):
        metrics, score = evaluation.call(number, state["params"])
        run.log.metrics(number, metrics)
        if score is not None:
            checkpoints.save(number, state, meta, score)

    def save(number, state):
        checkpoints.save(number, state, meta)

    return [loop.Hook(evaluation.every, evaluate, last=False), loop.Hook(keep.every, save, steps=keep.keep_steps)]


def row_losses(model: LanguageModel, params: Mapping, tokens: Any, *, train: bool, key: Any = None) -> jax.Array:
    """Nats a token of every row of `tokens` [B L+1], each token but the first predicted from those before it."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, table = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    return losses.language_model(hidden, table, targets, jnp.ones(targets.shape))


def fresh_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """The random start of a model, drawn on the devices in one program; `inputs` are those of its forward pass."""
    return _start(model)(jax.random.key(seed), *inputs)


@functools.lru_cache(maxsize=32)
def _start(model: Any) -> Callable:
    return jax.jit(lambda key, *inputs: model.init({"params": key}, *inputs, train=False)["params"])
