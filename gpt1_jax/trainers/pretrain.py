"""Pretrain a language model on books (section 3.1 of the paper)."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.datasets.tokens import Windows
from gpt1_jax.engine import devices, fingerprint, packing
from gpt1_jax.models import factory, sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TRAINERS
from gpt1_jax.runs import lifecycle
from gpt1_jax.text import bpe
from gpt1_jax.trainers import config_checks, pretrain_data, rehearsed_steps
from gpt1_jax.trainers.finishing import finish
from gpt1_jax.trainers.fit import Evaluation, Fitted, Training, fit, training
from gpt1_jax.trainers.language_model import objective, row_losses
from gpt1_jax.trainers.pretrain_data import PretrainData
from gpt1_jax.trainers.rehearsal_report import rehearse

Evaluate = Callable[[Mapping], dict[str, float]]  # params -> metrics of the held-out documents


class PretrainModel(NamedTuple):
    """Hold the model, its initial params and its compiled training step."""

    language_model: LanguageModel
    params: Mapping
    training: Training


@TRAINERS.register("pretrain")
def pretrain(config: ConfigDict, path: str) -> dict:
    """Train a language model on a corpus in the run folder `path`; return its result.json."""
    config_checks.check(config)
    if config.compile_for:
        return rehearse(config, rehearsed_steps.pretraining)
    with lifecycle.open_run(path, config.to_dict(), config.log.tracker) as run:
        if run.result is not None:
            if run.has_moved:
                pretrain_data.open_corpus(config, run)
            return run.result
        begin = time.time()
        config_checks.check_batch_size(config.batch_size, config.optim.accumulate)
        sizes = config.model.to_dict()
        # Before the tokenizer is learned, which takes long.
        factory.check_sizes(sizes.pop("name"), sizes)
        data = pretrain_data.load(config, run)
        model = _build(config, data.tokenizer.vocab_size)
        evaluate = _make_evaluate(config, data, model.language_model)
        fitted = _fit(config, run, data, model, evaluate)
        result = {
            "trainer": "pretrain",
            "steps": config.steps,
            "tokens": config.steps * config.batch_size * config.model.context,
            **evaluate(fitted.params),
            "params_sha256": fingerprint.params_sha256(fitted.params),
            "seconds": round(time.time() - begin, 1),
            "device": devices.device_summary(),
        }
        run.log.line("  ".join(f"{name} {value}" for name, value in result.items()))
        return finish(config, run, result)


def _build(config: ConfigDict, vocab_size: int) -> PretrainModel:
    """Build the language model, draw its params and compile its training step."""
    model, loss, settings = objective(config, config.model.to_dict(), vocab_size)
    params = factory.init_params(model, config.seed, np.zeros((1, config.model.context), np.int32))
    return PretrainModel(model, params, training(loss, settings))


def _fit(
    config: ConfigDict,
    run: lifecycle.OpenRun,
    data: PretrainData,
    model: PretrainModel,
    evaluate: Evaluate,
) -> Fitted:
    """Train the model. Every config.eval.every steps, evaluate it and generate a sample."""
    body, tokenizer = model.language_model.body, data.tokenizer
    batch_at = pretrain_data.training_batches(
        data.parts, config.model.context, config.batch_size, config.seed
    )

    def flops(tokens, length):
        return 3 * tokens * (body.flops(length) + 2 * body.width * tokenizer.vocab_size)

    def derive(means):
        return _loss_metrics(means["loss"], data.characters_per_token["train"])

    def evaluate_step(step, params):
        if config.eval.sample:
            run.log.sample(step, _sample(config, model.language_model, tokenizer, params))
        return evaluate(params), None

    return fit(
        config,
        run,
        params=model.params,
        training=model.training,
        batch_at=batch_at,
        flops=flops,
        derive=derive,
        evaluation=Evaluation(config.eval.every, evaluate_step),
        meta={"tokenizer": tokenizer.fingerprint},
        keep_steps=config.checkpoint.keep_steps,
    )


def _make_evaluate(config: ConfigDict, data: PretrainData, model: LanguageModel) -> Evaluate:
    """Return the function that evaluates params on the first windows of the held-out documents.

    The function returns {} if a part has no held-out window. In a mixture, the loss is the mean
    over the parts, by weight, and the loss of each part is returned too.
    """
    batch_size, softmax_positions = config.batch_size, config.published.softmax_positions

    def step(params, batch, _):
        tokens = batch["tokens"]
        losses = row_losses(model, params, tokens, softmax_positions=softmax_positions)
        return devices.gather(losses)

    mean_loss = functools.partial(
        _mean_loss, devices.parallelize(step, backend=config.backend), batch_size
    )
    windows = [part.validation for part in data.parts]
    starts = [
        np.arange(0, len(part), config.model.context)[: config.eval.windows] for part in windows
    ]

    def evaluate(params):
        if not all(map(len, starts)):
            return {}
        losses = [mean_loss(params, *part) for part in zip(windows, starts, strict=True)]
        loss = sum(part.weight * value for part, value in zip(data.parts, losses, strict=True))
        values = {"loss": loss, **_loss_metrics(loss, data.characters_per_token["validation"])}
        if len(losses) > 1:
            for part, part_loss in zip(data.parts, losses, strict=True):
                values[f"loss_{part.name}"] = part_loss
        return {f"validation_{name}": value for name, value in values.items()}

    return evaluate


def _mean_loss(
    step: Callable, batch_size: int, params: Mapping, windows: Windows, starts: np.ndarray
) -> float:
    """Return the mean loss over the windows at `starts`, in nats per token."""
    total = 0.0
    for first in range(0, len(starts), batch_size):
        batch_starts = starts[first : first + batch_size]
        batch = packing.pad_batch(windows[batch_starts], batch_size)
        losses = jax.device_get(step(params, devices.split(batch), np.int32(0)))
        total += float(np.sum(losses[: len(batch_starts)]))
    return total / len(starts)


def _sample(
    config: ConfigDict, model: LanguageModel, tokenizer: bpe.Tokenizer, params: Mapping
) -> str:
    """Return a text of config.eval.sample tokens that the model generates after a newline.

    Every step uses the same random key.
    """
    # An imported tokenizer may have no newline; 0 is the unknown token.
    prompts = [[tokenizer.newline or 0]]
    keys = jax.random.key(config.seed)[None]
    tokens = sampling.generate(
        model, jax.device_get(params), prompts, config.eval.sample, keys, sampling.SamplingParams()
    )
    return " ".join(tokenizer.decode(np.concatenate(list(tokens))).split())


def _loss_metrics(loss: float, characters_per_token: float) -> dict[str, float]:
    """Return the perplexity and the bits per character of a loss in nats per token."""
    return {
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_character": loss / math.log(2) / characters_per_token,
    }
