"""Documents -> a memory-mapped row of token ids: one pass over a corpus, that streams, goes on where it was cut off, and is done once."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import rich.console
from jaxtyping import Int

from gpt1_jax import storage
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.progress import bar
from gpt1_jax.text import bpe, chunking

VERSION = 2  # goes up when the same texts would give another file
PIECE = 1 << 14  # characters tokenised as one unit of parallel work
BATCH = 1 << 21  # characters between two records of the progress; three of them are in memory
WORKERS = 2  # one batch is encoded while the ids of the one before are copied
SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class TokenizedCorpus:
    """A tokenised corpus.

    Attributes:
        splits: "train" and "validation" -> the ids of the documents, one after the other, a newline after each; memory-mapped.
        about: "splits", the documents, characters and tokens of each; "pass", the megabytes of text (UTF-8), the seconds they took,
            over all starts, and the quotient; and what the tokens were made from.
    """

    splits: dict[str, Int[np.ndarray, "N"]]
    about: dict


def texts(documents: Documents, rewrap_lines: bool) -> Iterator[str]:
    """All the text of a corpus in pieces, as the pass reads it; re-flowed where it is `rewrap_lines` hard."""
    return (piece for _, piece in _pieces(documents, rewrap_lines, 0.0, _nothing()))


def prepare(
    documents: Documents,
    tokenizer: bpe.Tokenizer,
    *,
    rewrap_lines: bool,
    validation: float,
    cache: str,
) -> TokenizedCorpus:
    """Tokenises a corpus into `cache`, or finds it there: same texts, tokenizer and settings, same file.

    A pass that was cut off, however, goes on at the next call; the files are those of an undisturbed one. A second process that wants
    the same waits for the first.

    Args:
        rewrap_lines: re-flow hard-wrapped documents first.
        validation: the share of documents held out: the first and then every 1/validation-th.

    Raises:
        UserError: a split stays empty, or the cache cannot be written.
    """
    made_from = {
        "corpus": documents.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "rewrap_lines": rewrap_lines,
        "validation": validation,
        "version": VERSION,
    }
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:20]
    folder = pathlib.Path(cache).expanduser() / "tokens" / key
    try:
        if not folder.exists():
            _make(
                folder,
                made_from,
                lambda partial: _write(partial, documents, tokenizer, rewrap_lines, validation),
            )
    except OSError as error:
        if error.filename and not str(error.filename).startswith(str(folder.parents[1])):
            raise UserError(
                f"{error.filename}: cannot be read ({error.strerror or error}); check the file and its rights"
            ) from None
        why = error.strerror or error
        raise UserError(
            f"config.data.cache: cannot write to {folder.parent} ({why}); make room and go on, or choose another"
        ) from None
    about = storage.read_json(folder / "about.json")
    dtype = _integer(tokenizer.vocab_size)
    splits = {
        name: np.memmap(folder / f"{name}.bin", dtype, mode="r")
        if count["tokens"]
        else np.zeros(0, dtype)
        for name, count in about["splits"].items()
    }
    return TokenizedCorpus(splits, about)


def _make(folder: pathlib.Path, made_from: dict, write: Callable[[pathlib.Path], dict]) -> None:
    """Makes `folder` by `write`, in a folder beside it that one process owns and the next start finds again."""
    partial = folder.with_name(f"{folder.name}.partial")

    def tell():
        console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"another process is at work in {partial}: waiting for it")

    with storage.lock(folder.parents[1] / "locks" / folder.name, wait=True, on_wait=tell):
        if folder.exists():  # another process was first
            return
        partial.mkdir(parents=True, exist_ok=True)
        try:
            about = write(partial)
        except (
            UserError
        ):  # the next start would meet it again, and once it is corrected the corpus is another
            shutil.rmtree(partial)
            raise
        storage.write_json(partial / "about.json", {**made_from, **about})
        (partial / "progress.json").unlink()
        partial.rename(folder)


def _write(folder, documents, tokenizer, rewrap_lines, validation) -> dict[str, dict]:
    """Writes the splits, from where the progress stands that is recorded in `folder`; gives counts and speed."""
    counts, progress = _nothing(), _progress(folder)
    dtype, begin = np.dtype(_integer(tokenizer.vocab_size)), time.monotonic() - progress["seconds"]

    def encode(batch):
        return tokenizer.encode([text for _, text in batch])

    with contextlib.ExitStack() as closing:
        files = {name: closing.enter_context(open(folder / f"{name}.bin", "ab")) for name in SPLITS}
        for name, file in files.items():
            file.seek(
                file.truncate(progress["bytes"][name])
            )  # what came after the record may be torn
        advance = closing.enter_context(bar("tokenising (MB)"))
        batches = _batches(_pieces(documents, rewrap_lines, validation, counts))
        for batch, encoded in _ahead(encode, itertools.islice(batches, progress["batches"], None)):
            for (name, text), ids in zip(batch, encoded, strict=True):
                if chunking.ends_line(text):
                    ids.append(tokenizer.newline)
                files[name].write(np.array(ids, dtype).tobytes())
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            progress["batches"] += 1
            progress |= {
                "bytes": {name: file.tell() for name, file in files.items()},
                "seconds": time.monotonic() - begin,
            }
            storage.write_json(folder / "progress.json", progress)
            advance(
                sum(count["characters"] for count in counts.values()) >> 20, documents.size >> 20
            )
    for name, count in counts.items():
        count["tokens"] = progress["bytes"][name] // dtype.itemsize
    if not counts["train"]["tokens"] or (validation > 0 and not counts["validation"]["tokens"]):
        total = sum(count["documents"] for count in counts.values())
        raise UserError(
            f"config.data.validation: {total} documents cannot be split into training and held-out ones; give more documents "
            "(files, or rows), or set it to 0 and do without validation"
        )
    megabytes, seconds = (
        sum(count.pop("bytes") for count in counts.values()) / 1e6,
        progress["seconds"],
    )
    speed = {
        "megabytes": megabytes,
        "seconds": seconds,
        "megabytes_per_second": megabytes / max(seconds, 1e-9),
    }
    return {"splits": counts, "pass": speed}


def _progress(folder: pathlib.Path) -> dict:
    """How far the pass into `folder` has come: batches, bytes of every split's file and seconds."""
    sizes, record = {"piece": PIECE, "batch": BATCH}, folder / "progress.json"
    if record.exists():
        progress = storage.read_json(record)
        whole = all(
            (folder / f"{name}.bin").stat().st_size >= size
            for name, size in progress["bytes"].items()
        )
        if whole and {name: progress[name] for name in sizes} == sizes:
            return progress
    return {**sizes, "batches": 0, "bytes": dict.fromkeys(SPLITS, 0), "seconds": 0.0}


