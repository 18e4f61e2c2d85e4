"""Language model pretraining on books (section 3.1 of the paper)."""

import hashlib
import json
import math
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.datasets import corpora
from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import CORPORA, TRAINERS
from gpt1_jax.text import bpe
from gpt1_jax.trainers import settings
from gpt1_jax.trainers.fitting import Evaluation, fit, fresh_params
from gpt1_jax.training import batching, devices, loop, losses, optim, workdir


@TRAINERS.register("pretrain")
def pretrain(config: ConfigDict, path: str) -> dict:
    """Trains a language model on a corpus; `path` is the run's folder, and what comes back is also its result.json."""
    settings.check(config)
    with workdir.opened(path, config.to_dict()) as run:
        if run.result is not None:
            return run.result
        devices.check(config.batch_size, config.optim.accumulate)
        sizes = config.model.to_dict()
        body = settings.body(sizes.pop("name"), sizes)
        documents = CORPORA[config.data.corpus](config.data.path, config.data.column)
        tokenizer = _tokenizer(config, documents)
        tokenizer.save(run.workdir / "tokenizer.json")
        corpus = _prepare(config, documents, tokenizer)
        workdir.write_json(run.workdir / "data.json", corpus.about)
        for split, count in corpus.about["splits"].items():
            run.log.line(f"{split}: {count['documents']} documents, {count['characters']} characters, {count['tokens']} tokens")

        body = body(tokenizer.vocab_size, **sizes)
        model = LanguageModel(body)
        length = config.model.context
        windows = corpora.Windows(corpus.splits["train"], length)
        batching.updates_per_epoch(len(windows), config.batch_size, stride=length)
        rows = {"size": len(windows), "batch_size": config.batch_size, "seed": config.seed, "stride": length}

        def loss(params, batch, key):
            per_row = _row_losses(model, params, batch["tokens"], train=True, key=key)
            return per_row.mean(), {}

        evaluate = _evaluation(config, model, corpus)
        fitted = fit(
            config,
            run,
            params=fresh_params(model, config.seed, np.zeros((1, length), np.int32)),
            loss=loss,
            batch_at=lambda step: windows[batching.indices(step, **rows)],
            steps=config.steps,
            schedule=optim.warmup_cosine(config.steps, config.optim.warmup_steps / config.steps),
            flops=lambda tokens, length: 3 * tokens * (body.flops(length) + 2 * body.width * tokenizer.vocab_size),
            derive=lambda means: _readable(means["loss"], corpus.about["splits"]["train"]),
            evaluation=Evaluation(config.eval.every, lambda params: (evaluate(params), None)),
            meta={"tokenizer": tokenizer.fingerprint},
        )
        result = {
            "trainer": "pretrain",
            "steps": config.steps,
            "tokens": config.steps * config.batch_size * length,
            **evaluate(fitted.params),
            "params_sha256": loop.params_sha256(fitted.params),
        }
        run.log.line("  ".join(f"{name} {value}" for name, value in result.items()))
        return run.finish(result)


def _tokenizer(config: ConfigDict, documents: corpora.Documents) -> bpe.Tokenizer:
    """The tokenizer that the config names, else the one of this corpus: learnt once, then found in the cache."""
    if config.tokenizer.path:
        return bpe.load(pathlib.Path(config.tokenizer.path))
    made_from = json.dumps([documents.fingerprint, config.tokenizer.vocab_size, config.data.wrapped, bpe.VERSION])
    name = hashlib.sha256(made_from.encode()).hexdigest()[:20]
    cached = _cache(config) / "tokenizers" / f"{name}.json"
    if not cached.exists():
        tokenizer = bpe.train(lambda: corpora.texts(documents, config.data.wrapped), config.tokenizer.vocab_size)
        cached.parent.mkdir(exist_ok=True)
        tokenizer.save(cached)
    return bpe.load(cached)


def _prepare(config: ConfigDict, documents: corpora.Documents, tokenizer: bpe.Tokenizer) -> corpora.Tokens:
    return corpora.prepare(
        documents,
        tokenizer,
        wrapped=config.data.wrapped,
        validation=config.data.validation,
        cache=str(_cache(config)),
    )


def _cache(config: ConfigDict) -> pathlib.Path:
    folder = pathlib.Path(config.data.cache).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"config.data.cache: cannot make {folder} ({error.strerror}); choose another folder") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"config.data.cache: cannot write to {folder}; choose another folder")
    return folder


def _row_losses(model, params, tokens, *, train, key=None):
    """Nats a token of every row of `tokens` [B L+1], each token but the first predicted from those before it."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    rngs = {"dropout": key} if train else None
    hidden, table = model.apply({"params": params}, inputs, train=train, rngs=rngs)
    return losses.language_model(hidden, table, targets, jnp.ones(targets.shape))


def _evaluation(config: ConfigDict, model: LanguageModel, corpus: corpora.Tokens):
    """params -> loss, perplexity and bits per character over the first windows of the held-out documents."""
    length, batch_size = config.model.context, config.batch_size
    windows = corpora.Windows(corpus.splits["validation"], length)
    starts = np.arange(0, len(windows), length)[: config.eval.windows]
    step = devices.parallelise(
        lambda params, batch, _: devices.gather(_row_losses(model, params, batch["tokens"], train=False)),
        backend=config.backend,
    )

    def evaluate(params):
        if not len(starts):
            return {}
        total = 0.0
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            batch = batching.fill(windows[chosen], batch_size)
            total += float(np.sum(jax.device_get(step(params, devices.split(batch), np.int32(0)))[: len(chosen)]))
        loss = total / len(starts)
        readable = _readable(loss, corpus.about["splits"]["validation"])
        return {f"validation_{name}": value for name, value in {"loss": loss, **readable}.items()}

    return evaluate


def _readable(loss: float, count: dict[str, int]) -> dict[str, float]:
    """Nats a token as perplexity and, by the split's characters a token, as bits per character."""
    bits = loss / math.log(2) * count["tokens"] / count["characters"]
    return {"perplexity": math.exp(min(loss, 700.0)), "bits_per_character": bits}
