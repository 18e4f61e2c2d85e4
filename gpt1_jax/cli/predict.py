"""Labels new text with a finetuned run.

    gpt1 predict --checkpoint=runs/exp_sst2 --input=reviews.tsv --output=labelled.tsv
    echo "a moving film" | gpt1 predict --checkpoint=runs/exp_sst2

A line of the input is one example: its texts, with a tab between them, in the order of the task (a sentence; two sentences; a context, or
a passage and a question, and then the answers to choose from). --columns=premise,hypothesis takes columns of a file with a header line,
by their names. A line of the output is the row's number from 0, the predicted label (of a graded task the score), and the probability of
every class. A run has positions for the longest example of its finetuning: of a longer one the ends of its texts are left out, and told.
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
CHUNK = 4096  # rows of a file that are read before the first is labelled: alike in length they make quick batches


def main(arguments: list[str]) -> None:
    """Labels the rows that the flags name."""
    command.only_flags(arguments)
    from gpt1_jax.engine import devices
    from gpt1_jax.trainers.predictor import Predictor

    devices.initialize("off")
    predictor = Predictor(CHECKPOINT.value, BATCH_SIZE.value)
    interactive = INPUT.value == "-"
    if (
        not interactive
        and pathlib.Path(OUTPUT.value).expanduser().resolve()
        == pathlib.Path(INPUT.value).expanduser().resolve()
    ):
        raise UserError(f"--output: {OUTPUT.value} is the input; name another file")
    with _lines(INPUT.value) as lines, _printer(OUTPUT.value) as write:
        rows = enumerate(
            _rows(
                lines,
                "standard input" if interactive else INPUT.value,
                COLUMNS.value,
                predictor.texts,
            )
        )
        write("\t".join(["index", *predictor.header]))
        while chunk := list(
            itertools.islice(rows, 1 if interactive and sys.stdin.isatty() else CHUNK)
        ):
            for (number, _), line in zip(
                chunk, predictor.lines([texts for _, texts in chunk]), strict=True
            ):
                write("\t".join([str(number), *line]))
    if predictor.cut:
        print(
            f"gpt1_jax: of {predictor.cut} rows, longer than all of finetuning's, the ends of texts were left out",
            file=sys.stderr,
        )


@contextlib.contextmanager
def _lines(path: str) -> Iterator[Iterable[str]]:
    if path == "-":
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
        yield sys.stdin
        return
    try:
        file = open(
            pathlib.Path(path).expanduser(), encoding="utf-8-sig"
        )  # which drops the mark that Excel writes first
    except OSError as error:
        raise UserError(
            f"--input: cannot read {path} ({error.strerror}); name a file of tab-separated texts"
        ) from None
    with file:
        yield file


def _rows(
    lines: Iterable[str], place: str, columns: Sequence[str], texts: int
) -> Iterator[list[str]]:
    """The texts of every line; UserError for one that has others than the task takes."""
    chosen, width, expected = range(texts), texts, f"{texts} texts"
    numbered = enumerate(
        (line.rstrip("\r\n").split("\t") for line in _decoded(lines, place)), start=1
    )
    if columns:
        if len(columns) != texts:
            raise UserError(
                f"--columns: {len(columns)} named, {texts} expected, one for each text of the task"
            )
        _, header = next(numbered, (0, []))
        if missing := [column for column in columns if column not in header]:
            raise UserError(
                f"--columns: {place} has no column {missing[0]!r}; its header line has {', '.join(header) or 'nothing'}"
            )
        if twice := [column for column in columns if header.count(column) > 1]:
            raise UserError(
                f"--columns: {place} has {twice[0]!r} more than once; rename one of them"
            )
        chosen, width = [header.index(column) for column in columns], len(header)
        expected = f"{width} columns, as its header line has,"
    for number, cells in numbered:
        if len(cells) != width:
            raise UserError(
                f"{place}, line {number}: {len(cells)} found, {expected} expected with a tab between them; correct the line"
            )
        cells = [cells[column] for column in chosen]
        if not all(cell.strip() for cell in cells):
            raise UserError(
                f"{place}, line {number}: a text is empty; fill it or leave the line out"
            )
        yield cells


def _decoded(lines: Iterable[str], place: str) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}: is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from None


@contextlib.contextmanager
def _printer(path: str):
    """Writes lines; to a file they go when all is well."""
    if path == "-":
        yield lambda line: print(line, flush=True)
        return
    place = pathlib.Path(path).expanduser().resolve()
    if place.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    try:
        with storage.atomic_writer(place) as file:
            yield lambda line: print(line, file=file)
    except OSError as error:
        raise UserError(
            f"--output: cannot write {path} ({error.strerror}); choose another file"
        ) from None
