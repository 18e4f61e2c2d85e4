"""Read the checkpoint that finetuning starts from, and transfer its params to a new model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gpt1_jax.engine import checkpoint, transfer
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.models.heads import Classifier
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import bpe


class Pretrained(NamedTuple):
    """Hold the part of a pretraining run that finetuning starts from.

    Attributes:
        tokenizer: the tokenizer of the run.
        body: the name of the body.
        sizes: the arguments of the body, without vocab_size.
        step: the step of the checkpoint.
        layers: the number of transferred blocks; 0 transfers the embeddings only, -1 nothing.
        params: slash-joined name -> array, of the transferred params.
        dropped: the names of the params that are not transferred.
        origin: {"origin": ...}, the source of imported params; {} for a run trained here.
    """

    tokenizer: bpe.Tokenizer
    body: str
    sizes: dict[str, Any]
    step: int
    layers: int
    params: dict[str, np.ndarray]
    dropped: list[str]
    origin: dict[str, Any]


class InitialParams(NamedTuple):
    """Hold the params at the start of finetuning.

    Attributes:
        params: the nested dict of arrays.
        restored_rows: slash-joined name -> the number of first rows from the checkpoint.
        summary: the transfer status of every part of the model, for the log.
    """

    params: dict
    restored_rows: dict[str, int]
    summary: str


def read_pretrained(
    path: str, step: int | None, layers: int | None, model: Mapping[str, Any]
) -> Pretrained:
    """Read the pretraining run in the folder `path`.

    Args:
        path: config.init.path.
        step: config.init.step; None selects the last checkpoint.
        layers: config.init.layers; None transfers every block.
        model: config.model; a size that is None is taken from the run.

    Raises:
        UserError: the run, its checkpoint or its tokenizer is missing, damaged, or does not fit
            the config.
    """
    run = PretrainedRun(path)
    sizes = body_sizes(run, model)
    step = step or run.steps[-1]
    if step not in run.steps:
        raise UserError(
            f"config.init.step: {run.workdir} has no checkpoint of step {step}; choose one of "
            f"{run.steps}"
        )
    run.meta(step)  # raises a UserError if the checkpoint was trained with another tokenizer
    if layers is None:
        layers = run.sizes.get("layers", 1)
    names = checkpoint.param_names(run.workdir, step)
    transferred = transfer.transferred_names(names, layers)
    return Pretrained(
        tokenizer=run.tokenizer,
        body=run.body,
        sizes=sizes,
        step=step,
        layers=layers,
        params=checkpoint.read_params(run.workdir, step, transferred),
        dropped=[name for name in names if name not in transferred],
        origin={"origin": run.config["origin"]} if "origin" in run.config else {},
    )


def body_sizes(run: PretrainedRun, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the body of a run; those of config.model that are set replace them.

    Raises:
        UserError: config.model does not fit the run.
    """
    if run.body != model["name"]:
        raise UserError(
            f"config.init.path: the body of {run.workdir} is {run.body}, but config.model.name is "
            f"{model['name']}; name a run with the same body"
        )
    sizes = dict(run.sizes)
    for name, value in model.items():
        if name != "name" and value is not None:
            sizes[name] = value
    factory.check_sizes(run.body, sizes)
    return sizes


def initial_params(pretrained: Pretrained, model: Classifier, seed: int) -> InitialParams:
    """Draw the params of `model`; replace the transferred ones by those of the checkpoint.

    Raises:
        UserError: a transferred param does not fit the model.
    """
    fresh = _fresh_params(model, pretrained.sizes["context"], seed)
    params, restored_rows = transfer.merge(fresh, pretrained.params)
    status = transfer.transfer_status(params, restored_rows)
    for name in pretrained.dropped:
        status[name] = (
            f"{status[name]}, that of the checkpoint dropped" if name in status else "dropped"
        )
    return InitialParams(params, restored_rows, transfer.status_summary(status))


def _fresh_params(model: Classifier, context: int, seed: int) -> Mapping:
    """Return randomly initialized params of `model`.

    All `context` positions of the pretrained model are drawn, then the unused ones are removed.
    The same compiled program therefore serves every task with the same number of outputs.
    """
    longest = Classifier(model.body.clone(context=context), model.outputs)
    tokens, extract = np.zeros((1, 1, 1), np.int32), np.zeros((1, 1), np.int32)
    params = factory.init_params(longest, seed, tokens, extract)
    if "positions" in params:
        params = {**params, "positions": params["positions"][: model.body.context]}
    return params
