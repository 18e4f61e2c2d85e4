"""Hold the settings of the optimizer, and read them from a config."""

from collections.abc import Callable
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from gpt1_jax.engine import optim


class OptimConfig(NamedTuple):
    """Hold the settings of the optimizer and of the training step.

    It is hashable: runs of the same OptimConfig and the same model share their compiled programs.

    Attributes:
        schedule: a schedule of engine/optim.py: (steps, warmup, zero_first_update,
            decay_includes_warmup) -> factor of the learning rate.
        steps: the steps of the run.
        warmup: the warmup as a fraction of `steps`.
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
        """Return the schedule: number of finished steps -> factor of the learning rate."""
        return self.schedule(
            self.steps,
            self.warmup,
            zero_first_update=self.zero_first_update,
            decay_includes_warmup=self.decay_includes_warmup,
        )

    def learning_rate(self, count: int) -> float:
        """Return the learning rate after `count` finished steps."""
        return float(self.lr * self.factor()(count))  # pyright: ignore[reportArgumentType]

    def optimizer(self) -> optax.GradientTransformation:
        """Return Adam with these settings."""
        return optim.adam(
            self.lr,
            self.factor(),
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            decay=self.decay,
            clip=self.clip,
            uncorrected_epsilon=self.uncorrected_epsilon,
            bias_ratio_decay=self.bias_ratio_decay,
        )


def optim_config(
    config: ConfigDict, schedule: Callable[..., optim.Schedule], steps: int, warmup: float
) -> OptimConfig:
    """Return the OptimConfig of a run; config.optim and config.published define the rest."""
    settings, published = config.optim, config.published
    return OptimConfig(
        schedule,
        steps,
        warmup,
        lr=settings.lr,
        b1=settings.b1,
        b2=settings.b2,
        eps=settings.eps,
        decay=settings.decay,
        clip=settings.clip,
        accumulate=settings.accumulate,
        backend=config.backend,
        uncorrected_epsilon=published.uncorrected_epsilon,
        bias_ratio_decay=published.bias_ratio_decay,
        zero_first_update=published.zero_first_update,
        decay_includes_warmup=published.decay_includes_warmup,
    )
