"""Finetune a pretrained body on one task (sections 3.2, 3.3 and 4.2 of the paper)."""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.analysis.stats import metrics
from gpt1_jax.engine import devices, fingerprint, optim, order
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import TRAINERS
from gpt1_jax.runs import lifecycle, predictions
from gpt1_jax.trainers import classification, config_checks, finetune_data, rehearsed_steps
from gpt1_jax.trainers.finetune_data import FinetuneData
from gpt1_jax.trainers.finishing import finish
from gpt1_jax.trainers.fit import Evaluation, Fitted, fit
from gpt1_jax.trainers.optim_config import optim_config
from gpt1_jax.trainers.pretrained import initial_params
from gpt1_jax.trainers.rehearsal_report import rehearse

Scores = Mapping[str, Mapping[str, float]]  # split -> metric -> value


class FinetuneModel(NamedTuple):
    """Hold what the training loop needs of the model.

    Attributes:
        classifier: the body with its head.
        params: the initial params.
        programs: the compiled programs for training and prediction.
        steps_per_epoch: the number of steps in an epoch.
        steps: the number of steps of the run.
    """

    classifier: Classifier
    params: Mapping
    programs: classification.Programs
    steps_per_epoch: int
    steps: int


@TRAINERS.register("finetune")
def finetune(config: ConfigDict, path: str) -> dict:
    """Train a classifier for config.task in the run folder `path`; return its result.json."""
    config_checks.check(config)
    if config.compile_for:
        return rehearse(config, rehearsed_steps.finetuning)
    with lifecycle.open_run(path, config.to_dict(), config.log.tracker) as run:
        if run.result is not None:
            if run.has_moved:
                finetune_data.load(config, run)
            return run.result
        begin = time.time()
        config_checks.check_batch_size(config.batch_size, config.optim.accumulate)
        data = finetune_data.load(config, run)
        model = _build(config, run, data)
        score_splits = functools.partial(
            _score_splits, data, model.programs.predict, config.regression, config.batch_size
        )
        fitted = _fit(config, run, data, model, score_splits)
        scores = _evaluate(run, fitted, data, score_splits)
        pretrained = data.pretrained
        init = {"path": config.init.path, "step": pretrained.step, "layers": pretrained.layers}
        sizes = {**pretrained.sizes, "context": model.classifier.body.context}
        result = {
            "trainer": "finetune",
            "task": config.task,
            "seed": config.seed,
            "metrics": scores,
            "best_step": fitted.best_step,
            "steps": model.steps,
            "init": init | pretrained.origin,
            "model": {"name": config.model.name, **sizes},
            "streams": data.stream_metadata,
            "data": data.about,
            "params_sha256": fingerprint.params_sha256(fitted.params),
            "seconds": round(time.time() - begin, 1),
            "device": devices.device_summary(),
        }
        return finish(config, run, result)


def _build(config: ConfigDict, run: lifecycle.OpenRun, data: FinetuneData) -> FinetuneModel:
    """Build the classifier, transfer its params and compile its programs."""
    classifier = classification.build(
        config,
        data.task,
        {"name": data.pretrained.body, **data.pretrained.sizes},
        data.pretrained.tokenizer.vocab_size,
        context=max(packed.longest for packed in data.packed.values()),
    )
    initial = initial_params(data.pretrained, classifier, config.seed)
    run.log.line(initial.summary)

    steps_per_epoch = order.updates_per_epoch(len(data.packed["train"]), config.batch_size)
    steps = steps_per_epoch * config.epochs
    settings = optim_config(config, optim.warmup_linear, steps, config.optim.warmup_fraction)
    frozen = tuple(sorted(initial.restored_rows.items())) if config.init.frozen else ()
    programs = classification.programs(
        classifier,  # pyright: ignore[reportArgumentType]
        config.lm_coef,
        config.regression,
        config.published.softmax_positions,
        settings,
        frozen,
    )
    return FinetuneModel(classifier, initial.params, programs, steps_per_epoch, steps)


def _fit(
    config: ConfigDict,
    run: lifecycle.OpenRun,
    data: FinetuneData,
    model: FinetuneModel,
    score_splits: Callable[..., Scores],
) -> Fitted:
    """Train the model; score it on the development splits after every epoch."""
    body, vocab_size = model.classifier.body, data.pretrained.tokenizer.vocab_size
    logits_flops = 2 * body.width * vocab_size if config.lm_coef != 0 else 0

    def flops(tokens, length):
        return 3 * tokens * (body.flops(length) + logits_flops)

    def score_epoch(_, params):
        return _flatten(score_splits(params, data.task.validation))

    return fit(
        config,
        run,
        params=model.params,
        training=model.programs.training,
        batch_at=functools.partial(
            finetune_data.training_batch,
            train=data.packed["train"],
            batch_size=config.batch_size,
            seed=config.seed,
            accumulate=config.optim.accumulate,
            pack_rows=config.pack_rows,
        ),
        flops=flops,
        evaluation=Evaluation(model.steps_per_epoch, score_epoch),
        meta={"tokenizer": data.pretrained.tokenizer.fingerprint},
    )


def _evaluate(
    run: lifecycle.OpenRun,
    fitted: Fitted,
    data: FinetuneData,
    score_splits: Callable[..., Scores],
) -> Scores:
    """Score the best checkpoint on every split but the training one; write its predictions."""
    params = devices.replicate(fitted.best_params)
    splits = [split for split in data.packed if split != "train"]
    scores = score_splits(params, splits, run.workdir / "predictions")
    for split, values in scores.items():
        formatted = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        run.log.line(f"{split} (step {fitted.best_step})  {formatted}")
    return scores


def _score_splits(
    data: FinetuneData,
    predict: Callable,
    regression: bool,
    batch_size: int,
    params: Mapping,
    splits: Iterable[str],
    folder: storage.Path | None = None,
) -> Scores:
    """Return split -> metric -> value for the splits that have labels.

    Args:
        predict: the compiled prediction program.
        params: the params, replicated on the devices.
        folder: the folder for the predictions on every split; None writes no predictions.
    """
    task, scores = data.task, {}
    for split in splits:
        answers, probabilities = classification.predict(
            predict, params, data.packed[split], task, regression, batch_size
        )
        examples = data.examples[split]
        if folder is not None and jax.process_index() == 0:
            path = folder / f"{split}.tsv"
            predictions.write(path, examples, answers, probabilities, task.labels)
        labels = [example.label for example in examples]
        if None not in labels:
            scores[split] = metrics.score(task.metrics, labels, answers)
    return scores


def _flatten(scores: Scores) -> tuple[dict[str, float], float]:
    """Return all scores as one row of the log, and the score that selects the best checkpoint.

    The best checkpoint is selected by the first metric of the paper on the first development split.
    """
    row = {}
    for split, values in scores.items():
        for name, value in values.items():
            row[f"{split}_{name}"] = value
    return row, next(iter(row.values()))
