"""What the training programs share: from a loss and its data to trained params, resumable at every update."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from gpt1_jax.engine import devices, loop, losses, meter, optim, peak_flops, step
from gpt1_jax.engine.checkpoint import Checkpoints
from gpt1_jax.models.heads import Classifier, LanguageModel
from gpt1_jax.runs.lifecycle import OpenRun


class OptimConfig(NamedTuple):
    """How params are moved, and where. Hashable: runs of one recipe and one model share their compiled programs.

    Attributes:
        schedule: a schedule of engine/optim.py: (steps, warmup, zero_first_update, decay_includes_warmup) -> factor of the rate; `warmup` is
            a fraction of `steps`.
    """

    schedule: Callable[..., optim.Schedule]
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
    uncorrected_epsilon: bool = True
    bias_ratio_decay: bool = True
    zero_first_update: bool = True
    decay_includes_warmup: bool = True

    def factor(self) -> optim.Schedule:
        """Finished updates -> factor of the rate."""
        return self.schedule(
            self.steps,
            self.warmup,
            zero_first_update=self.zero_first_update,
            decay_includes_warmup=self.decay_includes_warmup,
        )

    def rate(self, count: int) -> float:
        """The learning rate after `count` finished updates."""
        return float(self.lr * self.factor()(count))

    def optimizer(self) -> optax.GradientTransformation:
        """Adam by this recipe."""
        moments = dict(b1=self.b1, b2=self.b2, eps=self.eps, decay=self.decay, clip=self.clip)
        quirks = dict(
            uncorrected_epsilon=self.uncorrected_epsilon, bias_ratio_decay=self.bias_ratio_decay
        )
        return optim.adam(self.lr, self.factor(), **moments, **quirks)


def recipe(
    config: ConfigDict, schedule: Callable[..., optim.Schedule], steps: int, warmup: float
) -> OptimConfig:
    """The recipe of a run of `steps` updates, the rest as config.optim and config.published say."""
    given, published = config.optim, config.published
    moments = dict(b1=given.b1, b2=given.b2, eps=given.eps, decay=given.decay, clip=given.clip)
    return OptimConfig(
        schedule,
        steps,
        warmup,
        given.lr,
        **moments,
        accumulate=given.accumulate,
        backend=config.backend,
        uncorrected_epsilon=published.uncorrected_epsilon,
        bias_ratio_decay=published.bias_ratio_decay,
        zero_first_update=published.zero_first_update,
        decay_includes_warmup=published.decay_includes_warmup,
    )


class Training(NamedTuple):
    """A compiled training step: step(state, batch, moment) -> (state, metrics), the state donated; its optimiser and its recipe."""

    step: Callable
    optimizer: optax.GradientTransformation
    recipe: OptimConfig


def training(
    loss: Callable, recipe: OptimConfig, frozen: Mapping[str, int] = MappingProxyType({})
) -> Training:
    """The step for `loss`, (params, batch, key) -> (loss, metrics) of one device's rows.

    Args:
        frozen: how many first rows of a param stay as they are, by its slash-joined name.
    """
    optimizer = recipe.optimizer()
    if frozen:
        optimizer = optim.freeze(optimizer, frozen)
    single = step.training_step(loss, optimizer, accumulate=recipe.accumulate)
    return Training(
        devices.parallelise(single, donate=True, backend=recipe.backend), optimizer, recipe
    )


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


class Start(NamedTuple):
    """Where a run begins or goes on: its checkpoints, the update of the newest one, 0 without any, and the state after that update."""

    checkpoints: Checkpoints
    step: int
    state: Mapping


def fit(
    config: ConfigDict,
    run: OpenRun,
    *,
    params: Mapping,
    training: Training,
    batch_at: Callable[[int], Mapping[str, np.ndarray]],
    flops: Callable[[int, int], float],
    derive: Callable[[Mapping[str, float]], Mapping[str, float]] = lambda means: {},
    evaluation: Evaluation,
    meta: Mapping[str, Any],
    keep_steps: Sequence[int] = (),
) -> Fitted:
    """Trains a run to the last update of the recipe, from its newest checkpoint where it has one.

    Args:
        params: where a run without checkpoints begins.
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further ones.
        meta: what readers of a checkpoint need to know.
        keep_steps: updates whose checkpoints are kept for good.
    """
    start = _start(config, run, params, training, keep_steps)
    peak = peak_flops.matmul_flops(config.model.dtype) * jax.device_count()
    rate = lambda number: {"lr": training.recipe.rate(number - 1)}
    # Closing waits for the last save, also on the way out after SIGTERM.
    with contextlib.closing(start.checkpoints) as checkpoints, run.log.bar("training") as advance:
        state = loop.train(
            lambda state, batch, number: training.step(
                state, batch, step.seed_and_step(config.seed, number)
            ),
            devices.replicate(start.state),
            batch_at,
            start=start.step,
            steps=training.recipe.steps,
            flops=flops,
            meter=meter.Meter(run.log.metrics, config.log.every, peak, rate, derive),
            hooks=_hooks(run, checkpoints, evaluation, meta, config.checkpoint.every, keep_steps),
            advance=advance,
        )
        checkpoints.wait()
        return Fitted(state["params"], checkpoints.best_step())


def _start(
    config: ConfigDict, run: OpenRun, params: Mapping, training: Training, keep_steps: Sequence[int]
) -> Start:
    """The run at its newest checkpoint, else at its start."""
    state = {"params": params, "opt_state": training.optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    checkpoints = Checkpoints(
        run.workdir, keep=config.checkpoint.keep, keep_steps=keep_steps, say=run.log.line
    )
    first, state = checkpoints.restore(state) or (0, state)
    if first:
        run.log.line(f"goes on from update {first}")
    run.log.start(first)
    return Start(checkpoints, first, state)


def _hooks(
    run: OpenRun,
    checkpoints: Checkpoints,
    evaluation: Evaluation,
    meta: Mapping,
    every: int,
    keep_steps: Sequence[int],
) -> list[loop.Hook]:
    """Evaluation first, so that an evaluated state is saved with its score; then the checkpoints in between."""

    def evaluate(number, state):
        metrics, score = evaluation.call(number, state["params"])
        run.log.metrics(number, metrics)
        if score is not None:
            checkpoints.save(number, state, meta, score)

    def save(number, state):
        checkpoints.save(number, state, meta)

    return [
        loop.Hook(evaluation.every, evaluate, last=False),
        loop.Hook(every, save, steps=keep_steps),
    ]


def row_losses(
    model: LanguageModel,
    params: Mapping,
    tokens: Any,
    *,
    train: bool,
    key: Any = None,
    positions: bool = True,
) -> jax.Array:
    """Nats a token of every row of `tokens` [B L+1], each token but the first predicted from those before it.

    Args:
        positions: the softmax is over all rows of the table, as published; otherwise over those of tokens.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, table = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    return losses.language_model(
        hidden, predicted(model, table, positions), targets, jnp.ones(targets.shape)
    )


def predicted(model: LanguageModel | Classifier, table: jax.Array, positions: bool) -> jax.Array:
    """The rows of the table among which the language model predicts: all, as published, or only those of tokens."""
    return table if positions else table[: model.body.vocab_size]


def fresh_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """The random start of a model, drawn on the devices in one program; `inputs` are those of its forward pass."""
    return _init_program(model)(jax.random.key(seed), *inputs)


@functools.lru_cache(maxsize=32)
def _init_program(model: Any) -> Callable:
    return jax.jit(lambda key, *inputs: model.init({"params": key}, *inputs, train=False)["params"])
