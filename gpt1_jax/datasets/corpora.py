"""Corpora by name -> their documents: files, data sets of the Hugging Face hub and of TensorFlow Datasets, and mixtures of them."""

import dataclasses
import glob
import itertools
import math
import pathlib
import re

from gpt1_jax.datasets import hub as hugging_face
from gpt1_jax.datasets import tfds
from gpt1_jax.datasets.documents import CHUNK, READERS, Documents, checked, decode, of_files
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.registry import CORPORA


@dataclasses.dataclass(frozen=True)
class Part:
    """A corpus in a mixture: what it is called in results, the share of the rows that it gives, and its documents."""

    name: str
    weight: float
    documents: Documents


def parts(name: str, path: str, column: str) -> tuple[Part, ...]:
    """The parts of a mixture, or the one corpus called `name`, of weight 1; their weights sum to 1. UserError as the corpora say."""
    corpus = CORPORA[name](path, column)
    return corpus if isinstance(corpus, tuple) else (Part(name, 1.0, corpus),)


@CORPORA.register("mixture")
def mixture(path: str, column: str = "text") -> tuple[Part, ...]:
    """Several corpora: WEIGHT*CORPUS:PATH,WEIGHT*CORPUS:PATH, no comma in a path. Rows are drawn by weight, whatever the sizes.

    Raises:
        UserError: a part is not of that form, or its weight is not a number above 0; and what the corpora say.
    """
    found = []
    for part in path.split(","):
        form = re.fullmatch(r"\s*([^*:]+)\*(\w+):(.*?)\s*", part)
        try:
            weight = float(form[1]) if form else math.nan
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf or form[2] == "mixture":
            raise UserError(
                f"config.data.path: {part!r} is no part of a mixture; expected WEIGHT*CORPUS:PATH,WEIGHT*CORPUS:PATH, weights above 0, "
                "such as 0.7*text:DIR,0.3*hub:owner/name"
            )
        found.append((form[2], weight, CORPORA[form[2]](form[3], column)))
    names = [name for name, _, _ in found]
    labels = [
        f"{name}{names[:i].count(name) + 1}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
    total = sum(weight for _, weight, _ in found)
    return tuple(
        Part(label, weight / total, documents)
        for label, (_, weight, documents) in zip(labels, found, strict=True)
    )


@CORPORA.register("text")
def text(path: str, column: str = "text") -> Documents:
    """A folder (searched to its depth), a glob or a file: .txt, a document a file; .jsonl and .parquet, a document a row.

    Args:
        column: the field of a row that holds the text.

    Raises:
        UserError: nothing is there, or a file is empty, not UTF-8 or not what its name says.
    """
    files = _files(path)
    return of_files(
        files,
        column,
        lambda: itertools.chain.from_iterable(READERS[file.suffix](file, column) for file in files),
    )


@CORPORA.register("bookcorpusopen")
def bookcorpusopen(path: str, column: str = "text") -> Documents:
    """17,868 books, the hub's lucadiliello/bookcorpusopen; with a path, a local copy of its parquet files."""
    return text(path, column) if path else hub("lucadiliello/bookcorpusopen", column)


@CORPORA.register("hub")
def hub(path: str, column: str = "text") -> Documents:
    """The train split of a data set of the Hugging Face hub, a document a row.

    Args:
        path: owner/name or owner/name/config, which is downloaded whole; or a local folder in the hub's layout, which comes first.
        column: the column that holds the text.

    Raises:
        UserError: it is not within reach, needs a script, or has no such configuration, split or column.
    """
    import datasets  # takes seconds, and only hub corpora need it

    folder, config = _snapshot(path)
    try:
        builder = datasets.load_dataset_builder(str(folder), config or None)
        rows = builder.as_streaming_dataset("train")
        columns = rows.column_names or list(next(iter(rows), {}))
    except (ValueError, RuntimeError, OSError, datasets.exceptions.DatasetsError) as error:
        raise UserError(
            f"config.data.path: {path} cannot be read as a data set of the hub ({first_line(error)})"
        ) from None
    if column not in columns:
        raise UserError(
            f"config.data.column: {path} has no column {column!r}; it has {', '.join(columns)}"
        )

    def read():
        try:
            for batch in rows.select_columns([column]).iter(64):
                yield from (
                    [checked(path, column, row)] for row in batch[column] if row is not None
                )
        except (ValueError, datasets.exceptions.DatasetsError) as error:
            raise UserError(f"{path}: a row cannot be read ({first_line(error)})") from None

    files = [pathlib.Path(file) for file in builder.config.data_files["train"]]
    return of_files(files, f"{config} {column}", read)


@CORPORA.register("pg19")
def pg19(path: str, column: str = "") -> Documents:
    """28,602 books of Project Gutenberg before 1919; see `of_tfds`."""
    return of_tfds("pg19", path, "book_text")


@CORPORA.register("lm1b")
def lm1b(path: str, column: str = "") -> Documents:
    """30,301,028 sentences of news, each a document, shuffled by its authors; see `of_tfds`."""
    return of_tfds("lm1b", path, "text")


def of_tfds(name: str, path: str, column: str) -> Documents:
    """The train split of a data set that TensorFlow Datasets has prepared as array_record, read without TensorFlow.

    Args:
        path: the data_dir, which holds NAME/VERSION/; the newest version is read. TFDS's default where it is empty.

    Raises:
        UserError: nothing is there, or it is prepared in another format.
    """
    builder = tfds.builder(name, "", path)
    if "train" not in builder.info.splits or column not in builder.info.features:
        raise UserError(
            f"{builder.data_dir}: has no split train with a feature {column!r}; prepare it again"
        )
    source, split, folder = (
        builder.as_data_source("train"),
        builder.info.splits["train"],
        pathlib.Path(builder.data_dir),
    )
    step = max(1, min(1024, CHUNK * split.num_examples // max(split.num_bytes, 1)))

    def read():
        for start in range(0, len(source), step):
            rows = source.__getitems__(range(start, min(start + step, len(source))))
            for number, row in enumerate(rows, start=start):
                yield [decode(f"{folder}: row {number}", row[column], "byte of the row")]

    return of_files(sorted(file for file in folder.iterdir() if file.is_file()), column, read)


def _snapshot(path: str) -> tuple[pathlib.Path, str]:
    """Folder and configuration: of a local folder, whose README.md declares the configuration if one is named, else of the hub."""
    folder = pathlib.Path(path).expanduser()
    if path and folder.is_dir():
        return folder, ""
    readme, named = (
        folder.parent / "README.md",
        rf"config_name: *['\"]?{re.escape(folder.name)}['\"]? *$",
    )
    if readme.is_file() and re.search(
        named, readme.read_text("utf-8", errors="replace"), re.MULTILINE
    ):
        return folder.parent, folder.name
    name, _, config = path.rpartition("/") if path.count("/") == 2 else (path, "", "")
    return hugging_face.folder(name), config


def _files(path: str) -> list[pathlib.Path]:
    if not path:
        raise UserError(
            "config.data.path: is empty; name a folder, a glob or a file of .txt, .jsonl or .parquet"
        )
    root = pathlib.Path(path).expanduser()
    found = (
        root.rglob("*")
        if root.is_dir()
        else map(pathlib.Path, glob.glob(str(root), recursive=True))
    )
    files = sorted(file for file in found if file.is_file() and file.suffix in READERS)
    if not files:
        raise UserError(
            f"config.data.path: no {', '.join(READERS)} file at {path}; name a folder, a glob or a file of them"
        )
    return files
