"""Fit a model: from a loss and its data to trained params, resumable at every step."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from clu import parameter_overview
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint, devices, loop, optim, peak_flops, preemption, step
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.engine.meter import Meter
from gpt1_jax.engine.replay import replayed
from gpt1_jax.engine.save_timer import SaveTimer
from gpt1_jax.engine.step_trace import StepTrace
from gpt1_jax.errors import UserError
from gpt1_jax.runs import lifecycle
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
    device_step, optimizer = training_step(loss, optim_config, frozen)
    compiled = devices.parallelize(device_step, donate=True, backend=optim_config.backend)
    return Training(compiled, optimizer, optim_config)


def training_step(
    loss: Callable, optim_config: OptimConfig, frozen: Mapping[str, int] = MappingProxyType({})
) -> tuple[Callable, optax.GradientTransformation]:
    """Return the step of one device, not compiled, and its optimizer; arguments as `training`."""
    optimizer = optim_config.optimizer()
    if frozen:
        optimizer = optim.freeze(optimizer, frozen)
    return step.training_step(loss, optimizer, accumulate=optim_config.accumulate), optimizer


class Evaluation(NamedTuple):
    """Describe the evaluation of a run: `call(step, params)` after every `every` steps.

    The call returns metrics for the log and a score, or None instead of a score. With scores, each
    evaluated state is saved and the best one is kept.
    """

    every: int
    call: Callable[[int, Mapping], tuple[dict[str, float], float | None]]


class Fitted(NamedTuple):
    """Hold the params after the last step, and the step with the best score and its params.

    Attributes:
        params: the params after the last step, on the devices.
        best_step: the step with the best score; None without scores.
        best_params: the params after that step, on the host; None without scores.
    """

    params: Mapping
    best_step: int | None
    best_params: Mapping | None


class RunState(NamedTuple):
    """Hold the point at which a run starts or resumes.

    Attributes:
        checkpoints: the checkpoints of the run.
        step: finished steps; 0 if there is no checkpoint.
        state: {"params", "opt_state"} after these steps.
        meter: the meter, with the sums of the line of the log that these steps have begun.
    """

    checkpoints: Checkpoints
    step: int
    state: Mapping
    meter: Meter


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
        config: seed, backend, model.dtype, log, checkpoint and check are read.
        params: the initial params; a run with a checkpoint does not use them.
        training: the compiled training step.
        batch_at: step -> the global batch.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further metrics for the log.
        meta: JSON values that are stored with every checkpoint, besides the seed and a fingerprint
            of the config. A checkpoint with other values is not resumed.
        keep_steps: steps whose checkpoints are never deleted.

    Raises:
        Preempted: a signal arrived; the run has saved itself.
    """
    if config.log.profile and isinstance(run.workdir, storage.BucketPath):
        raise UserError(
            "config.log.profile: traces are written to a disk only; leave it out, or give a "
            "--workdir of this machine"
        )
    meter = _meter(config, run, training, derive)
    start = _restore(config, run, params, training, meter, meta, keep_steps)
    hooks = _hooks(config, run, start, evaluation, keep_steps)
    final = training.optim_config.steps
    step_trace = _step_trace(config, run, start.step, final)

    def train_step(state, batch, number):
        return training.step(state, batch, step.seed_and_step(config.seed, number))

    if config.check.replay_every:
        train_step = replayed(train_step, config.check.replay_every, config.backend)

    # Closing waits for the last save of this process, also on the way out after a signal.
    with (
        _report_preemption(run.log.line),
        preemption.PreemptionHandler() as preemption_handler,
        contextlib.closing(start.checkpoints) as checkpoints,
        run.log.bar("training") as advance,
        step_trace,
    ):
        state = devices.replicate(start.state)
        step_trace.start(start.step, state)
        try:
            state = loop.train(
                train_step,
                state,
                batch_at,
                start=start.step,
                steps=final,
                flops=flops,
                meter=meter,
                hooks=step_trace.around(hooks),
                advance=advance,
                preemption_handler=preemption_handler,
            )
        except preemption.Preempted:  # on all processes, after the same step
            checkpoints.wait()
            raise
        checkpoints.wait()
        if preemption_handler.pending:  # it came during the last hooks
            raise preemption.Preempted(preemption_handler.pending, final)
        best_step, best_params = checkpoints.best() or (None, None)
        return Fitted(state["params"], best_step, best_params)