def _nothing() -> dict[str, dict[str, int]]:
    return {name: dict(documents=0, characters=0, tokens=0, bytes=0) for name in SPLITS}


def _pieces(
    documents: Documents, rewrap_lines: bool, validation: float, counts: dict[str, dict[str, int]]
) -> Iterator[tuple[str, str]]:
    """(split, text): every split's documents, long ones cut and short ones joined, with a newline after each; adds to `counts`."""
    waiting, lengths, index = {name: [] for name in SPLITS}, dict.fromkeys(SPLITS, 0), 0
    for chunks in documents.read():
        held_out = int(index * validation) != int((index - 1) * validation) or (
            index == 0 and validation > 0
        )
        name = "validation" if held_out else "train"
        blank = True
        for piece in chunking.cut(chunking.reflow(chunks) if rewrap_lines else chunks, PIECE):
            blank = False
            waiting[name].append(piece)
            lengths[name] += len(piece)
            counts[name]["characters"] += len(piece)
            counts[name]["bytes"] += len(piece.encode())
            if lengths[name] >= PIECE:
                yield name, "".join(waiting[name])
                waiting[name], lengths[name] = [], 0
        if not blank:  # a blank document is none
            counts[name]["documents"] += 1
            index += 1
    yield from ((name, "".join(texts)) for name, texts in waiting.items() if texts)


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


def _ahead(function: Callable, items: Iterable) -> Iterator[tuple]:
    """(item, its result), in order; the next items are at work meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        begun = collections.deque()
        for item in items:
            begun.append((item, pool.submit(function, item)))
            if len(begun) > WORKERS:
                item, result = begun.popleft()
                yield item, result.result()
        for item, result in begun:
            yield item, result.result()


def _integer(vocab_size: int) -> type:
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


class Windows:
    """Runs of `length` + 1 ids that start anywhere in a row of them, `tokens` [B L+1]: the inputs and, one further, the targets."""

    def __init__(self, tokens: Int[np.ndarray, "N"], length: int):
        self._tokens, self._length = tokens, length

    def __len__(self) -> int:
        """The number of starts."""
        return max(0, len(self._tokens) - self._length)

    def __getitem__(self, starts: Iterable[int]) -> dict[str, np.ndarray]:
        rows = [self._tokens[start : start + self._length + 1] for start in starts]
        return {"tokens": np.stack(rows).astype(np.int32)}
