"""Language model pretraining on books (section 3.1 of the paper)."""

import hashlib
import itertools
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.datasets import corpora, tokens
from gpt1_jax.engine import devices, fingerprint, optim, order, packing
from gpt1_jax.errors import UserError
from gpt1_jax.models import sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TRAINERS
from gpt1_jax.runs import lifecycle
from gpt1_jax.text import bpe
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.fit import Evaluation, fit, fresh_params, row_losses, training
from gpt1_jax.trainers.optim_config import optim_config


@TRAINERS.register("pretrain")
def pretrain(config: ConfigDict, path: str) -> dict:
    """Trains a language model on a corpus; `path` is the run's folder, and what comes back is also its result.json."""
    config_checks.check(config)
    with lifecycle.open_run(path, config.to_dict()) as run:
        if run.result is not None:
            return run.result
        begin = time.time()
        devices.check_batch_size(config.batch_size, config.optim.accumulate)
        sizes = config.model.to_dict()
        body = config_checks.body(sizes.pop("name"), sizes)
        parts = corpora.parts(config.data.corpus, config.data.path, config.data.column)
        tokenizer = _tokenizer(config, parts)
        fingerprints = {part.name: part.documents.fingerprint for part in parts} | {
            "tokenizer": tokenizer.fingerprint
        }
        lifecycle.check_data(run.workdir, fingerprints)
        tokenizer.save(run.workdir / "tokenizer.json")
        prepared, about = _prepare(config, run, parts, tokenizer)
        storage.write_json(run.workdir / "data.json", {**about, "fingerprints": fingerprints})

        body = body(tokenizer.vocab_size, **sizes, table_dropout=config.published.table_dropout)
        model = LanguageModel(body)
        length = config.model.context
        density = _density(parts, prepared, "train")

        def loss(params, batch, key):
            per_row = row_losses(
                model,
                params,
                batch["tokens"],
                train=True,
                key=key,
                positions=config.published.softmax_positions,
            )
            return per_row.mean(), {}

        evaluate = _evaluation(config, model, parts, prepared)

        def milestone(number, params):
            if config.eval.sample:
                _sample(config, run, model, tokenizer, number, params)
            return evaluate(params), None

        fitted = fit(
            config,
            run,
            params=fresh_params(model, config.seed, np.zeros((1, length), np.int32)),
            training=training(
                loss,
                optim_config(
                    config,
                    optim.warmup_cosine,
                    config.steps,
                    config.optim.warmup_steps / config.steps,
                ),
            ),
            batch_at=_batches(config, parts, prepared),
            flops=lambda tokens, length: (
                3 * tokens * (body.flops(length) + 2 * body.width * tokenizer.vocab_size)
            ),
            derive=lambda means: _readable(means["loss"], density),
            evaluation=Evaluation(config.eval.every, milestone),
            meta={"tokenizer": tokenizer.fingerprint},
            keep_steps=config.checkpoint.keep_steps,
        )
        result = {
            "trainer": "pretrain",
            "steps": config.steps,
            "tokens": config.steps * config.batch_size * length,
            **evaluate(fitted.params),
            "params_sha256": fingerprint.params_sha256(fitted.params),
            "seconds": round(time.time() - begin, 1),
            "device": devices.device_summary(),
        }
        run.log.line("  ".join(f"{name} {value}" for name, value in result.items()))
        return run.finish(result)


def _tokenizer(config: ConfigDict, parts: Sequence[corpora.Part]) -> bpe.Tokenizer:
    """The tokenizer that the config names, else the one of this corpus, all its parts: learnt once, then found in the cache."""
    backslash_in_word = config.published.backslash_in_word
    if config.tokenizer.path:
        given = bpe.load(pathlib.Path(config.tokenizer.path))
        if given.backslash_in_word != backslash_in_word:
            raise UserError(
                f"config.published.backslash_in_word: is {backslash_in_word}, but {given.backslash_in_word} in the tokenizer "
                f"{config.tokenizer.path}; give the same, or learn one by leaving config.tokenizer.path empty"
            )
        return given
    fingerprints = [part.documents.fingerprint for part in parts]
    made_from = [
        *fingerprints,
        config.tokenizer.vocab_size,
        config.data.rewrap_lines,
        bpe.VERSION,
        *["separate"] * (not backslash_in_word),
    ]
    name = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:20]
    cached = _cache(config) / "tokenizers" / f"{name}.json"
    if not cached.exists():
        texts = lambda: itertools.chain.from_iterable(
            tokens.texts(part.documents, config.data.rewrap_lines) for part in parts
        )
        tokenizer = bpe.train(
            texts, config.tokenizer.vocab_size, backslash_in_word=backslash_in_word
        )
        cached.parent.mkdir(exist_ok=True)
        tokenizer.save(cached)
    return bpe.load(cached)


