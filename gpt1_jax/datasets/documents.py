"""Read the documents of files as streams of text and check that they are text."""

import codecs
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow.parquet

from gpt1_jax.datasets import files, values
from gpt1_jax.errors import UserError, first_line

CHUNK = 1 << 20  # bytes of a .txt file read at a time


@dataclasses.dataclass(frozen=True)
class Documents:
    """Hold a corpus as text.

    Attributes:
        read: returns a new pass over the documents at every call. A document is an iterable of
            chunks of text, to be read to its end before the next document. A row without a text
            and a file without rows are a document without chunks.
        fingerprint: hash of everything that decides the texts.
        size: approximate number of bytes of the source, for the progress bar.
        left_out: kind -> the number of files and folders that are not read (see `files.find`).
    """

    read: Callable[[], Iterator[Iterable[str]]]
    fingerprint: str
    size: int
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


def from_files(
    found: files.Found, column: str, read: Callable[[], Iterator[Iterable[str]]]
) -> Documents:
    """Return documents whose texts depend on the names and contents of files and on `column`.

    Raises:
        UserError: a file cannot be read.
    """
    digest = hashlib.sha256(column.encode())
    for file in found.files:
        try:
            with open(file, "rb") as content:
                file_digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise UserError(
                f"{file}: cannot be read ({error.strerror or error}); "
                "check the file and its permissions"
            ) from None
        # A file name may hold bytes that are not UTF-8.
        digest.update(f"{file.name} {file_digest}\n".encode(errors="surrogateescape"))
    size = sum(file.stat().st_size for file in found.files)
    return Documents(read, digest.hexdigest(), size, found.left_out)


def _read_txt(file: pathlib.Path, column: str) -> Iterator[Iterable[str]]:
    yield _read_chunks(file)


def _read_chunks(file: pathlib.Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, at_start, blank = 0, True, True
    with open(file, "rb") as content:
        while True:
            block = content.read(CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                chunk = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise _not_utf8(file, "byte", position - pending + error.start) from None
            position += len(block)
            if at_start and chunk:
                at_start, chunk = False, chunk.removeprefix("\ufeff")  # a byte order mark
            blank = blank and not chunk.strip()
            if not block:
                break
            yield chunk
    if blank:
        raise UserError(f"{file}: is empty; remove it or give it text")


def _read_jsonl(file: pathlib.Path, column: str) -> Iterator[list[str]]:
    has_rows = False
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{file}:{number}"
            if not line.strip():
                continue
            has_rows = True
            try:
                row = values.parse_json(decode(where, line, "byte of the line"))
            except ValueError as error:
                raise UserError(
                    f"{where}: {error}; each line must be an object with the field {column!r}"
                ) from None
            text = row.get(column, 0) if isinstance(row, dict) else 0
            if not isinstance(text, str | None):
                raise UserError(
                    f"{where}: has no text in the field {column!r}; set config.data.column"
                )
            yield document(where, column, text)
    if not has_rows:
        yield []


def _read_parquet(file: pathlib.Path, column: str) -> Iterator[list[str]]:
    number = 0
    try:
        with open(file, "rb") as content:  # the library refuses a path that is not UTF-8
            for value in _column(file, pyarrow.parquet.ParquetFile(content), column):
                yield document(file, column, value.as_py())
                number += 1
    except UnicodeDecodeError as error:
        raise _not_utf8(f"{file}: row {number}", "byte of the row", error.start) from None
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{file}: not a parquet file, or damaged ({first_line(error)}); fetch it again"
        ) from None
    if not number:
        yield []


def _column(
    file: pathlib.Path, parquet: pyarrow.parquet.ParquetFile, column: str
) -> Iterator[pyarrow.Scalar]:
    columns = parquet.schema_arrow.names
    if column not in columns:
        raise UserError(
            f"{file}: has no column {column!r}, only {', '.join(columns)}; set config.data.column"
        )
    for batch in parquet.iter_batches(batch_size=64, columns=[column]):
        yield from batch.column(0)


READERS = {".txt": _read_txt, ".jsonl": _read_jsonl, ".parquet": _read_parquet}


def decode(where: object, content: bytes, unit: str) -> str:
    """Return the text of UTF-8 bytes, without a byte order mark.

    Args:
        where: the file, and the row if there is one, for the error message.
        content: the bytes.
        unit: what the error message counts, such as "byte of the line".

    Raises:
        UserError: the bytes are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(where, unit, error.start) from None


def _not_utf8(where: object, unit: str, position: int) -> UserError:
    return UserError(f"{where}: {unit} {position} is not UTF-8; convert the file (iconv -t UTF-8)")


def document(where: object, column: str, text: object) -> list[str]:
    """Return the chunks of the document of a row, after a check; none if it has no text.

    Raises:
        UserError: the value is not a string, or holds half a surrogate pair, which JSON can
            express.
    """
    if text is None:
        return []
    if not isinstance(text, str):
        raise UserError(
            f"{where}: has no text in the column {column!r}, but {type(text).__name__}; "
            "set config.data.column"
        )
    try:
        return [values.check_text(column, text)]
    except ValueError as error:
        raise UserError(f"{where}: {error}; write the text again as UTF-8") from None
