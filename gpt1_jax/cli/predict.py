"""Label new texts with a finetuned run.

    gpt1 predict --checkpoint=runs/exp_sst2 --input=reviews.tsv --output=labeled.tsv
    echo "a moving film" | gpt1 predict --checkpoint=runs/exp_sst2

Each line of the input is one example: the texts of the task in order, with a tab between them.
These are a sentence, two sentences, or a context (a passage and a question, for RACE) and the
answers to choose from. For a file with a header line, --columns=premise,hypothesis names the
columns.

Each line of the output has the number of the row (from 0), the predicted label (the score, for a
graded task) and the probability of each class. A finetuned model has only
as many positions as its longest example had tokens. Longer texts are cut at the end, and the number
of such rows is printed.
"""

import contextlib
import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from absl import flags

from gpt1_jax import storage
from gpt1_jax.cli import command
from gpt1_jax.errors import UserError

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
    "File to write, whole or not at all; - is standard output, row by row.",
    flag_values=FLAGS,
)
COLUMNS = flags.DEFINE_list(
    "columns",
    [],
    "Columns with the texts, in the order of the task; the input then begins with a header line.",
    flag_values=FLAGS,
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 32, "Examples in a batch on each device.", lower_bound=1, flag_values=FLAGS
)
# Rows that are labeled together. Batches hold rows of similar length, so a large chunk needs less
# padding.
CHUNK = 4096


def main(arguments: list[str]) -> None:
    """Label the rows that the flags name."""
    command.reject_positional(arguments)
    from gpt1_jax.engine import devices
    from gpt1_jax.trainers.predictor import Predictor

    devices.initialize("off")
    predictor = Predictor(CHECKPOINT.value, BATCH_SIZE.value)
    from_stdin = INPUT.value == "-"
    if not from_stdin and _resolve(OUTPUT.value) == _resolve(INPUT.value):
        raise UserError(f"--output: {OUTPUT.value} is the input; name another file")
    source = "standard input" if from_stdin else INPUT.value
    chunk_size = 1 if from_stdin and sys.stdin.isatty() else CHUNK
    with _lines(INPUT.value) as lines, _writer(OUTPUT.value) as write:
        write("\t".join(["index", *predictor.header]))
        rows = enumerate(_rows(lines, source, COLUMNS.value, predictor.texts))
        while chunk := list(itertools.islice(rows, chunk_size)):
            outputs = predictor.predict([texts for _, texts in chunk])
            for (number, _), cells in zip(chunk, outputs, strict=True):
                write("\t".join([str(number), *cells]))
    if predictor.cut:
        print(
            f"gpt1_jax: {predictor.cut} rows are longer than every example of the finetuning; "
            "the ends of their texts were cut",
            file=sys.stderr,
        )


def _resolve(path: str) -> pathlib.Path:
    return pathlib.Path(path).expanduser().resolve()


@contextlib.contextmanager
def _lines(path: str) -> Iterator[Iterable[str]]:
    """Yield the lines of a file or of standard input, without the byte order mark of Excel."""
    if path == "-":
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
        yield sys.stdin
        return
    try:
        file = open(pathlib.Path(path).expanduser(), encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"--input: cannot read {path} ({error.strerror}); name a file of tab-separated texts"
        ) from None
    with file:
        yield file


def _rows(
    lines: Iterable[str], source: str, columns: Sequence[str], num_texts: int
) -> Iterator[list[str]]:
    """Yield the texts of each line.

    Raises:
        UserError: a line does not have the texts that the task takes.
    """
    indices, width, expected = range(num_texts), num_texts, f"{num_texts} texts"
    split_lines = (line.rstrip("\r\n").split("\t") for line in _check_utf8(lines, source))
    numbered = enumerate(split_lines, start=1)
    if columns:
        _, header = next(numbered, (0, []))
        indices, width = _column_indices(columns, header, source, num_texts), len(header)
        expected = f"{width} columns, as in the header line,"
    for number, cells in numbered:
        if len(cells) != width:
            raise UserError(
                f"{source}, line {number}: {len(cells)} found, {expected} expected with a tab "
                "between them; correct the line"
            )
        row = [cells[index] for index in indices]
        if not all(cell.strip() for cell in row):
            raise UserError(
                f"{source}, line {number}: a text is empty; fill it or leave the line out"
            )
        yield row


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


def _check_utf8(lines: Iterable[str], source: str) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise UserError(
            f"{source}: is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from None


@contextlib.contextmanager
def _writer(path: str):
    """Yield a function that writes a line; a file appears only when all lines are written."""
    if path == "-":
        yield lambda line: print(line, flush=True)
        return
    target = _resolve(path)
    if target.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    try:
        with storage.atomic_writer(target) as file:
            yield lambda line: print(line, file=file)
    except OSError as error:
        raise UserError(
            f"--output: cannot write {path} ({error.strerror}); choose another file"
        ) from None
