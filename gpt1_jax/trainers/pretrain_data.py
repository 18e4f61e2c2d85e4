"""Load a corpus for pretraining: its tokenizer, its token ids and its batches."""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gpt1_jax import inputs, storage
from gpt1_jax.datasets import corpora, files, sentences, tokenizer_cache, tokens
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.engine import order
from gpt1_jax.errors import UserError
from gpt1_jax.runs import lifecycle
from gpt1_jax.text import bpe, chunking


class TokenizedPart(NamedTuple):
    """Hold one part of a mixture, or the whole corpus.

    Attributes:
        name: the name in logs and results.
        weight: the share of the rows of a batch; the weights of all parts sum to 1.
        train, validation: the windows of config.model.context tokens in each split.
    """

    name: str
    weight: float
    train: tokens.Windows
    validation: tokens.Windows


class PretrainData(NamedTuple):
    """Hold the tokenizer and the tokenized corpus.

    Attributes:
        tokenizer: the tokenizer.
        parts: the parts of the corpus.
        characters_per_token: split -> the mean over the parts, by weight.
    """

    tokenizer: bpe.Tokenizer
    parts: list[TokenizedPart]
    characters_per_token: dict[str, float]


class Corpus(NamedTuple):
    """Hold a corpus that is not tokenized yet.

    Attributes:
        parts: the parts of a mixture, or the only part.
        tokenizer: the tokenizer.
        fingerprints: those of the parts and of the tokenizer, for data.json.
    """

    parts: tuple[corpora.Part, ...]
    tokenizer: bpe.Tokenizer
    fingerprints: dict[str, Any]


def open_corpus(config: ConfigDict, run: lifecycle.OpenRun) -> Corpus:
    """Open config.data and the tokenizer, and compare them with data.json; errors as for `load`."""
    cache = _cache_folder(config.data.cache)
    parts = corpora.parts(config.data.corpus, config.data.path, config.data.column)
    tokenizer = _find_tokenizer(config, parts, cache / "tokenizers", run.log.line)
    fingerprints: dict[str, Any] = {part.name: part.documents.fingerprint for part in parts}
    if len(parts) > 1:
        fingerprints["mixture"] = [[part.name, part.weight] for part in parts]
    fingerprints["tokenizer"] = tokenizer.fingerprint
    lifecycle.check_data(run.workdir, fingerprints)
    return Corpus(parts, tokenizer, fingerprints)


def load(config: ConfigDict, run: lifecycle.OpenRun) -> PretrainData:
    """Read config.data and tokenize it; write data.json and tokenizer.json.

    Raises:
        UserError: the corpus, the tokenizer or the cache cannot be used, or the data changed since
            the run began.
    """
    parts, tokenizer, fingerprints = open_corpus(config, run)
    tokenizer.save(run.new_path("tokenizer.json"))

    length, tokenized, records = config.model.context, [], {}
    characters_per_token = {"train": 0.0, "validation": 0.0}
    for part in parts:
        corpus = tokens.prepare(
            part.documents,
            tokenizer,
            rewrap_lines=config.data.rewrap_lines,
            validation=config.data.validation,
            cache=str(_cache_folder(config.data.cache)),
            log_line=run.log.line,
        )
        prefix = f"{part.name}, " if len(parts) > 1 else ""
        for line in _summary(corpus, part.documents, length):
            run.log.line(prefix + line)
        records[part.name] = {**corpus.about, "left_out": dict(part.documents.left_out)}
        splits = dict(corpus.splits)
        if config.data.shuffle_sentences:  # not the held-out text, whose loss stays comparable
            splits["train"] = sentences.shuffle(splits["train"], sentences.ends(tokenizer))
            run.log.line(f"{prefix}the sentences of train are shuffled")
        windows = {split: tokens.Windows(ids, length) for split, ids in splits.items()}
        tokenized.append(TokenizedPart(part.name, part.weight, **windows))
        for split, count in corpus.about["splits"].items():
            characters_per_token[split] += (
                part.weight * count["characters"] / max(count["tokens"], 1)
            )
    about = records[tokenized[0].name]
    if len(parts) > 1:
        about = {
            "parts": {part.name: {"weight": part.weight, **records[part.name]} for part in parts}
        }
    storage.write_json(run.new_path("data.json"), {**about, "fingerprints": fingerprints})
    return PretrainData(tokenizer, tokenized, characters_per_token)


