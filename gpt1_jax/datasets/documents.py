"""Files -> the documents in them, as streams of text: checked, and never held whole where they are long."""

import codecs
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow.parquet

from gpt1_jax.errors import UserError, first_line

CHUNK = 1 << 20  # bytes of a .txt file read at a time


@dataclasses.dataclass(frozen=True)
class Documents:
    """A corpus as text.

    Attributes:
        read: gives a fresh pass over the documents at every call, each as chunks of text, to be read to its end before the next.
        fingerprint: of everything that decides the texts.
        size: bytes of the source, for progress; not exact.
    """

    read: Callable[[], Iterator[Iterable[str]]]
    fingerprint: str
    size: int


def of_files(
    files: Sequence[pathlib.Path], column: str, read: Callable[[], Iterator[Iterable[str]]]
) -> Documents:
    """Documents whose texts the content of `files` and the name `column` decide."""
    digest = hashlib.sha256(column.encode())
    for file in files:
        try:
            with open(file, "rb") as content:
                digest.update(
                    f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode()
                )
        except OSError as error:
            raise UserError(
                f"{file}: cannot be read ({error.strerror or error}); check the file and its rights"
            ) from None
    return Documents(read, digest.hexdigest(), sum(file.stat().st_size for file in files))


def _read_txt(file: pathlib.Path, column: str) -> Iterator[Iterable[str]]:
    yield _chunks(file)


def _chunks(file: pathlib.Path) -> Iterator[str]:
    decoder, before, begun, blank = codecs.getincrementaldecoder("utf-8")(), 0, False, True
    with open(file, "rb") as content:
        while True:
            read = content.read(CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                chunk = decoder.decode(read, final=not read)
            except UnicodeDecodeError as error:
                raise _not_utf8(file, "byte", before - pending + error.start) from None
            if not begun and chunk:
                begun, chunk = True, chunk.removeprefix("\ufeff")  # a byte order mark
            before += len(read)
            blank = blank and not chunk.strip()
            if not read:
                break
            yield chunk
    if blank:
        raise UserError(f"{file}: is empty; remove it or give it text")


def _read_jsonl(file: pathlib.Path, column: str) -> Iterator[list[str]]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(decode(f"{file}:{number}", line, "byte of the line"))
            except ValueError as error:
                raise UserError(
                    f"{file}:{number}: not JSON ({error}); expected an object a line with the field {column!r}"
                ) from None
            if not isinstance(row, dict) or not isinstance(row.get(column), str):
                raise UserError(
                    f"{file}:{number}: has no text in the field {column!r}; set config.data.column"
                )
            yield [checked(f"{file}:{number}", column, row[column])]


def _read_parquet(file: pathlib.Path, column: str) -> Iterator[list[str]]:
    try:
        table = pyarrow.parquet.ParquetFile(file)
        if column not in table.schema_arrow.names:
            raise UserError(
                f"{file}: has no column {column!r}, only {', '.join(table.schema_arrow.names)}; set config.data.column"
            )
        for batch in table.iter_batches(batch_size=64, columns=[column]):
            yield from (
                [checked(file, column, text)]
                for text in batch.column(0).to_pylist()
                if text is not None
            )
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{file}: not a parquet file, or damaged ({first_line(error)}); fetch it again"
        ) from None


READERS = {".txt": _read_txt, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def decode(where: object, content: bytes, unit: str) -> str:
    """The text of some bytes; UserError unless they are UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(where, unit, error.start) from None


def _not_utf8(where: object, unit: str, position: int) -> UserError:
    return UserError(f"{where}: {unit} {position} is not UTF-8; convert the file (iconv -t UTF-8)")


def checked(where: object, column: str, text: object) -> str:
    """The text; UserError where it is none, or no characters (JSON can spell half of a pair, which is none)."""
    if not isinstance(text, str):
        raise UserError(
            f"{where}: has no text in the column {column!r}, but {type(text).__name__}; set config.data.column"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: character {error.start} of {column!r} is half a surrogate pair; write the text anew as UTF-8"
        ) from None
    return text
