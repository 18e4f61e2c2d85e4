"""Keep a learned tokenizer in the cache with its fingerprint."""

import pathlib
from collections.abc import Callable

from gpt1_jax.datasets import checked_files
from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe


def load_or_learn(
    path: pathlib.Path, learn: Callable[[], bpe.Tokenizer], log_line: Callable[[str], None]
) -> bpe.Tokenizer:
    """Return the tokenizer in the file `path`; learn and write it if there is none.

    If the file is not as it was written, that is written to the log, and the tokenizer is learned
    again.

    Raises:
        UserError: the errors of `learn`.
    """
    if path.exists():
        try:
            return _load(path)
        except ValueError as reason:
            log_line(f"{path}: {reason}; the tokenizer is learned again")
    tokenizer = learn()
    path.parent.mkdir(exist_ok=True)
    tokenizer.save(path)
    checked_files.write_json(_record(path), {"fingerprint": tokenizer.fingerprint})
    return bpe.load(path)


def _load(path: pathlib.Path) -> bpe.Tokenizer:
    """Return the tokenizer in a file; raise ValueError if the file is not as it was written."""
    record = checked_files.read_json(_record(path))
    try:
        tokenizer = bpe.load(path)
    except UserError:
        raise ValueError("is damaged") from None
    if tokenizer.fingerprint != record["fingerprint"]:
        raise ValueError("is damaged")
    return tokenizer


def _record(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".about.json")
