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

from gpt1_jax.models.heads import Classifier, LanguageModel
from gpt1_jax.training import devices, loop, losses, optim, step
from gpt1_jax.training.checkpoint import Checkpoints
from gpt1_jax.training.workdir import Run


class Recipe(NamedTuple):
    """How params are moved, and where. Hashable: runs of one recipe and one model share their compiled programs.

    Attributes:
        schedule: a schedule of training/optim.py: (steps, warmup, zero_first_update, whole_run_decay) -> factor of the rate; `warmup` is
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
    whole_run_decay: bool = True

    def factor(self) -> optim.Schedule:
        """Finished updates -> factor of the rate."""
        return self.schedule(self.steps, self.warmup, zero_first_update=self.zero_first_update, whole_run_decay=self.whole_run_decay)

    def rate(self, count: int) -> float:
        """The learning rate after `count` finished updates."""
        return float(self.lr * self.factor()(count))

    def optimizer(self) -> optax.GradientTransformation:
        """Adam by this recipe."""
        moments = dict(b1=self.b1, b2=self.b2, eps=self.eps, decay=self.decay, clip=self.clip)
        quirks = dict(uncorrected_epsilon=self.uncorrected_epsilon, bias_ratio_decay=self.bias_ratio_decay)
        return optim.adam(self.lr, self.factor(), **moments, **quirks)


def recipe(config: ConfigDict, schedule: Callable[..., optim.Schedule], steps: int, warmup: float) -> Recipe:
    """The recipe of a run of `steps` updates, the rest as config.optim and config.published say."""
    given, published = config.optim, config.published
    moments = dict(b1=given.b1, b2=given.b2, eps=given.eps, decay=given.decay, clip=given.clip)
    return Recipe(
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
        whole_run_decay=published.whole_run_decay,
    )


class Training(NamedTuple):
    """A compiled training step: step(state, batch, moment) -> (state, metrics), the state donated; its optimiser and its recipe.

    `together` is the step of several runs at once (`step.together`).
    """

    step: Callable
    together: Callable
    optimizer: optax.GradientTransformation
    recipe: Recipe


def training(loss: Callable, recipe: Recipe, frozen: Mapping[str, int] = MappingProxyType({})) -> Training:
    """The step for `loss`, (params, batch, key) -> (loss, metrics) of one device's rows.

    Args:
        frozen: how many first rows of a param stay as they are, by its slash-joined name.
    """
    optimizer = recipe.optimizer()
    if frozen:
        optimizer = optim.partly(optimizer, frozen)
    single = step.training(loss, optimizer, accumulate=recipe.accumulate)
    compiled = functools.partial(devices.parallelise, donate=True, backend=recipe.backend)
    return Training(compiled(single), compiled(step.together(single)), optimizer, recipe)


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
    """A run that is to be trained: its folder, and the params that it begins with."""

    run: Run
    params: Mapping


def fit(config: ConfigDict, run: Run, *, params: Mapping, batch_at: Callable[[int], Mapping[str, np.ndarray]], **rest: Any) -> Fitted:
    """Trains the one run; `batch_at` is step -> the global batch, the `rest` as for `fit_together`."""
    return fit_together(config, {config.seed: Start(run, params)}, batches=lambda seeds: batch_at, **rest)[config.seed]


def fit_together(
    config: ConfigDict,
    starts: Mapping[int, Start],
    *,
    training: Training,
    batches: Callable[[Sequence[int]], Callable[[int], Mapping[str, np.ndarray]]],
    flops: Callable[[int, int], float],
    derive: Callable[[Mapping[str, float]], Mapping[str, float]],
    evaluation: Evaluation,
    meta: Mapping[str, Any],
) -> dict[int, Fitted]:
    """Trains runs that differ in their seeds, to the last update of the recipe, or from the newest checkpoint of each that has one.

    Those that begin at the same update are trained in one program; their states have a first axis of runs then. A run alone has none,
    and is trained as if there were no others.

    Args:
        starts: by seed.
        batches: seeds -> step -> the global batch, for several seeds as `batching.interleaved` says.
        flops: (tokens, length) -> floating-point operations of a training step.
        derive: averaged metrics -> further ones.
        meta: what readers of a checkpoint need to know.
    """
    ready = {seed: _resume(config, start, training) for seed, start in starts.items()}
    peak = devices.matmul_flops(config.model.dtype) * jax.device_count()
    rate = lambda number: {"lr": training.recipe.rate(number - 1)}
    fitted = {}
    with contextlib.ExitStack() as stack:
        for each in ready.values():  # closing waits for the last save, also on the way out after SIGTERM
            stack.enter_context(contextlib.closing(each.checkpoints))
        for first in sorted({each.step for each in ready.values()}):
            group = _Group({seed: each for seed, each in ready.items() if each.step == first}, training)
            if len(group.runs) > 1:
                for seed, each in group.runs.items():
                    each.run.log.line(f"trained in one program with seeds {', '.join(str(other) for other in group.runs if other != seed)}")
            meters = [loop.Meter(each.run.log, config.log.every, peak, rate, derive) for each in group.runs.values()]
            with next(iter(group.runs.values())).run.log.bar("training") as advance:
                state = loop.run(
                    group.train,
                    devices.replicated(group.state),
                    batches(list(group.runs)),
                    start=first,
                    steps=training.recipe.steps,
                    flops=flops,
                    meter=meters[0] if len(meters) == 1 else loop.Meters(meters),
                    hooks=[hook for seed in group.runs for hook in _hooks(group, seed, evaluation, meta, config.checkpoint)],
                    advance=advance,
                )
            for seed, each in group.runs.items():
                each.checkpoints.wait()
                fitted[seed] = Fitted(group.own(state, seed)["params"], each.checkpoints.best_step())
    return fitted


class _Ready(NamedTuple):
    """A run where it begins or goes on."""

    run: Run
    checkpoints: Checkpoints
    step: int
    state: Mapping


def _resume(config: ConfigDict, start: Start, training: Training) -> _Ready:
    """The run at its newest checkpoint, else at its start."""
    run, params = start
    state = {"params": params, "opt_state": training.optimizer.init(params)}
    run.log.line(parameter_overview.get_parameter_overview(params, include_stats=False))
    keep = config.checkpoint
    checkpoints = Checkpoints(run.workdir, keep=keep.keep, keep_steps=keep.keep_steps, say=run.log.line)
    first, state = checkpoints.restore(state) or (0, state)
    if first:
        run.log.line(f"goes on from update {first}")
    run.log.start(first)
    return _Ready(run, checkpoints, first, state)


class _Group:
    """Runs at the same update, by seed, and their states as one, which has a first axis of runs if they are more than one."""

    def __init__(self, runs: Mapping[int, _Ready], training: Training):
        self.runs, self._alone = runs, len(runs) == 1
        states = [each.state for each in runs.values()]
        self.state = states[0] if self._alone else jax.tree.map(lambda *leaves: np.stack(leaves), *states)
        self._step = training.step if self._alone else training.together

    def train(self, state: Mapping, batch: Mapping, number: int) -> tuple[Mapping, Mapping]:
        """One update of all of them."""
        moments = [step.moment(seed, number) for seed in self.runs]
        return self._step(state, batch, moments[0] if self._alone else np.stack(moments))

    def own(self, state: Mapping, seed: int) -> Mapping:
        """The state of one of them."""
        return state if self._alone else _member(state, np.int32(list(self.runs).index(seed)))


@jax.jit
def _member(states: Mapping, number: np.int32) -> Mapping:
    return jax.tree.map(lambda leaf: leaf[number], states)


def _hooks(group: _Group, seed: int, evaluation: Evaluation, meta: Mapping, keep: ConfigDict) -> list[loop.Hook]:
    """Of one run: evaluation first, so that an evaluated state is saved with its score; then the checkpoints in between."""
    run, checkpoints = group.runs[seed].run, group.runs[seed].checkpoints

    def evaluate(number, state):
        state = group.own(state, seed)
        metrics, score = evaluation.call(number, state["params"])
        run.log.metrics(number, metrics)
        if score is not None:
            checkpoints.save(number, state, meta, score)

    def save(number, state):
        checkpoints.save(number, group.own(state, seed), meta)

    return [loop.Hook(evaluation.every, evaluate, last=False), loop.Hook(keep.every, save, steps=keep.keep_steps)]


def row_losses(model: LanguageModel, params: Mapping, tokens: Any, *, train: bool, key: Any = None, positions: bool = True) -> jax.Array:
    """Nats a token of every row of `tokens` [B L+1], each token but the first predicted from those before it.

    Args:
        positions: the softmax is over all rows of the table, as published; otherwise over those of tokens.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, table = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    return losses.language_model(hidden, predicted(model, table, positions), targets, jnp.ones(targets.shape))


def predicted(model: LanguageModel | Classifier, table: jax.Array, positions: bool) -> jax.Array:
    """The rows of the table among which the language model predicts: all, as published, or only those of tokens."""
    return table if positions else table[: model.body.vocab_size]


def fresh_params(model: Any, seed: int, *inputs: Any) -> Mapping:
    """The random start of a model, drawn on the devices in one program; `inputs` are those of its forward pass."""
    return _start(model)(jax.random.key(seed), *inputs)


@functools.lru_cache(maxsize=32)
def _start(model: Any) -> Callable:
    return jax.jit(lambda key, *inputs: model.init({"params": key}, *inputs, train=False)["params"])
