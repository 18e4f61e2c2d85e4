"""Read the checkpoint that finetuning starts from, and transfer its params to a new model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
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
        fingerprint: hash of the transferred params.
    """

    tokenizer: bpe.Tokenizer
    body: str
    sizes: dict[str, Any]
    step: int
    layers: int
    params: dict[str, np.ndarray]
    dropped: list[str]
    origin: dict[str, Any]
    fingerprint: str


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


class FirstStart(NamedTuple):
    """Hold what the first start of a run recorded about its initial params.

    Attributes:
        step: the step of the pretraining run.
        fingerprint: hash of the transferred params.
        is_saved: True if the run has a checkpoint, so that its initial params are not used again.
    """

    step: int
    fingerprint: str
    is_saved: bool


def read_pretrained(
    path: str,
    step: int | None,
    layers: int | None,
    model: Mapping[str, Any],
    first: FirstStart | None = None,
) -> Pretrained:
    """Read the pretraining run in the folder `path`.

    Args:
        path: config.init.path.
        step: config.init.step; None selects the checkpoint that `path` names, or else the last.
        layers: config.init.layers; None transfers every block.
        model: config.model; a size that is None is taken from the run.
        first: the first start of a run that is resumed. Its step is used, although the pretraining
            run may have gone on. If that step is deleted and `first.is_saved`, the names and the
            shapes of the params are those of the last checkpoint, and the values do not matter.

    Raises:
        UserError: the run, its checkpoint or its tokenizer is missing, damaged, or does not fit
            the config.
    """
    run = PretrainedRun(path)
    sizes = body_sizes(run, model)
    if first is not None:
        step = first.step
    elif step is None:
        step = run.step
    is_deleted = step not in run.steps
    if is_deleted and not (first and first.is_saved):
        begun = ", from which this run began" if first else ""
        raise UserError(
            f"config.init.step: {run.workdir} has no checkpoint of step {step}{begun}; choose one "
            f"of {run.steps}"
        )
    source = run.steps[-1] if is_deleted else step
    meta = run.meta(source)
    if layers is None:
        layers = int(run.sizes.get("layers", 1))
    names = checkpoint.param_names(run.workdir, source)
    transferred = transfer.transferred_names(names, layers)
    return Pretrained(
        tokenizer=run.tokenizer,
        body=run.body,
        sizes=sizes,
        step=step,
        layers=layers,
        params=checkpoint.read_params(run.workdir, source, transferred),
        dropped=[name for name in names if name not in transferred],
        origin={"origin": run.config["origin"]} if "origin" in run.config else {},
        fingerprint=first.fingerprint if first and is_deleted else _fingerprint(meta, transferred),
    )


def _fingerprint(meta: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the hash of some params of a checkpoint, from its metadata."""
    checksums = {name: meta["crc32"][f"params/{name}"] for name in sorted(names)}
    return hashlib.sha256(json.dumps(checksums).encode()).hexdigest()


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
