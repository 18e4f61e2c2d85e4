"""Provide the token ids of a corpus: cache on disk, memory-mapped splits, windows."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Int

from gpt1_jax import storage
from gpt1_jax.datasets import checked_files, tokenization
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe

VERSION = 3  # increase it when the same texts would give other files


@dataclasses.dataclass(frozen=True)
class TokenizedCorpus:
    """Hold the token ids of a corpus and their description.

    Attributes:
        splits: "train" and "validation" -> the ids of the documents in order, with a newline after
            each document; memory-mapped.
        about: "splits": the numbers of documents, characters and tokens of each split;
            "blank_documents": the number of dropped documents; "word_cuts": the number of cuts in
            words that are too long; "pass": the megabytes of text (UTF-8), the seconds over all
            starts, and their quotient; "files": the size and CRC-32 of each file; and the inputs:
            fingerprints of corpus and tokenizer, and the settings.
    """

    splits: dict[str, Int[np.ndarray, "N"]]
    about: dict


class Windows:
    """Return windows of `length` + 1 ids that start anywhere in a row of token ids.

    An index is an array of B starts. The result is the batch "tokens" [B L+1]: inputs and, shifted
    by one, targets.
    """

    def __init__(self, tokens: Int[np.ndarray, "N"], length: int):
        self._tokens, self._length = tokens, length

    def __len__(self) -> int:
        """Return the number of starts."""
        return max(0, len(self._tokens) - self._length)

    def __getitem__(self, starts: Iterable[int]) -> dict[str, np.ndarray]:
        """Return the batch of the windows at `starts`."""
        rows = [self._tokens[start : start + self._length + 1] for start in starts]
        return {"tokens": np.stack(rows).astype(np.int32)}


def texts(documents: Documents, rewrap_lines: bool) -> Iterator[str]:
    """Yield all the text of a corpus in pieces, as `prepare` tokenizes it without validation."""
    counts = tokenization.new_counts()
    for _, text in tokenization.split_texts(documents, rewrap_lines, 0.0, counts):
        yield text


def prepare(
    documents: Documents,
    tokenizer: bpe.Tokenizer,
    *,
    rewrap_lines: bool,
    validation: float,
    cache: str,
    log_line: Callable[[str], None] = print,
) -> TokenizedCorpus:
    """Return the tokens of a corpus from the cache; tokenize the corpus first if necessary.

    The same texts, tokenizer and settings give the same files. A later call continues an
    interrupted pass and writes the files of an uninterrupted one. A second process with the same
    inputs waits for the first. The files are verified by their checksums; damaged ones are reported
    and written again.

    Args:
        documents: the corpus.
        tokenizer: encodes the texts.
        rewrap_lines: reflow hard-wrapped documents first.
        validation: share of the documents held out: the first, and then every 1/validation-th.
        cache: folder of the cache.
        log_line: write a line to the log; called for damaged files.

    Raises:
        UserError: a split is empty, a file of the corpus cannot be read, or the cache cannot be
            written.
    """
    inputs = {
        "corpus": documents.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "rewrap_lines": rewrap_lines,
        "validation": validation,
        "version": VERSION,
    }
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:20]
    root = pathlib.Path(cache)
    folder = root / "tokens" / key
    partial = folder.with_name(f"{folder.name}.partial")

    def report_wait():
        print(f"another process writes {partial}: waiting for it", file=sys.stderr, flush=True)

    try:
        if _problem(folder, inputs):
            with storage.lock(root / "locks" / key, wait=True, on_wait=report_wait):
                problem = _problem(folder, inputs)
                if problem and folder.exists():
                    log_line(f"{folder}: {problem}; the corpus is tokenized again")
                    shutil.rmtree(folder)
                if problem:  # otherwise another process has written it
                    _tokenize(partial, inputs, documents, tokenizer, log_line)
                    partial.rename(folder)
    except OSError as error:
        raise _user_error(error, root) from None
    return _open(folder, tokenization.token_dtype(tokenizer.vocab_size))


def _problem(folder: pathlib.Path, inputs: dict) -> str:
    """Return why the files in `folder` cannot be used, or "" if they are as they were written."""
    try:
        about = checked_files.read_json(folder / "about.json")
        if {name: about.get(name) for name in inputs} != inputs:
            raise ValueError("about.json is that of another corpus")
        for name, file in about["files"].items():
            checked_files.verify(folder / f"{name}.bin", file["bytes"], file["crc32"])
    except ValueError as reason:
        return str(reason)
    return ""


def _tokenize(
    partial: pathlib.Path,
    inputs: dict,
    documents: Documents,
    tokenizer: bpe.Tokenizer,
    log_line: Callable[[str], None],
) -> None:
    """Write the files of the cache to `partial`, which a later call continues after a failure."""
    partial.mkdir(parents=True, exist_ok=True)
    rewrap_lines, validation = inputs["rewrap_lines"], inputs["validation"]
    try:
        about = tokenization.tokenize(
            partial, documents, tokenizer, rewrap_lines, validation, log_line
        )
    except UserError:  # a second try would fail, too, and the corrected corpus has another key
        shutil.rmtree(partial)
        raise
    checked_files.write_json(partial / "about.json", {**inputs, **about})
    (partial / "progress.json").unlink()


def _user_error(error: OSError, root: pathlib.Path) -> UserError:
    """Return the error for a file that cannot be used: one of the cache `root` or of the corpus."""
    reason = error.strerror or error
    if error.filename and not str(error.filename).startswith(str(root)):
        return UserError(
            f"{error.filename}: cannot be read ({reason}); check the file and its permissions"
        )
    return UserError(
        f"config.data.cache: cannot write to {root / 'tokens'} ({reason}); "
        "free disk space and start again, or choose another folder"
    )


def _open(folder: pathlib.Path, dtype: type) -> TokenizedCorpus:
    about = checked_files.read_json(folder / "about.json")
    splits = {}
    for name, count in about["splits"].items():
        if count["tokens"]:
            splits[name] = np.memmap(folder / f"{name}.bin", dtype, mode="r")
        else:  # an empty file cannot be mapped
            splits[name] = np.zeros(0, dtype)
    return TokenizedCorpus(splits, about)