def _prepare(
    config: ConfigDict,
    run: lifecycle.OpenRun,
    parts: Sequence[corpora.Part],
    tokenizer: bpe.Tokenizer,
) -> tuple[list[tokens.TokenizedCorpus], dict]:
    """The tokens of every part, and what they are, which goes to the log, too."""
    kept = dict(
        rewrap_lines=config.data.rewrap_lines,
        validation=config.data.validation,
        cache=str(_cache(config)),
    )
    prepared, about = [], {}
    for part in parts:
        corpus = tokens.prepare(part.documents, tokenizer, **kept)
        prepared.append(corpus)
        about[part.name] = {"weight": part.weight, **corpus.about}
        mark = f"{part.name}, " if len(parts) > 1 else ""
        for split, count in corpus.about["splits"].items():
            run.log.line(
                f"{mark}{split}: {count['documents']} documents, {count['characters']} characters, {count['tokens']} tokens"
            )
        if 0 < len(corpus.splits["validation"]) <= config.model.context:
            run.log.line(
                f"{mark}held-out text is shorter than a window of {config.model.context} tokens: there will be no validation loss"
            )
        speed = corpus.about["pass"]
        run.log.line(
            f"{mark}tokenised: {speed['megabytes']:.1f} MB in {speed['seconds']:.1f} s, {speed['megabytes_per_second']:.2f} MB/s"
        )
    return prepared, {"parts": about} if len(parts) > 1 else prepared[0].about


def _batches(
    config: ConfigDict, parts: Sequence[corpora.Part], prepared: Sequence[tokens.TokenizedCorpus]
):
    """step -> the batch of windows of training documents; of a mixture, rows in proportion to its weights."""
    length, batch_size = config.model.context, config.batch_size
    windows = [tokens.Windows(corpus.splits["train"], length) for corpus in prepared]
    rows = {"batch_size": batch_size, "seed": config.seed, "stride": length}
    if len(parts) == 1:
        order.updates_per_epoch(len(windows[0]), batch_size, stride=length)
        return lambda step: windows[0][order.indices(step, size=len(windows[0]), **rows)]
    for part, its in zip(parts, windows, strict=True):
        if len(its) < length:
            raise UserError(
                f"config.data.path: the training part {part.name} is shorter than a window of {length} tokens; give it more text"
            )
    mixture = {"sizes": tuple(map(len, windows)), "weights": tuple(part.weight for part in parts)}

    def batch_at(step):
        chosen = zip(*order.mixture_indices(step, **mixture, **rows), strict=True)
        return {
            "tokens": np.concatenate([windows[part][[start]]["tokens"] for part, start in chosen])
        }

    batch_at(0)  # tells of a weight that is too small before anything is trained
    return batch_at


def _cache(config: ConfigDict) -> pathlib.Path:
    folder = pathlib.Path(config.data.cache).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"config.data.cache: cannot make {folder} ({error.strerror}); choose another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"config.data.cache: cannot write to {folder}; choose another folder")
    return folder


def _evaluation(
    config: ConfigDict,
    model: LanguageModel,
    parts: Sequence[corpora.Part],
    prepared: Sequence[tokens.TokenizedCorpus],
):
    """params -> loss, perplexity and bits per character over the first windows of the held-out documents, by weight.

    Of a mixture, the loss of each part too.
    """
    length, batch_size, positions = (
        config.model.context,
        config.batch_size,
        config.published.softmax_positions,
    )
    step = devices.parallelise(
        lambda params, batch, _: devices.gather(
            row_losses(model, params, batch["tokens"], train=False, positions=positions)
        ),
        backend=config.backend,
    )

    def mean(params, windows, starts):
        total = 0.0
        for first in range(0, len(starts), batch_size):
            chosen = starts[first : first + batch_size]
            batch = packing.pad_batch(windows[chosen], batch_size)
            total += float(
                np.sum(
                    jax.device_get(step(params, devices.split(batch), np.int32(0)))[: len(chosen)]
                )
            )
        return total / len(starts)

    held_out = [tokens.Windows(corpus.splits["validation"], length) for corpus in prepared]
    starts = [np.arange(0, len(windows), length)[: config.eval.windows] for windows in held_out]

    def evaluate(params):
        if not all(map(len, starts)):
            return {}
        by_part = [mean(params, *chosen) for chosen in zip(held_out, starts, strict=True)]
        loss = sum(part.weight * own for part, own in zip(parts, by_part, strict=True))
        values = {"loss": loss, **_readable(loss, _density(parts, prepared, "validation"))}
        if len(parts) > 1:
            values |= {f"loss_{part.name}": own for part, own in zip(parts, by_part, strict=True)}
        return {f"validation_{name}": value for name, value in values.items()}

    return evaluate


def _sample(
    config: ConfigDict,
    run: lifecycle.OpenRun,
    model: LanguageModel,
    tokenizer: bpe.Tokenizer,
    number: int,
    params: Mapping,
) -> None:
    """Lets the model write config.eval.sample tokens after a newline, the same draws at every update, for the log and samples.jsonl."""
    start = [[tokenizer.newline or 0]]  # 0, unknown, where a tokenizer from elsewhere has none
    keys = jax.random.key(config.seed)[None]
    drawn = sampling.generate(
        model, jax.device_get(params), start, config.eval.sample, keys, sampling.SamplingParams()
    )
    text = " ".join(tokenizer.decode(np.concatenate(list(drawn))).split())
    run.log.sample(number, text)


def _density(
    parts: Sequence[corpora.Part], prepared: Sequence[tokens.TokenizedCorpus], split: str
) -> float:
    """Characters a token, of the parts by weight."""
    counts = [corpus.about["splits"][split] for corpus in prepared]
    return sum(
        part.weight * count["characters"] / max(count["tokens"], 1)
        for part, count in zip(parts, counts, strict=True)
    )


def _readable(loss: float, density: float) -> dict[str, float]:
    """Nats a token as perplexity and, at `density` characters a token, as bits per character."""
    return {
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_character": loss / math.log(2) / density,
    }