@contextlib.contextmanager
def _report_preemption(log_line: Callable[[str], None]) -> Iterator[None]:
    """Log that the run has saved itself, if a signal ends the block."""
    try:
        yield
    except preemption.Preempted as stop:
        log_line(
            f"stopped by {stop.signal}: step {stop.step} is saved, and the same command resumes "
            "the run"
        )
        raise


def _meter(config: ConfigDict, run: OpenRun, training: Training, derive: Callable) -> Meter:
    """Return the meter that writes the lines of the log.

    On CPUs it has no peak. Other programs use the cores, too. A peak that is measured beside them
    is too low, and a utilization above 1 would follow.
    """
    peak = None
    if jax.default_backend() != "cpu":
        peak = peak_flops.matmul_flops(config.model.dtype) * jax.device_count()

    def learning_rate(number):
        return {"lr": training.optim_config.learning_rate(number - 1)}

    return Meter(run.log.metrics, config.log.every, peak, learning_rate, derive)


def _restore(
    config: ConfigDict,
    run: OpenRun,
    params: Mapping,
    training: Training,
    meter: Meter,
    meta: Mapping[str, Any],
    keep_steps: Sequence[int],
) -> RunState:
    """Return the run's state at its newest checkpoint, else its initial state."""
    state = {"params": params, "opt_state": training.optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    run.new_path(checkpoint.FOLDER)
    settings = lifecycle.config_fingerprint(config.to_dict())
    checkpoints = Checkpoints(
        run.workdir,
        {**meta, "seed": config.seed, "config": settings},
        keep=config.checkpoint.keep,
        keep_steps=keep_steps,
        log_line=run.log.line,
    )
    restored, start = checkpoints.restore(state, training.optim_config.steps), 0
    if restored is not None:
        start, state = restored
        saved = checkpoint.read_meta(run.workdir, start)
        if "meter" in saved:  # earlier versions of the program did not save it
            meter.restore(saved["meter"])
        run.log.line(f"resumes from step {start}")
    run.log.start(start)
    return RunState(checkpoints, start, state, meter)


def _step_trace(config: ConfigDict, run: OpenRun, start: int, final: int) -> StepTrace:
    """Return the trace of the steps config.log.profile. Log a line if none of them will be run."""
    steps = config.log.profile
    if steps and not (steps[0] <= final and start < steps[1]):
        run.log.line(
            f"config.log.profile: {steps} are not among the steps {start + 1} to {final}: no trace"
        )
    return StepTrace(run.workdir / "tb", steps, final, run.log.line)


def _hooks(
    config: ConfigDict,
    run: OpenRun,
    start: RunState,
    evaluation: Evaluation,
    keep_steps: Sequence[int],
) -> list[loop.Hook]:
    """Return the hooks that evaluate and save.

    The evaluation comes first, so that an evaluated state is saved with its score.
    """

    def evaluate(number, state):
        metrics, score = evaluation.call(number, state["params"])
        run.log.metrics(number, metrics)
        if score is not None:
            save(number, state, score)

    timer = SaveTimer(config.checkpoint.minutes, config.log.every)

    def save(number, state, score=None):
        timer.restart()
        run.log.flush()
        run.confirm()
        start.checkpoints.save(number, state, score, {"meter": start.meter.state()})

    return [
        loop.Hook(evaluation.every, evaluate, on_preemption=False),
        loop.Hook(config.checkpoint.every, save, steps=keep_steps, is_due=timer.is_due),
    ]
