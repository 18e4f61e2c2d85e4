"""Fit a model: from a loss and its data to trained params, resumable at every step."""

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
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.models.heads import Classifier, LanguageModel
from gpt1_jax.runs.lifecycle import OpenRun
from gpt1_jax.trainers.optim_config import OptimConfig


class Training(NamedTuple):
    """Hold a compiled training step, its optimizer and its settings.

    The step is (state, batch, seed_and_step) -> (state, metrics). It reuses the state's memory.
    """

    step: Callable
    optimizer: optax.GradientTransformation
    optim_config: OptimConfig


def training(
    loss: Callable, optim_config: OptimConfig, frozen: Mapping[str, int] = MappingProxyType({})
) -> Training:
    """Return the compiled training step of a loss.

    Args:
        loss: (params, batch, key) -> (loss, metrics) of one device's rows.
        optim_config: the settings of the optimizer.
        frozen: slash-joined param name -> number of first rows that are not trained.
    """
    optimizer = optim_config.optimizer()
    if frozen:
        optimizer = optim.freeze(optimizer, frozen)
    device_step = step.training_step(loss, optimizer, accumulate=optim_config.accumulate)
    compiled = devices.parallelise(device_step, donate=True, backend=optim_config.backend)
    return Training(compiled, optimizer, optim_config)


class Evaluation(NamedTuple):
    """Describe the evaluation of a run: `call(step, params)` after every `every` steps.

    The call returns metrics for the log and a score, or None instead of a score. With scores, each
    evaluated state is saved and the best one is kept.
    """

    every: int
    call: Callable[[int, Mapping], tuple[dict[str, float], float | None]]


class Fitted(NamedTuple):
    """Hold the params after the last step, on the devices, and the step with the best score."""

    params: Mapping
    best_step: int | None  # None without scores


class RunState(NamedTuple):
    """Hold the point at which a run starts or resumes.

    Attributes:
        checkpoints: the checkpoints of the run.
        step: finished steps; 0 if there is no checkpoint.
        state: {"params", "opt_state"} after these steps.
    """

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
    """Train a run to its last step, from its newest checkpoint if it has one.

    Args:
        config: seed, model.dtype, log and checkpoint are read.
        run: the run's folder.
        params: the initial params; a run with a checkpoint does not use them.
        training: the compiled training step.
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further metrics for the log.
        evaluation: what to evaluate, and when.
        meta: JSON values that are stored with every checkpoint.
        keep_steps: steps whose checkpoints are kept for good.
    """
    start = _restore(config, run, params, training, keep_steps)

    def train_step(state, batch, number):
        return training.step(state, batch, step.seed_and_step(config.seed, number))

    # Closing waits for the last save, also on the way out after SIGTERM.
    with contextlib.closing(start.checkpoints) as checkpoints, run.log.bar("training") as advance:
        state = loop.train(
            train_step,
            devices.replicate(start.state),
            batch_at,
            start=start.step,
            steps=training.optim_config.steps,
            flops=flops,
            meter=_meter(config, run, training.optim_config, derive),
            hooks=_hooks(run, checkpoints, evaluation, meta, config.checkpoint.every, keep_steps),
            advance=advance,
        )
        checkpoints.wait()
        return Fitted(state["params"], checkpoints.best_step())


def _restore(
    config: ConfigDict, run: OpenRun, params: Mapping, training: Training, keep_steps: Sequence[int]
) -> RunState:
    """Return the run's state at its newest checkpoint, else its initial state."""
    state = {"params": params, "opt_state": training.optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    checkpoints = Checkpoints(
        run.workdir, keep=config.checkpoint.keep, keep_steps=keep_steps, say=run.log.line
    )
    first, state = checkpoints.restore(state) or (0, state)
    if first:
        run.log.line(f"resumes from step {first}")
    run.log.start(first)
    return RunState(checkpoints, first, state)


def _meter(
    config: ConfigDict, run: OpenRun, optim_config: OptimConfig, derive: Callable
) -> meter.Meter:
    peak = peak_flops.matmul_flops(config.model.dtype) * jax.device_count()

    def learning_rate(number):
        return {"lr": optim_config.learning_rate(number - 1)}

    return meter.Meter(run.log.metrics, config.log.every, peak, learning_rate, derive)


def _hooks(
    run: OpenRun,
    checkpoints: Checkpoints,
    evaluation: Evaluation,
    meta: Mapping,
    every: int,
    keep_steps: Sequence[int],
) -> list[loop.Hook]:
    """Return the hooks that evaluate and save.

    The evaluation comes first, so that an evaluated state is saved with its score.
    """

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
    """Return the language model loss of every row of `tokens` [B L+1], in nats per token.

    Each token but the first is predicted from those before it.

    Args:
        model: the language model.
        params: its params.
        tokens: token ids [B L+1].
        train: use dropout, with `key`.
        key: the random key of dropout.
        positions: see `softmax_rows`.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, embedding = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    rows = softmax_rows(model, embedding, positions)
    return losses.language_model(hidden, rows, targets, jnp.ones(targets.shape))


def softmax_rows(
    model: LanguageModel | Classifier, embedding: jax.Array, positions: bool
) -> jax.Array:
    """Return the rows of the embedding matrix over which the language model's softmax runs.

    Args:
        model: a model with this embedding matrix.
        embedding: the embedding matrix [V D], first the rows of tokens.
        positions: all rows, with those of positions, as published. Otherwise the rows of tokens
            only.
    """
    return embedding if positions else embedding[: model.body.vocab_size]


def fresh_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """Return randomly initialised params of a model, drawn on the device in one program.

    Args:
        model: a flax module.
        seed: the seed of the initialisation.
        *inputs: the inputs of the model's forward pass.
    """
    return _init_program(model)(jax.random.key(seed), *inputs)


@functools.lru_cache(maxsize=32)
def _init_program(model: Any) -> Callable:
    def init(key, *inputs):
        return model.init({"params": key}, *inputs, train=False)["params"]

    return jax.jit(init)
