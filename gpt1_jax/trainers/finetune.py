"""Supervised finetuning of a pretrained body on one task (sections 3.2, 3.3 and 4.2 of the paper)."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.analysis.stats import metrics
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.readers.records import Example
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import (
    checkpoint,
    devices,
    fingerprint,
    losses,
    optim,
    order,
    packing,
    transfer,
)
from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.runs import lifecycle, predictions
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import bpe
from gpt1_jax.trainers import classification, config_checks
from gpt1_jax.trainers.fit import Evaluation, fit, fresh_params
from gpt1_jax.trainers.optim_config import optim_config


@TRAINERS.register("finetune")
def finetune(config: ConfigDict, path: str) -> dict:
    """Trains a classifier for config.task; `path` is the run's folder, and what comes back is also its result.json."""
    config_checks.check(config)
    with lifecycle.open_run(path, config.to_dict()) as run:
        return _finetune(config, run) if run.result is None else run.result


def _finetune(config: ConfigDict, run: lifecycle.OpenRun) -> dict:
    """Trains the run to its result."""
    begin = time.time()
    devices.check_batch_size(config.batch_size, config.optim.accumulate)
    task = _task(config)
    source = _Source(config)
    rows, about = _rows(config, task, run.log.line)
    data = {split: _streams(config, task, examples, source) for split, examples in rows.items()}
    fingerprints = {split: facts["sha256"] for split, facts in about["splits"].items()} | {
        "tokenizer": source.tokenizer.fingerprint
    }
    lifecycle.check_data(run.workdir, fingerprints)
    storage.write_json(run.workdir / "data.json", about | {"fingerprints": fingerprints})
    source.tokenizer.save(run.workdir / "tokenizer.json")

    model = _classifier(
        config, task, source, context=max(streams.longest for streams in data.values())
    )
    params, kept = source.transfer(_fresh_params(model, source, config.seed))
    run.log.line(transfer.status_summary(source.fates(params, kept)))

    epoch = order.updates_per_epoch(len(data["train"]), config.batch_size)
    steps = epoch * config.epochs
    programs = classification.programs(
        model,
        config.lm_coef,
        config.regression,
        config.published.softmax_positions,
        optim_config(config, optim.warmup_linear, steps, config.optim.warmup_fraction),
        tuple(sorted(kept.items())) if config.init.frozen else (),
    )
    examine = _examination(config, programs.predict, task, rows, data)
    softmax = 2 * model.body.width * source.tokenizer.vocab_size * (config.lm_coef != 0)
    fitted = fit(
        config,
        run,
        params=params,
        training=programs.training,
        batch_at=functools.partial(_batch, config, data["train"]),
        flops=lambda tokens, length: 3 * tokens * (model.body.flops(length) + softmax),
        evaluation=Evaluation(epoch, lambda _, params: _score(examine(params, task.validation))),
        meta={"tokenizer": source.tokenizer.fingerprint},
    )
    best = checkpoint.read_all_params(run.workdir, fitted.best_step)
    scores = examine(
        devices.replicate(best),
        [split for split in rows if split != "train"],
        run.workdir / "predictions",
    )
    result = {
        "trainer": "finetune",
        "task": config.task,
        "seed": config.seed,
        "metrics": scores,
        "best_step": fitted.best_step,
        "steps": steps,
        "init": {"path": config.init.path, "step": source.step, "layers": source.layers}
        | source.origin,
        "model": {"name": config.model.name, **source.sizes, "context": model.body.context},
        "streams": classification.task_metadata(task) | {"context": source.sizes["context"]},
        "data": about,
        "params_sha256": fingerprint.params_sha256(fitted.params),
        "seconds": round(time.time() - begin, 1),
        "device": devices.device_summary(),
    }
    for split, values in scores.items():
        run.log.line(
            f"{split} (update {fitted.best_step})  "
            + "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        )
    return run.finish(result)


def _batch(config: ConfigDict, train: packing.PackedExamples, step: int) -> dict[str, np.ndarray]:
    """The global batch of `step`."""
    batch = train[
        order.indices(step, size=len(train), batch_size=config.batch_size, seed=config.seed)
    ]
    if "stream_weight" in batch:
        batch = packing.normalize_stream_weight(batch)
    return packing.with_max_targets(batch, jax.device_count() * config.optim.accumulate)


class _Source:
    """The pretrained run that finetuning starts from.

    Attributes:
        tokenizer: its tokenizer, checked against the checkpoint's fingerprint.
        step: the update whose checkpoint is taken.
        layers: the blocks that are transferred; -1 nothing, 0 the embeddings.
        body: makes the body.
        sizes: its arguments: the run's sizes, where config.model leaves them empty.
        origin: {"origin": where its params were taken from} where that is known, else {}.
    """

    def __init__(self, config: ConfigDict):
        run = PretrainedRun(config.init.path)
        if run.body != config.model.name:
            raise UserError(
                f"config.init.path: {run.workdir} is a {run.body}, config.model.name a {config.model.name}; name a run of the same body"
            )
        self.step = config.init.step or run.steps[-1]
        if self.step not in run.steps:
            raise UserError(
                f"config.init.step: {run.workdir} has no checkpoint of update {self.step}; it has {run.steps}"
            )
        run.meta(self.step)
        self.tokenizer, self._workdir = run.tokenizer, run.workdir
        self.origin = {name: run.config[name] for name in ("origin",) if name in run.config}
        self.sizes = run.sizes | {
            name: value
            for name, value in config.model.items()
            if value is not None and name != "name"
        }
        self.body = config_checks.body(config.model.name, self.sizes)
        self._names = checkpoint.param_names(self._workdir, self.step)
        self.layers = (
            run.sizes.get("layers", 1) if config.init.layers is None else config.init.layers
        )

    def transfer(self, fresh: Mapping) -> tuple[dict, dict[str, int]]:
        """`fresh` params with those of the run in their places, and how many rows of each are the run's (`transfer.merge`)."""
        return transfer.merge(
            fresh, checkpoint.read_params(self._workdir, self.step, self._wanted())
        )

    def fates(self, params: Mapping, kept: Mapping[str, int]) -> dict[str, str]:
        """A word on every param, of the model and of the run."""
        fates, wanted = transfer.transfer_status(params, kept), self._wanted()
        left = {
            name: f"{fates[name]}, the run's dropped" if name in fates else "dropped"
            for name in self._names
            if name not in wanted
        }
        return fates | left

    def _wanted(self) -> list[str]:
        return transfer.transferred_names(self._names, self.layers)


def _fresh_params(model: Classifier, source: _Source, seed: int) -> Mapping:
    """The random start, drawn with all of the run's positions and then cut: one program draws for every task of as many outputs."""
    whole = model.body.clone(context=source.sizes["context"])
    params = fresh_params(
        Classifier(whole, model.outputs),
        seed,
        np.zeros((1, 1, 1), np.int32),
        np.zeros((1, 1), np.int32),
    )
    if "positions" in params:
        params = {**params, "positions": params["positions"][: model.body.context]}
    return params


def _classifier(config: ConfigDict, task: Task, source: _Source, context: int) -> Classifier:
    """The task's model; its positions are cut to the longest example, as published."""
    sizes = {**source.sizes, "context": context, "table_dropout": config.published.table_dropout}
    body = source.body(source.tokenizer.vocab_size + len(bpe.SPECIALS), **sizes)
    dropout = {
        "clf_dropout": config.clf_dropout,
        "shared_clf_dropout": config.published.shared_clf_dropout,
    }
    return classification.classifier(task, body, config.regression, **dropout)


def _task(config: ConfigDict) -> Task:
    """The entry, if it can be finetuned on as the config says."""
    task = TASKS[config.task]
    if not task.trainable:
        raise UserError(
            f"config.task: {task.name} has no split to train on or none to choose a checkpoint by; it is only predicted or probed"
        )
    if config.regression and not task.bins:
        raise UserError(f"config.regression: {task.name} has classes, not scores; leave it False")
    return task


def _rows(
    config: ConfigDict, task: Task, say: Callable[[str], None]
) -> tuple[dict[str, list[Example]], dict]:
    """split -> examples, and what was read; test splits, and those of the task's diagnostics by their names, where they are there."""
    place = {"source": config.data.source, "path": config.data.path}
    wanted = {split: (task, split) for split in ("train", *task.validation)}
    wanted |= {
        split: (task, split)
        for split in task.test
        if config.data.test and sources.has(task, split, **place)
    }
    for name in task.diagnostics if config.data.test else ():
        with contextlib.suppress(
            UserError
        ):  # which says where it could be had; nobody has asked for it
            if sources.has(TASKS[name], "test", **place):
                wanted[name] = (TASKS[name], "test")
    rows, about = {}, {}
    for name, (entry, split) in wanted.items():
        read = sources.load(entry, split, **place, max_bad_rows=config.data.max_bad_rows, say=say)
        if split == "train" and config.data.examples:
            read = read._replace(examples=read.examples[: config.data.examples])
        rows[name], about[name] = read.examples, sources.describe(entry, split, read)
        facts = about[name]
        left = (
            f", {facts['unlabelled']} without a gold label left out" if facts["unlabelled"] else ""
        )
        other = (
            f"; the published split has {entry.sizes[split]}: scores do not compare"
            if facts["published"] is False
            else ""
        )
        say(f"{entry.name} {split}: {facts['rows']} rows, {facts['labels']}{left}{other}")
    return rows, {"source": config.data.source, "splits": about}


def _streams(
    config: ConfigDict, task: Task, examples: list[Example], source: _Source
) -> packing.PackedExamples:
    """The examples in the task's format, and their labels as the loss wants them: distributions over the classes, or scores.

    With config.share_prefix the streams of a choice hold their context once. In training they then share its attention and residual
    dropout, which as published each stream draws for itself: the same distribution for a stream, correlated among those of an example.
    """
    share_prefix = config.share_prefix and task.format == "choice"
    streams = classification.streams(
        task, [example.segments for example in examples], source.tokenizer, source.sizes["context"]
    )
    if any(example.label is None for example in examples):
        return packing.PackedExamples(streams, None, share_prefix)
    labels = np.array([example.label for example in examples])
    stream_weight = _importance(config.published, task, streams, labels)
    labels = (
        labels.astype(np.float32) if config.regression else losses.soft_bins(labels, task.outputs)
    )
    return packing.PackedExamples(streams, labels, share_prefix, stream_weight)


def _importance(
    published: ConfigDict, task: Task, streams: list[list[list[int]]], labels: np.ndarray
) -> list[list[float]] | None:
    """The share of every stream in the auxiliary loss of its batch; None where all are alike, as published."""
    per_sequence_lm_mean, everywhere = (
        published.per_sequence_lm_mean,
        published.lm_loss_on_wrong_answers or task.format != "choice",
    )
    if per_sequence_lm_mean and everywhere:
        return None

    def share(stream, right):
        return (1.0 if per_sequence_lm_mean else float(len(stream) - 1)) * (everywhere or right)

    return [
        [share(stream, number == label) for number, stream in enumerate(example)]
        for example, label in zip(streams, labels, strict=True)
    ]


def _examination(config: ConfigDict, predict: Callable, task: Task, rows: Mapping, data: Mapping):
    """(params, splits, folder) -> split -> metric -> value, for splits with labels; predictions of all go to the folder."""

    def examine(params, splits, folder=None):
        results = {}
        for split in splits:
            answers, found = classification.predict(
                predict, params, data[split], task, config.regression, config.batch_size
            )
            if folder is not None and jax.process_index() == 0:
                predictions.write(folder / f"{split}.tsv", rows[split], answers, found, task.labels)
            labels = [example.label for example in rows[split]]
            if None not in labels:
                results[split] = metrics.score(task.metrics, labels, answers)
        return results

    return examine


def _score(results: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, float], float]:
    """All metrics in one row, and the one that chooses the checkpoint: the paper's, on the first development split."""
    flat = {
        f"{split}_{name}": value
        for split, values in results.items()
        for name, value in values.items()
    }
    return flat, next(iter(flat.values()))