def _cache_folder(path: str) -> pathlib.Path:
    """Make the folder config.data.cache if it is missing, and return it.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    folder = inputs.local_path("config.data.cache", path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"config.data.cache: cannot make {folder} ({error.strerror}); choose another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"config.data.cache: cannot write to {folder}; choose another folder")
    return folder


def _find_tokenizer(
    config: ConfigDict,
    parts: Sequence[corpora.Part],
    folder: pathlib.Path,
    log_line: Callable[[str], None],
) -> bpe.Tokenizer:
    """Load the tokenizer config.tokenizer.path; without a path, learn one from all parts.

    A learned tokenizer is stored in `folder` and loaded from there the next time.

    Raises:
        UserError: the file is not a tokenizer, or does not fit config.published.backslash_in_word.
    """
    backslash_in_word = config.published.backslash_in_word
    if config.tokenizer.path:
        tokenizer = bpe.load(inputs.path("config.tokenizer.path", config.tokenizer.path))
        if tokenizer.backslash_in_word != backslash_in_word:
            raise UserError(
                f"config.published.backslash_in_word: is {backslash_in_word}, but "
                f"{tokenizer.backslash_in_word} in the tokenizer {config.tokenizer.path}; set the "
                "same value, or leave config.tokenizer.path empty to learn a tokenizer"
            )
        return tokenizer

    vocab_size, rewrap_lines = config.tokenizer.vocab_size, config.data.rewrap_lines
    sources = [part.documents.fingerprint for part in parts]
    sources += [vocab_size, rewrap_lines, bpe.VERSION]
    if not backslash_in_word:
        sources.append("separate")
    name = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:20]
    path = folder / f"{name}.json"

    def texts() -> Iterator[str]:
        for part in parts:
            yield from tokens.texts(part.documents, rewrap_lines)

    def learn() -> bpe.Tokenizer:
        return bpe.train(texts, vocab_size, backslash_in_word=backslash_in_word)

    return tokenizer_cache.load_or_learn(path, learn, log_line)


def _summary(corpus: tokens.TokenizedCorpus, documents: Documents, context: int) -> list[str]:
    """Return the log lines of a tokenized corpus."""
    left_out = {**documents.left_out, "documents without text": corpus.about["blank_documents"]}
    lines = [f"left out: {files.describe(left_out)}"] if any(left_out.values()) else []
    if corpus.about["word_cuts"]:
        lines.append(
            f"words of more than {chunking.WORD_LIMIT} characters were cut "
            f"{corpus.about['word_cuts']} times"
        )
    for split, count in corpus.about["splits"].items():
        lines.append(
            f"{split}: {count['documents']} documents, {count['characters']} characters, "
            f"{count['tokens']} tokens"
        )
    if 0 < len(corpus.splits["validation"]) <= context:
        lines.append(
            f"held-out text is shorter than a window of {context} tokens: there will be no "
            "validation loss"
        )
    speed = corpus.about["pass"]
    lines.append(
        f"tokenized: {speed['megabytes']:.1f} MB in {speed['seconds']:.1f} s, "
        f"{speed['megabytes_per_second']:.2f} MB/s"
    )
    return lines


def training_batches(
    parts: Sequence[TokenizedPart], length: int, batch_size: int, seed: int
) -> Callable[[int], dict[str, np.ndarray]]:
    """Return the function step -> global batch, {"tokens": [B length+1]}.

    In a mixture, every part gives rows in proportion to its weight.

    Raises:
        UserError: a part is too short, or its weight too small.
    """
    options = {"batch_size": batch_size, "seed": seed, "stride": length}
    if len(parts) == 1:
        windows = parts[0].train
        order.updates_per_epoch(len(windows), batch_size, stride=length)
        return functools.partial(_corpus_batch, windows=windows, **options)
    for part in parts:
        if len(part.train) < length:
            raise UserError(
                f"config.data.path: the training part {part.name} is shorter than a window of "
                f"{length} tokens; give it more text"
            )
    batch_at = functools.partial(_mixture_batch, parts=parts, **options)
    batch_at(0)  # raises the error for a small weight before training starts
    return batch_at


def _corpus_batch(step: int, windows: tokens.Windows, **options: int) -> dict[str, np.ndarray]:
    """Return the global batch of `step` from the only part."""
    return windows[order.indices(step, size=len(windows), **options)]


def _mixture_batch(
    step: int, parts: Sequence[TokenizedPart], **options: int
) -> dict[str, np.ndarray]:
    """Return the global batch of `step` from all parts."""
    sizes = tuple(len(part.train) for part in parts)
    weights = tuple(part.weight for part in parts)
    numbers, starts = order.mixture_indices(step, sizes=sizes, weights=weights, **options)
    rows = []
    for number, start in zip(numbers, starts, strict=True):
        rows.append(parts[number].train[[start]]["tokens"])
    return {"tokens": np.concatenate(rows)}
