"""Tokenize a corpus in one streaming pass that can continue after an interruption."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gpt1_jax.datasets import checked_files
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.progress import bar
from gpt1_jax.text import bpe, chunking

PIECE = 1 << 14  # characters that one thread encodes at a time
BATCH = 1 << 21  # characters between two records of the progress; three batches are in memory
WORKERS = 2  # one batch is encoded while the ids of the previous one are copied
SPLITS = ("train", "validation")


def tokenize(
    folder: pathlib.Path,
    documents: Documents,
    tokenizer: bpe.Tokenizer,
    rewrap_lines: bool,
    validation: float,
    log_line: Callable[[str], None],
) -> dict[str, Any]:
    """Write the token ids of every split to `folder`, starting from the progress recorded there.

    A damaged record, or files that are not the recorded ones, are reported with `log_line` and
    start a new pass.

    Returns:
        splits: the counts of each split.
        blank_documents: the number of documents without text, which are dropped.
        word_cuts: the number of cuts in words of more than `chunking.WORD_LIMIT` characters.
        pass: the speed.
        files: the size in bytes and the CRC-32 of the file of each split.

    Raises:
        OSError: a file cannot be read or written.
        UserError: a split is empty, or see the corpus.
    """
    counts, progress = new_counts(), _read_progress(folder, log_line)
    dtype = np.dtype(token_dtype(tokenizer.vocab_size))
    begin = time.monotonic() - progress["seconds"]
    batches = _batches(split_texts(documents, rewrap_lines, validation, counts))
    remaining = itertools.islice(batches, progress["batches"], None)

    def encode(batch: list[tuple[str, str]]) -> list[list[int]]:
        return tokenizer.encode([text for _, text in batch])

    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / f"{name}.bin", "ab")) for name in SPLITS}
        records = progress["files"]
        for name, file in files.items():  # bytes after the recorded ones may be damaged
            file.seek(file.truncate(records[name]["bytes"]))
        advance = stack.enter_context(bar("tokenizing (MB)"))
        for batch, encoded in _map_ahead(encode, remaining):
            for (name, text), ids in zip(batch, encoded, strict=True):
                if chunking.ends_line(text):
                    ids.append(tokenizer.newline)
                content = np.array(ids, dtype).tobytes()
                files[name].write(content)
                records[name]["crc32"] = zlib.crc32(content, records[name]["crc32"])
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            progress["batches"] += 1
            for name, file in files.items():
                records[name]["bytes"] = file.tell()
            progress["seconds"] = time.monotonic() - begin
            checked_files.write_json(folder / "progress.json", progress)
            characters = sum(count["characters"] for count in counts.values())
            advance(characters >> 20, documents.size >> 20)
    for name, count in counts.items():
        count["tokens"] = progress["files"][name]["bytes"] // dtype.itemsize
    _check_splits(counts, validation)
    return {**_summarize(counts, progress["seconds"]), "files": progress["files"]}


def new_counts() -> dict[str, dict[str, int]]:
    """Return the counts of every split, all 0."""
    return {
        name: dict(documents=0, characters=0, tokens=0, bytes=0, blank=0, word_cuts=0)
        for name in SPLITS
    }


def token_dtype(vocab_size: int) -> type:
    """Return the smallest type that holds the ids."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def split_texts(
    documents: Documents, rewrap_lines: bool, validation: float, counts: dict[str, dict[str, int]]
) -> Iterator[tuple[str, str]]:
    """Yield (split, text) for texts of about `PIECE` characters; add them to `counts`.

    Long documents are cut and short ones of a split are joined, with a newline after each document.
    A blank document is dropped and counted.
    """
    pending, lengths = {name: [] for name in SPLITS}, dict.fromkeys(SPLITS, 0)
    index = 0
    for chunks in documents.read():
        name = "validation" if _is_held_out(index, validation) else "train"
        blank = True
        chunks = chunking.limit_words(chunks, functools.partial(_count_cuts, counts[name]))
        for piece in chunking.cut(chunking.reflow(chunks) if rewrap_lines else chunks, PIECE):
            blank = False
            pending[name].append(piece)
            lengths[name] += len(piece)
            counts[name]["characters"] += len(piece)
            counts[name]["bytes"] += len(piece.encode())
            if lengths[name] >= PIECE:
                yield name, "".join(pending[name])
                pending[name], lengths[name] = [], 0
        counts[name]["blank" if blank else "documents"] += 1
        index += not blank
    for name, pieces in pending.items():
        if pieces:
            yield name, "".join(pieces)


def _count_cuts(count: dict[str, int], cuts: int) -> None:
    """Count the spaces that cut long words; they do not count as characters of the text."""
    count["word_cuts"] += cuts
    count["characters"] -= cuts
    count["bytes"] -= cuts


def _is_held_out(index: int, validation: float) -> bool:
    if index == 0:
        return validation > 0
    return int(index * validation) != int((index - 1) * validation)


def _batches(texts: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch, characters = [], 0
    for name, text in texts:
        batch.append((name, text))
        characters += len(text)
        if characters >= BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _map_ahead(function: Callable, items: Iterable) -> Iterator[tuple]:
    """Yield (item, function(item)) in order; threads process the next items meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        pending = collections.deque()
        for item in items:
            pending.append((item, pool.submit(function, item)))
            if len(pending) > WORKERS:
                first, future = pending.popleft()
                yield first, future.result()
        for first, future in pending:
            yield first, future.result()


def _read_progress(folder: pathlib.Path, log_line: Callable[[str], None]) -> dict[str, Any]:
    """Return the recorded progress: batches, size and CRC-32 of every file, seconds.

    Return the progress of a new pass if there is no record, if the record or a file is damaged, or
    if the sizes of pieces and batches have changed.
    """
    sizes, record = {"piece": PIECE, "batch": BATCH}, folder / "progress.json"
    if record.exists():
        try:
            progress = checked_files.read_json(record)
            if {name: progress[name] for name in sizes} == sizes:
                for name, file in progress["files"].items():
                    path = folder / f"{name}.bin"
                    checked_files.verify(path, file["bytes"], file["crc32"], or_longer=True)
                return progress
        except ValueError as reason:
            log_line(f"{folder}: {reason}; the corpus is tokenized from its beginning")
    files = {name: {"bytes": 0, "crc32": 0} for name in SPLITS}
    return {**sizes, "batches": 0, "files": files, "seconds": 0.0}


def _check_splits(counts: dict[str, dict[str, int]], validation: float) -> None:
    if counts["train"]["tokens"] and (counts["validation"]["tokens"] or not validation > 0):
        return
    total = sum(count["documents"] for count in counts.values())
    raise UserError(
        f"config.data.validation: {total} documents cannot be split into training and validation "
        "documents; give more documents (files, or rows), or set it to 0 for no validation"
    )


def _summarize(counts: dict[str, dict[str, int]], seconds: float) -> dict[str, Any]:
    blank = sum(count.pop("blank") for count in counts.values())
    word_cuts = sum(count.pop("word_cuts") for count in counts.values())
    megabytes = sum(count.pop("bytes") for count in counts.values()) / 1e6
    speed = {
        "megabytes": megabytes,
        "seconds": seconds,
        "megabytes_per_second": megabytes / max(seconds, 1e-9),
    }
    return {
        "splits": counts,
        "blank_documents": blank,
        "word_cuts": word_cuts,
        "pass": speed,
    }
