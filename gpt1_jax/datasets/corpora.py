"""Books by name -> a memory-mapped row of token ids, prepared once."""

import dataclasses
import glob
import hashlib
import json
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow.parquet
from jaxtyping import Int

from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe
from gpt1_jax.training.log import bar

SUFFIXES = (".txt", ".jsonl", ".parquet")
PIECE = 1 << 16  # characters tokenised as one unit of parallel work
CHUNK = 1 << 24  # characters held in memory at a time


@dataclasses.dataclass(frozen=True)
class Documents:
    """A corpus as text.

    Attributes:
        read: gives a fresh pass over the documents at every call.
        fingerprint: of everything that decides the texts.
        size: bytes of the source, for progress; not exact.
    """

    read: Callable[[], Iterator[str]]
    fingerprint: str
    size: int


@CORPORA.register("text")
def text(path: str, column: str = "text") -> Documents:
    """A folder (searched to its depth), a glob or a file: .txt, a document a file; .jsonl and .parquet, a document a row.

    Args:
        column: the field of a row that holds the text.

    Raises:
        UserError: nothing is there, or a file is empty, not UTF-8 or not what its name says.
    """
    files = _files(path)

    def read():
        for file in files:
            yield from READERS[file.suffix](file, column)

    digest = hashlib.sha256(column.encode())
    for file in files:
        with open(file, "rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return Documents(read, digest.hexdigest(), sum(file.stat().st_size for file in files))


@CORPORA.register("bookcorpusopen")
def bookcorpusopen(path: str, column: str = "text") -> Documents:
    """17,868 books, the hub's lucadiliello/bookcorpusopen; with a path, a local copy of its parquet files."""
    return text(path, column) if path else hub("lucadiliello/bookcorpusopen", column)


def hub(name: str, column: str, split: str = "train") -> Documents:
    """A text column of a data set on the Hugging Face hub; UserError in one line where the hub is out of reach."""
    import datasets  # takes seconds, and only hub corpora need it

    try:
        rows = datasets.load_dataset(name, split=split)
    except ConnectionError:
        raise UserError(
            f"config.data.corpus: the hub's {name} is out of reach; go online (and unset HF_HUB_OFFLINE), or copy its parquet files and "
            "give their folder as config.data.path"
        ) from None
    if column not in rows.column_names:
        raise UserError(f"config.data.column: {name} has no column {column!r}; it has {', '.join(rows.column_names)}")
    return Documents(lambda: (row[column] for row in rows), rows._fingerprint, rows.info.size_in_bytes or 0)


def _files(path: str) -> list[pathlib.Path]:
    if not path:
        raise UserError("config.data.path: is empty; name a folder, a glob or a file of .txt, .jsonl or .parquet")
    root = pathlib.Path(path).expanduser()
    found = root.rglob("*") if root.is_dir() else map(pathlib.Path, glob.glob(str(root), recursive=True))
    files = sorted(file for file in found if file.is_file() and file.suffix in SUFFIXES)
    if not files:
        raise UserError(f"config.data.path: no {', '.join(SUFFIXES)} file at {path}; name a folder, a glob or a file of them")
    return files


def _read_txt(file: pathlib.Path, column: str) -> Iterator[str]:
    content = _decode(file, file.read_bytes(), "byte")
    if not content.strip():
        raise UserError(f"{file}: is empty; remove it or give it text")
    yield content


def _read_jsonl(file: pathlib.Path, column: str) -> Iterator[str]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(_decode(f"{file}:{number}", line, "byte of the line"))
            except ValueError as error:
                raise UserError(f"{file}:{number}: not JSON ({error}); expected an object a line with the field {column!r}") from None
            if not isinstance(row, dict) or not isinstance(row.get(column), str):
                raise UserError(f"{file}:{number}: has no text in the field {column!r}; set config.data.column")
            yield row[column]


def _read_parquet(file: pathlib.Path, column: str) -> Iterator[str]:
    try:
        table = pyarrow.parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{file}: not a parquet file ({str(error).splitlines()[0]})") from None
    if column not in table.schema_arrow.names:
        raise UserError(f"{file}: has no column {column!r}, only {', '.join(table.schema_arrow.names)}; set config.data.column")
    for batch in table.iter_batches(batch_size=64, columns=[column]):
        yield from (text for text in batch.column(0).to_pylist() if text is not None)


READERS = {".txt": _read_txt, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def _decode(where: object, content: bytes, unit: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: {unit} {error.start} is not UTF-8; convert the file (iconv -t UTF-8)") from None


def reflow(document: str) -> str:
    """Hard-wrapped text, a blank line between paragraphs, with each paragraph on one line."""
    paragraphs = re.split(r"\n\s*\n", document.replace("\r\n", "\n"))
    return "\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def texts(documents: Documents, wrapped: bool) -> Iterator[str]:
    """The documents, re-flowed where they are `wrapped` hard."""
    return map(reflow, documents.read()) if wrapped else documents.read()


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A tokenised corpus.

    Attributes:
        splits: "train" and "validation" -> the ids of the documents, one after the other, a newline after each; memory-mapped.
        about: documents, characters and tokens of each split, and what they were made from.
    """

    splits: dict[str, Int[np.ndarray, "N"]]
    about: dict


def prepare(documents: Documents, tokenizer: bpe.Tokenizer, *, wrapped: bool, validation: float, cache: str) -> Tokens:
    """Tokenises a corpus into `cache`, or finds it there: same texts, tokenizer and settings, same file.

    Args:
        wrapped: re-flow hard-wrapped documents first.
        validation: the share of documents held out: the first and then every 1/validation-th.

    Raises:
        UserError: a split stays empty.
    """
    made_from = {
        "corpus": documents.fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "wrapped": wrapped,
        "validation": validation,
    }
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:20]
    folder = pathlib.Path(cache).expanduser() / "tokens" / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = pathlib.Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder.parent))
        try:
            counts = _write(beside, documents, tokenizer, wrapped, validation)
            (beside / "about.json").write_text(json.dumps({**made_from, "splits": counts}, indent=2))
            beside.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was first, with the same content
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    about = json.loads((folder / "about.json").read_text())
    dtype = _integer(tokenizer.vocab_size)
    splits = {
        name: np.memmap(folder / f"{name}.bin", dtype, mode="r") if count["tokens"] else np.zeros(0, dtype)
        for name, count in about["splits"].items()
    }
    return Tokens(splits, about)


def _write(folder, documents, tokenizer, wrapped, validation) -> dict[str, dict[str, int]]:
    counts = {name: dict(documents=0, characters=0, tokens=0) for name in ("train", "validation")}
    dtype, done = _integer(tokenizer.vocab_size), 0
    files = {name: open(folder / f"{name}.bin", "wb") for name in counts}
    with files["train"], files["validation"], bar("tokenising (MB)") as advance:
        written = filter(str.strip, texts(documents, wrapped))  # blank ones are none
        for index, document in enumerate(written):
            held_out = int(index * validation) != int((index - 1) * validation) or (index == 0 and validation > 0)
            name = "validation" if held_out else "train"
            count = counts[name]
            document = document.strip()
            for pieces in _chunks(bpe.cut(document, PIECE)):
                for ids in tokenizer.encode(pieces):
                    np.array([*ids, tokenizer.newline], dtype).tofile(files[name])
                    count["tokens"] += len(ids) + 1
            count["documents"] += 1
            count["characters"] += len(document) + 1
            done += len(document)
            advance(done >> 20, documents.size >> 20)
    if not counts["train"]["tokens"] or (validation > 0 and not counts["validation"]["tokens"]):
        total = sum(count["documents"] for count in counts.values())
        raise UserError(
            f"config.data.validation: {total} documents cannot be split into training and held-out ones; give more documents "
            "(files, or rows), or set it to 0 and do without validation"
        )
    return counts


def _chunks(pieces: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(pieces), CHUNK // PIECE):
        yield pieces[start : start + CHUNK // PIECE]


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
