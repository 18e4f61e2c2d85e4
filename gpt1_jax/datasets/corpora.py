"""Define the corpora by name: files, the Hugging Face hub, TensorFlow Datasets, mixtures."""

import collections
import dataclasses
import math
import pathlib
import re
from collections.abc import Iterable, Iterator

from gpt1_jax import inputs
from gpt1_jax.datasets import files, hub_copy, tfds, values
from gpt1_jax.datasets import hub as hugging_face
from gpt1_jax.datasets.documents import CHUNK, READERS, Documents, decode, document, from_files
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA


@dataclasses.dataclass(frozen=True)
class Part:
    """Describe one corpus of a mixture.

    Attributes:
        name: the name in results.
        weight: the share of the rows.
        documents: the texts.
    """

    name: str
    weight: float
    documents: Documents


def parts(name: str, path: str, column: str) -> tuple[Part, ...]:
    """Return the parts of the corpus `name`: one of weight 1, or those of a mixture.

    The weights sum to 1.

    Raises:
        UserError: the errors of the corpus.
    """
    corpus = CORPORA[name](path, column)
    return corpus if isinstance(corpus, tuple) else (Part(name, 1.0, corpus),)


@CORPORA.register("mixture")
def mixture(path: str, column: str = "text") -> tuple[Part, ...]:
    """Return a mixture of corpora, whose rows are drawn by weight, regardless of the sizes.

    Args:
        path: WEIGHT*CORPUS:PATH,WEIGHT*CORPUS:PATH; a path must not contain a comma.
        column: the column of every corpus that holds the text.

    Raises:
        UserError: a part does not have this form, or its weight is not a number above 0; also the
            errors of the parts.
    """
    names, weights, corpora = [], [], []
    for part in path.split(","):
        weight, name, part_path = _parse_part(part)
        names.append(name)
        weights.append(weight)
        corpora.append(CORPORA[name](part_path, column))
    labels = [
        f"{name}{names[:i].count(name) + 1}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
    total = sum(weights)
    shares = [weight / total for weight in weights]
    return tuple(map(Part, labels, shares, corpora))


def _parse_part(part: str) -> tuple[float, str, str]:
    """Return weight, corpus and path of WEIGHT*CORPUS:PATH."""
    match = re.fullmatch(r"\s*([^*:]+)\*(\w+):(.*?)\s*", part)
    try:
        weight = float(match[1]) if match else math.nan
    except ValueError:
        weight = math.nan
    if not match or not 0 < weight < math.inf or match[2] == "mixture":
        raise UserError(
            f"config.data.path: {part!r} is not a part of a mixture; expected "
            "WEIGHT*CORPUS:PATH,WEIGHT*CORPUS:PATH with weights above 0, "
            "such as 0.7*text:DIR,0.3*hub:owner/name"
        )
    return weight, match[2], match[3]


@CORPORA.register("text")
def text(path: str, column: str = "text") -> Documents:
    """Return the documents of files: one per .txt file, one per row of .jsonl and .parquet files.

    Args:
        path: a folder, searched recursively, a glob pattern, or a file (see `files.find`).
        column: the field of a row that holds the text.

    Raises:
        UserError: there is no file, or a file is empty, not UTF-8, or not what its suffix says.
    """
    found = _find_files(path)

    def read() -> Iterator[Iterable[str]]:
        for file in found.files:
            yield from READERS[file.suffix.lower()](file, column)

    return from_files(found, column, read)


@CORPORA.register("bookcorpusopen")
def bookcorpusopen(path: str, column: str = "text") -> Documents:
    """Return the 17,868 books of lucadiliello/bookcorpusopen, a data set of the Hugging Face hub.

    Args:
        path: a local copy of the parquet files, or "" for the hub.
        column: the column that holds the text.
    """
    return text(path, column) if path else hub("lucadiliello/bookcorpusopen", column)


@CORPORA.register("hub")
def hub(path: str, column: str = "text") -> Documents:
    """Return the train split of a data set of the Hugging Face hub, one document per row.

    Args:
        path: a local folder in the hub's layout; else owner/name or owner/name/config, which is
            downloaded completely.
        column: the column that holds the text.

    Raises:
        UserError: the data set cannot be reached, needs a script, or lacks the configuration, the
            split or the column.
    """
    folder, config = _find_dataset(path)
    hugging_face.check_metadata(folder)
    copy = hub_copy.readable(folder)
    with hub_copy.errors(
        folder,
        f"config.data.path: {path} cannot be read as a data set of the hub",
        "check the path, the configuration and the split train",
    ):
        builder = hugging_face.builder(copy, config)
        rows = builder.as_streaming_dataset("train")
        columns = rows.column_names or list(next(iter(rows), {}))
        used = [file for split in builder.config.data_files.values() for file in split]
    if column not in columns:
        raise UserError(
            f"config.data.column: {path} has no column {column!r}; it has {', '.join(columns)}"
        )

    def read() -> Iterator[list[str]]:
        with hub_copy.errors(folder, f"{path}: a row cannot be read", "fetch the files again"):
            for number, row in enumerate(rows.select_columns([column])):
                yield document(f"{path}: row {number}", column, row[column])

    train = [pathlib.Path(file) for file in builder.config.data_files["train"]]
    found = files.Found(train, hub_copy.left_out(folder, used))
    return from_files(found, f"{config} {column}", read)


@CORPORA.register("pg19")
def pg19(path: str, column: str = "") -> Documents:
    """Return 28,602 books of Project Gutenberg published before 1919; see `from_tfds`."""
    return from_tfds("pg19", path, "book_text")


@CORPORA.register("lm1b")
def lm1b(path: str, column: str = "") -> Documents:
    """Return 30,301,028 sentences of news, shuffled by their authors; see `from_tfds`."""
    return from_tfds("lm1b", path, "text")


def from_tfds(name: str, path: str, column: str) -> Documents:
    """Return the train split of a data set that TensorFlow Datasets has prepared as array_record.

    Args:
        name: the data set.
        path: the data_dir that holds NAME/VERSION/, or "" for TFDS's default; the newest version is
            read, without TensorFlow.
        column: the feature that holds the text.

    Raises:
        UserError: there is no such data set, or it is prepared in another format.
    """
    builder = tfds.builder(name, "", path)
    folder, splits = pathlib.Path(builder.data_dir), builder.info.splits
    if "train" not in splits or column not in builder.info.features:
        raise UserError(f"{folder}: has no split train with a feature {column!r}; prepare it again")
    with values.library_errors(f"{folder}: cannot be read", "prepare it again"):
        source, split = builder.as_data_source("train"), splits["train"]
    step = max(1, min(1024, CHUNK * split.num_examples // max(split.num_bytes, 1)))

    def read() -> Iterator[list[str]]:
        with values.library_errors(f"{folder}: a row cannot be read", "prepare it again"):
            for start in range(0, len(source), step):
                rows = source.__getitems__(range(start, min(start + step, len(source))))
                for number, row in enumerate(rows, start=start):
                    yield [decode(f"{folder}: row {number}", row[column], "byte of the row")]

    names = sorted(file for file in folder.iterdir() if file.is_file())
    return from_files(files.Found(names, collections.Counter()), column, read)


def _find_dataset(path: str) -> tuple[pathlib.Path, str]:
    """Return the folder and the configuration of a data set in the hub's layout.

    The configuration of a local folder is named by the last part of the path if the README.md in
    the parent folder declares it. Otherwise the data set is one of the hub.
    """
    folder = inputs.data_path("config.data.path", path)
    if path and folder.is_dir():
        return folder, ""
    readme = folder.parent / "README.md"
    if readme.is_file():
        declaration = rf"config_name: *['\"]?{re.escape(folder.name)}['\"]? *$"
        if re.search(declaration, readme.read_text("utf-8", errors="replace"), re.MULTILINE):
            return folder.parent, folder.name
    name, _, config = path.rpartition("/") if path.count("/") == 2 else (path, "", "")
    return hugging_face.folder(name), config


def _find_files(path: str) -> files.Found:
    if not path:
        raise UserError(
            "config.data.path: is empty; "
            "name a folder, a glob or a file of .txt, .jsonl or .parquet"
        )
    found = files.find(inputs.data_path("config.data.path", path), READERS)
    if not found.files:
        left_out = f" (only {files.describe(found.left_out)})" if found.left_out else ""
        raise UserError(
            f"config.data.path: no {', '.join(READERS)} file at {path}{left_out}; "
            "name a folder, a glob or a file of them"
        )
    return found
