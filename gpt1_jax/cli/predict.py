"""Label new texts with a finetuned run.

    gpt1 predict --checkpoint=runs/exp_sst2 --input=reviews.tsv --output=labeled.tsv
    echo "a moving film" | gpt1 predict --checkpoint=runs/exp_sst2

Each line of the input is one example: the texts of the task in order, with a tab between them.
These are a sentence, two sentences, or a context (a passage and a question, for RACE) and the
answers to choose from. For a file with a header line, --columns=premise,hypothesis names the
columns. The rules for lines are those of the finetuning's tables: only a newline ends a line, blank
lines are skipped, a text may be empty. --max_bad_rows=N allows N malformed rows, which are reported
and get no label.

Each line of the output has the number of the row (from 0, blank lines not counted), the predicted
label (the score, for a graded task) and the probability of each class. A finetuned model has only
as many positions as its longest example had tokens. Longer texts are cut at the end, and the number
of such rows is printed.
"""

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from absl import flags

from gpt1_jax import inputs, storage
from gpt1_jax.cli import command
from gpt1_jax.errors import UserError, printable

if TYPE_CHECKING:
    from gpt1_jax.datasets.readers.records import OmittedRows

FLAGS = flags.FlagValues()
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "",
    "Folder of a finetuned run, or one of its checkpoints, DIR/checkpoints/STEP.",
    flag_values=FLAGS,
)
INPUT = flags.DEFINE_string(
    "input", "-", "File of tab-separated texts; - is standard input.", flag_values=FLAGS
)
OUTPUT = flags.DEFINE_string(
    "output",
    "-",
    "File to write, whole or not at all; - is standard output, row by row. A FIFO or a device is "
    "written into.",
    flag_values=FLAGS,
)
COLUMNS = flags.DEFINE_list(
    "columns",
    [],
    "Columns with the texts, in the order of the task; the input then begins with a header line.",
    flag_values=FLAGS,
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    32,
    "Examples in a batch on each device.",
    lower_bound=1,
    upper_bound=65_536,
    flag_values=FLAGS,
)
MAX_BAD_ROWS = flags.DEFINE_integer(
    "max_bad_rows",
    0,
    "Number of malformed rows that are left out. One more is an error.",
    lower_bound=0,
    upper_bound=1_000_000_000,
    flag_values=FLAGS,
)
# Rows that are labeled together. Batches hold rows of similar length, so a large chunk needs less
# padding.
CHUNK = 4096


def main(arguments: list[str]) -> None:
    """Label the rows that the flags name."""
    command.reject_positional(arguments)
    from gpt1_jax.datasets.readers.records import OmittedRows
    from gpt1_jax.engine import devices
    from gpt1_jax.trainers.predictor import Predictor

    devices.initialize("off")
    predictor = Predictor(CHECKPOINT.value, BATCH_SIZE.value)
    from_stdin = INPUT.value == "-"
    source_path, target = inputs.path("--input", INPUT.value), inputs.path("--output", OUTPUT.value)
    if not from_stdin and target.resolve() == source_path.resolve():
        raise UserError(f"--output: {OUTPUT.value} is the input; name another file")
    source = "standard input" if from_stdin else INPUT.value
    chunk_size = 1 if from_stdin and sys.stdin.isatty() else CHUNK
    omitted = OmittedRows(MAX_BAD_ROWS.value, _report, "--max_bad_rows")
    with _open(INPUT.value) as lines, _writer(OUTPUT.value) as write:
        write("\t".join(["index", *predictor.header]))
        rows = _rows(lines, source, COLUMNS.value, predictor.texts, omitted)
        while chunk := list(itertools.islice(rows, chunk_size)):
            outputs = predictor.predict([texts for _, texts in chunk])
            for (number, _), cells in zip(chunk, outputs, strict=True):
                write("\t".join([str(number), *cells]))
    if omitted.malformed:
        _report(f"{omitted.malformed} malformed rows were left out and have no label")
    if predictor.cut:
        _report(
            f"{predictor.cut} rows are longer than every example of the finetuning; "
            "the ends of their texts were cut"
        )


def _report(line: str) -> None:
    print(f"gpt1_jax: {printable(line, keep='')}", file=sys.stderr)


@contextlib.contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    """Yield a file or standard input as bytes."""
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = inputs.path("--input", path).open("rb")
    except OSError as error:
        raise UserError(
            f"--input: cannot read {path} ({error.strerror}); name a file of tab-separated texts"
        ) from None
    with file:
        yield file


def _rows(
    stream: IO[bytes], source: str, columns: Sequence[str], num_texts: int, omitted: "OmittedRows"
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number from 0 and the texts of each row that is not malformed.

    Raises:
        UserError: more rows are malformed than allowed, or the header line does not fit.
    """
    from gpt1_jax.datasets.readers.tables import numbered_lines, split_cells

    indices, width, expected = range(num_texts), num_texts, f"{num_texts} texts"
    lines = numbered_lines(stream)
    if columns:
        header = _read_header(lines, source)
        indices, width = _column_indices(columns, header, source, num_texts), len(header)
        expected = f"{width} columns, as in the header line,"
    for number, (line_number, line) in enumerate(lines):
        try:
            cells = split_cells(line)
            if len(cells) != width:
                raise ValueError(f"{len(cells)} found, {expected} expected with a tab between them")
        except ValueError as reason:
            omitted.add_malformed(f"{source}, line {line_number}", reason)
        else:
            yield number, [cells[index] for index in indices]


def _read_header(lines: Iterator[tuple[int, bytes]], source: str) -> list[str]:
    from gpt1_jax.datasets.readers.tables import split_cells

    number, line = next(lines, (1, b""))
    try:
        return split_cells(line)
    except ValueError as reason:
        raise UserError(f"{source}, line {number}: {reason}; save the file as UTF-8") from None


def _column_indices(
    columns: Sequence[str], header: Sequence[str], source: str, num_texts: int
) -> list[int]:
    """Return the index of each column of --columns; raise UserError if the header does not fit."""
    if len(columns) != num_texts:
        raise UserError(
            f"--columns: {len(columns)} named, {num_texts} expected, one for each text of the task"
        )
    for column in columns:
        if column not in header:
            names = ", ".join(header) or "nothing"
            raise UserError(
                f"--columns: {source} has no column {column!r}; its header line has {names}"
            )
        if header.count(column) > 1:
            raise UserError(
                f"--columns: {source} has {column!r} more than once; rename one of them"
            )
    return [header.index(column) for column in columns]


@contextlib.contextmanager
def _writer(path: str):
    """Yield a function that writes a line; a file appears only when all lines are written."""
    if path == "-":
        yield lambda line: print(line, flush=True)
        return
    target = inputs.path("--output", path)
    if target.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    try:
        with storage.atomic_writer(target) as file:
            yield lambda line: print(line, file=file)
    except BrokenPipeError:  # the reader of a FIFO has seen enough, as one of standard output
        raise
    except OSError as error:
        raise UserError(
            f"--output: cannot write {path} ({error.strerror}); choose another file"
        ) from None
