"""What the training programs share: from a loss and its data to trained params, resumable at every update."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from gpt1_jax.training import devices, loop, optim, step
from gpt1_jax.training.checkpoint import Checkpoints
from gpt1_jax.training.workdir import Run


class Evaluation(NamedTuple):
    """What happens after every `every` updates: `call(params)` gives metrics for the log and a score, or None.

    With scores, each evaluated state is saved and the best one kept.
    """

    every: int
    call: Callable[[Mapping], tuple[dict[str, float], float | None]]


class Fitted(NamedTuple):
    """The params after the last update, on the devices, and the update with the best score (None without scores)."""

    params: Mapping
    best_step: int | None


def fit(
    config: ConfigDict,
    run: Run,
    *,
    params: Mapping,
    loss: Callable,
    batch_at: Callable[[int], Mapping[str, np.ndarray]],
    steps: int,
    schedule: optim.Schedule,
    flops: Callable[[int, int], float],
    derive: Callable[[Mapping[str, float]], Mapping[str, float]],
    evaluation: Evaluation,
    meta: Mapping[str, Any],
) -> Fitted:
    """Trains `params` by config.optim to update `steps`, or from the newest checkpoint of the run where it has one.

    Args:
        loss: (params, batch, key) -> (loss, metrics), of one device's rows.
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further ones.
        meta: what readers of a checkpoint need to know.
    """
    optimizer = _optimizer(config, schedule)
    state = {"params": params, "opt_state": optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    keep = config.checkpoint
    checkpoints = Checkpoints(run.workdir, keep=keep.keep, keep_steps=keep.keep_steps, say=run.log.line)
    start, state = checkpoints.restore(state) or (0, state)
    if start:
        run.log.line(f"goes on from update {start}")
    run.log.start(start)

    train = step.training(loss, optimizer, accumulate=config.optim.accumulate, seed=config.seed)
    peak = devices.matmul_flops(config.model.dtype) * jax.device_count()
    rate = lambda number: {"lr": float(config.optim.lr * schedule(number - 1))}
    # Closing waits for the last save, also on the way out after SIGTERM.
    with contextlib.closing(checkpoints), run.log.bar("training") as advance:
        state = loop.run(
            devices.parallelise(train, donate=True, backend=config.backend),
            devices.replicated(state),
            batch_at,
            start=start,
            steps=steps,
            flops=flops,
            meter=loop.Meter(run.log, config.log.every, peak, rate, derive),
            hooks=_hooks(run, checkpoints, evaluation, meta, keep),
            advance=advance,
        )
        checkpoints.wait()
        return Fitted(state["params"], checkpoints.best_step())


def _optimizer(config: ConfigDict, schedule: optim.Schedule) -> optax.GradientTransformation:
    given = config.optim
    return optim.adam(given.lr, schedule, b1=given.b1, b2=given.b2, eps=given.eps, decay=given.decay, clip=given.clip)


def _hooks(run: Run, checkpoints: Checkpoints, evaluation: Evaluation, meta: Mapping, keep: ConfigDict) -> list[loop.Hook]:
    """Evaluation first, so that an evaluated state is saved with its score; then the checkpoints in between."""

    def evaluate(number, state):
        metrics, score = evaluation.call(state["params"])
        run.log.metrics(number, metrics)
        if score is not None:
            checkpoints.save(number, state, meta, score)

    def save(number, state):
        checkpoints.save(number, state, meta)

    return [loop.Hook(evaluation.every, evaluate, last=False), loop.Hook(keep.every, save, steps=keep.keep_steps)]


def fresh_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """The random start of a model, drawn on the devices in one program; `inputs` are those of its forward pass."""
    init = jax.jit(lambda key, *inputs: model.init({"params": key}, *inputs, train=False)["params"])
    return init(jax.random.key(seed), *inputs)
