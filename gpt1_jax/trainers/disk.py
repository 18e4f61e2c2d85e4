"""Estimate the bytes that the checkpoints of an ablation take."""

import math
from collections.abc import Iterable

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.trainers import flops

STATE = 3  # arrays of a checkpoint for each param: the param and the two moments of Adam


def summary(runs: Iterable[tuple[ConfigDict, ConfigDict]]) -> str:
    """Return a line on the disk that runs need: when all have finished, and for one in training.

    Args:
        runs: (pretraining configuration of its body, configuration) of every run.
    """
    sizes, finished, training = {}, 0, [0]
    for pretraining, run in runs:
        if "checkpoint" not in run:  # probing writes no checkpoint
            continue
        key = pretraining.model.to_json(), pretraining.tokenizer.vocab_size
        if key not in sizes:
            sizes[key] = param_bytes(pretraining)
        chosen = _chosen_steps(run)
        if run.checkpoint.finished == "params":
            finished += sizes[key] * (1 + chosen)
        else:
            finished += sizes[key] * (run.checkpoint.keep + chosen) * STATE
        # One more is written before one is deleted.
        training.append(sizes[key] * (run.checkpoint.keep + chosen + 1) * STATE)
    return (
        f"checkpoints: at most {finished / 1e9:.3g} GB when all runs have finished, and "
        f"{max(training) / 1e9:.3g} GB for each run in training"
    )


def _chosen_steps(run: ConfigDict) -> int:
    """Return the number of checkpoints that a run keeps besides the newest ones."""
    if run.trainer == "finetune":
        return 1  # the best one; if it is the last, there is one less
    return len({*run.checkpoint.keep_steps} - {run.steps})


def param_bytes(pretraining: ConfigDict) -> int:
    """Return the bytes of the params of a pretraining run."""
    model = LanguageModel(flops.body_model(pretraining))
    tokens = np.zeros((1, pretraining.model.context), np.int32)
    shapes = jax.tree.leaves(factory.param_shapes(model, tokens))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in shapes)
