"""Corpora by name: files of every kind, a local copy of the hub, TFDS as array_record, mixtures by weight."""

import pathlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from gpt1_jax.datasets import corpora, documents
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA


def parquet(file: pathlib.Path, **columns) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


def read(name: str, path: object, *column: str) -> list[str]:
    """The documents of a corpus; two passes give the same."""
    found = CORPORA[name](str(path), *column)
    first, second = (["".join(chunks) for chunks in found.read()] for _ in range(2))
    assert first == second
    return first


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Six documents in the three kinds of file, at two depths, with a file of another kind between them."""
    root = tmp_path / "books"
    (root / "more").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"\xef\xbb\xbfa txt\nof two lines")  # with a byte order mark
    (root / "b.jsonl").write_text(
        '{"text": "row one", "id": "1"}\n{"text": "row two \\u00e9", "id": "2"}\n'
    )
    parquet(root / "more" / "c.parquet", text=["page one", None, "page two"], id=["1", "2", "3"])
    (root / "more" / "d.txt").write_text("last")
    (root / "notes.md").write_text("not a book")
    return root


DOCUMENTS = ["a txt\nof two lines", "row one", "row two \u00e9", "page one", "page two", "last"]


def test_a_folder_is_read_to_its_depth_in_a_fixed_order_again_and_again(folder):
    assert read("text", folder) == DOCUMENTS
    assert CORPORA["text"](str(folder)).size == sum(
        file.stat().st_size for file in folder.rglob("*.*") if file.suffix != ".md"
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", DOCUMENTS[:1]),
        ("**/*.txt", [DOCUMENTS[0], DOCUMENTS[5]]),
        ("b.jsonl", DOCUMENTS[1:3]),
        ("more", DOCUMENTS[3:]),
    ],
)
def test_a_glob_a_file_or_a_folder_below(folder, pattern, expected):
    assert read("text", folder / pattern) == expected


def test_the_column_can_be_chosen(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"story": "once"}\n')
    parquet(tmp_path / "y.parquet", story=["upon"], text=["no"])
    assert read("text", tmp_path, "story") == ["once", "upon"]


def test_the_fingerprint_follows_the_content(folder):
    fingerprints = {
        CORPORA["text"](str(folder)).fingerprint,
        CORPORA["text"](str(folder), "id").fingerprint,
    }
    (folder / "notes.md").write_text("changed")  # not read, so nothing changes
    assert CORPORA["text"](str(folder)).fingerprint in fingerprints
    (folder / "more" / "d.txt").write_text("lost")
    fingerprints.add(CORPORA["text"](str(folder)).fingerprint)
    (folder / "more" / "d.txt").rename(folder / "more" / "e.txt")
    fingerprints.add(CORPORA["text"](str(folder)).fingerprint)
    assert len(fingerprints) == 4


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 1000])
def test_a_txt_file_is_read_in_chunks_without_a_trace(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(documents, "CHUNK", chunk)
    (tmp_path / "x.txt").write_bytes("\ufeff\u732b caf\u00e9 \U0001f408\r\n".encode())
    assert read("text", tmp_path) == ["\u732b caf\u00e9 \U0001f408\r\n"]
    (tmp_path / "x.txt").write_bytes("caf\u00e9 \U0001f408".encode() + b"\xe9 a")
    with pytest.raises(UserError, match=r"x\.txt: byte 10 is not UTF-8"):
        read("text", tmp_path)
    (tmp_path / "x.txt").write_bytes("caf\u00e9".encode()[:-1])
    with pytest.raises(UserError, match=r"x\.txt: byte 3 is not UTF-8"):
        read("text", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"  \n", r"x\.txt: is empty; remove it or give it text"),
        ("x.txt", b"ab\xff", r"x\.txt: byte 2 is not UTF-8; convert the file"),
        (
            "x.jsonl",
            b'{"text": "a"}\n{"text": \n',
            r"x\.jsonl:2: not JSON .*expected an object a line with the field 'text'",
        ),
        (
            "x.jsonl",
            b'{"text": "a"}\n{"body": "b"}\n',
            r"x\.jsonl:2: has no text in the field 'text'; set config\.data\.column",
        ),
        ("x.jsonl", b'{"text": 3}\n', r"x\.jsonl:1: has no text in the field"),
        ("x.jsonl", b'["a"]\n', r"x\.jsonl:1: has no text in the field"),
        ("x.jsonl", b'{"text": "a\xff"}\n', r"x\.jsonl:1: byte of the line 11 is not UTF-8"),
        (
            "x.jsonl",
            b'{"text": "a\\ud83d"}\n',
            r"x\.jsonl:1: character 1 of 'text' is half a surrogate pair; write the text anew",
        ),
        ("x.parquet", b"no parquet at all", r"x\.parquet: not a parquet file"),
        ("x.parquet", b"", r"x\.parquet: not a parquet file"),
    ],
)
def test_what_cannot_be_read_names_file_and_row(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read("text", tmp_path)
    assert "\n" not in str(error.value)


def test_a_parquet_file_without_the_column_or_without_text_in_it_is_refused(tmp_path):
    parquet(tmp_path / "x.parquet", title=["a"], body=[1])
    with pytest.raises(
        UserError,
        match=r"x\.parquet: has no column 'text', only title, body; set config\.data\.column",
    ):
        read("text", tmp_path)
    with pytest.raises(
        UserError,
        match=r"x\.parquet: has no text in the column 'body', but int; set config\.data\.column",
    ):
        read("text", tmp_path, "body")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is empty; name a folder"),
        ("nowhere", r"no \.txt.* file at"),
        ("*.txt", r"no \.txt.* file at"),
    ],
)
def test_a_path_without_files_is_refused(tmp_path, path, message):
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"config\.data\.path: " + message):
        CORPORA["text"](str(tmp_path / path) if path else "")


BOOKS = ["first book", "second book", "third book"]


@pytest.fixture
def copy(tmp_path) -> pathlib.Path:
    """A local copy of a data set of the hub, with two configurations; one has no split train, and there is a row without text."""
    configs = "- config_name: plain\n  data_files:\n  - split: train\n    path: plain/train-*\n"
    configs += "- config_name: other\n  data_files:\n  - split: test\n    path: other/*\n"
    root = tmp_path / "copy"
    for shard, books in enumerate((BOOKS[:2], [None, BOOKS[2]])):
        parquet(
            root / "plain" / f"train-0000{shard}-of-00002.parquet",
            title=["t"] * 2,
            text=pa.array(books, pa.string()),
        )
    parquet(root / "other" / "test.parquet", text=["no"])
    (root / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return root


def test_a_local_copy_of_the_hub_is_read_and_comes_before_the_hub(copy, tmp_path, monkeypatch):
    assert read("hub", copy / "plain") == BOOKS
    assert read("hub", copy / "plain", "title") == ["t"] * 4
    # The same rows as the library gives for that layout, the empty one aside.
    rows = datasets.load_dataset(
        str(copy), "plain", split="train", cache_dir=str(tmp_path / "cache")
    )["text"][:]
    assert [row for row in rows if row] == BOOKS
    (tmp_path / "owner").mkdir()
    copy.rename(tmp_path / "owner/name")
    monkeypatch.chdir(tmp_path)
    assert read("hub", "owner/name/plain") == BOOKS
    (tmp_path / "owner/name/plain").rename(
        tmp_path / "owner/name/data"
    )  # now it is only the README that knows the name
    readme = tmp_path / "owner/name/README.md"
    readme.write_text(readme.read_text().replace("plain/", "data/"))
    assert read("hub", "owner/name/plain") == BOOKS


def test_two_local_folders_of_one_name_are_never_confused(tmp_path):
    for place in ("here", "there"):
        parquet(tmp_path / place / "books" / "train.parquet", text=[place])
        assert read("hub", tmp_path / place / "books") == [place]
    fingerprints = {
        CORPORA["hub"](str(tmp_path / place / "books")).fingerprint for place in ("here", "there")
    }
    assert len(fingerprints) == 2


def test_jsonl_in_the_hubs_layout_is_read_too(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"story": "one"}\n{"story": "two"}\n')
    assert read("hub", tmp_path, "story") == ["one", "two"]


@pytest.mark.parametrize(
    ("path", "column", "message"),
    [
        ("", "text", r"config\.data\.path: .*cannot be read as a data set of the hub .*[Cc]onfig"),
        ("absent", "text", r"/absent' is neither a folder nor a data set of the hub"),
        ("other", "text", r"config\.data\.path: .*cannot be read .*train"),
        ("plain", "story", r"config\.data\.column: .* has no column 'story'; it has title, text"),
    ],
)
def test_what_a_local_copy_lacks_is_one_line(copy, path, column, message):
    (copy / "other").rename(copy / "rest")
    (copy / "plain").rename(copy / "data")
    readme = (
        (copy / "README.md").read_text().replace("plain/", "data/").replace("other/*", "rest/*")
    )
    (copy / "README.md").write_text(readme)
    with pytest.raises(UserError, match=message) as error:
        read("hub", copy / path, column)
    assert "\n" not in str(error.value)


def test_a_script_is_never_run(tmp_path):
    (tmp_path / f"{tmp_path.name}.py").write_text("raise SystemExit('run')")
    with pytest.raises(UserError, match=r"cannot be read as a data set of the hub"):
        read("hub", tmp_path)


def test_bookcorpusopen_is_read_from_a_local_copy_else_from_the_hub(copy):
    assert read("bookcorpusopen", copy / "plain") == BOOKS
    with pytest.raises(
        UserError, match=r"the hub's lucadiliello/bookcorpusopen is not whole in the cache"
    ):
        CORPORA["bookcorpusopen"]("")


def prepare(
    data_dir: pathlib.Path,
    name: str,
    column: str,
    texts: list[str],
    version="1.0.0",
    file_format="array_record",
) -> None:
    """Prepares a data set as the real one is, only smaller."""

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({column: tfds.features.Text(), "id": np.int64}),
        )

    def _split_generators(self, download_manager):
        return {
            "train": self._generate_examples(),
            "test": iter([("a", {column: "of another split", "id": 0})]),
        }

    def _generate_examples(self):
        yield from ((number, {column: text, "id": number}) for number, text in enumerate(texts))

    members = {"VERSION": tfds.core.Version(version), "name": name, "pkg_dir_path": data_dir}
    members |= {
        function.__name__: function for function in (_info, _split_generators, _generate_examples)
    }
    with tfds.core.registered.skip_registration():
        builder = type(name, (tfds.core.GeneratorBasedBuilder,), members)
    builder(data_dir=data_dir, file_format=file_format).download_and_prepare()


@pytest.mark.parametrize(("name", "column"), [("pg19", "book_text"), ("lm1b", "text")])
def test_prepared_data_sets_are_read_whole_from_their_newest_version(
    tmp_path, monkeypatch, name, column
):
    texts = [f"text {number} \u00e9" for number in range(1500)]
    prepare(tmp_path, name, column, texts[:3], version="0.9.0")
    prepare(tmp_path, name, column, texts, version="0.10.0")
    assert sorted(read(name, tmp_path)) == sorted(texts)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(
        UserError,
        match=rf"config\.data\.path: TFDS has not prepared {name} at .*/home/tensorflow_datasets;",
    ):
        CORPORA[name]("")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/tensorflow_datasets").symlink_to(tmp_path)
    assert sorted(read(name, "")) == sorted(texts)


def test_tfds_of_another_kind_is_refused_in_one_line(tmp_path):
    prepare(tmp_path / "parquet", "lm1b", "text", ["a"], file_format="parquet")
    with pytest.raises(
        UserError,
        match=r"lm1b/1\.0\.0: is prepared as parquet, array_record expected; prepare it by",
    ):
        CORPORA["lm1b"](str(tmp_path / "parquet"))
    prepare(tmp_path, "pg19", "text", ["a"])
    with pytest.raises(
        UserError, match=r"pg19/1\.0\.0: has no split train with a feature 'book_text'"
    ):
        CORPORA["pg19"](str(tmp_path))


def test_a_mixture_has_its_parts_by_weight(folder, copy):
    parts = corpora.parts("mixture", f"3*text:{folder},1.0*hub:{copy}/plain", "text")
    assert [(part.name, part.weight) for part in parts] == [("text", 0.75), ("hub", 0.25)]
    assert [["".join(chunks) for chunks in part.documents.read()] for part in parts] == [
        DOCUMENTS,
        BOOKS,
    ]
    parts = corpora.parts(
        "mixture",
        f" 1e-1*text:{folder}/a.txt, 0.1*text:{folder}/more, 0.2*hub:{copy}/plain ",
        "text",
    )
    assert [(part.name, round(part.weight, 6)) for part in parts] == [
        ("text1", 0.25),
        ("text2", 0.25),
        ("hub", 0.5),
    ]


def test_a_corpus_is_a_mixture_of_one(folder):
    (part,) = corpora.parts("text", str(folder), "text")
    assert (part.name, part.weight) == ("text", 1.0) and part.documents.fingerprint == CORPORA[
        "text"
    ](str(folder)).fingerprint


@pytest.mark.parametrize(
    "path",
    [
        "",
        "DIR",
        "text:DIR",
        "0.5text:DIR",
        "0*text:DIR",
        "-1*text:DIR",
        "x*text:DIR",
        "nan*text:DIR",
        "1*DIR",
    ],
)
@pytest.mark.parametrize("more", ["{}", "1*text:FOLDER,{}"])
def test_a_malformed_mixture_shows_the_form(folder, path, more):
    with pytest.raises(
        UserError, match=r"is no part of a mixture; expected WEIGHT\*CORPUS:PATH,.*weights above 0"
    ) as error:
        CORPORA["mixture"](more.format(path).replace("FOLDER", str(folder)))
    assert path in str(error.value)


def test_a_mixture_of_mixtures_or_of_unknown_corpora_is_refused(folder):
    with pytest.raises(UserError, match=r"'1\*mixture:x' is no part"):
        CORPORA["mixture"]("1*mixture:x")
    with pytest.raises(UserError, match=r"no corpus is called 'txt'; choose one of: .*text"):
        CORPORA["mixture"](f"1*txt:{folder}")


def test_the_novels_beside_the_project_are_read(real_data):
    documents = CORPORA["text"](str(real_data / "novels"))
    assert len("".join(next(documents.read()))) > 100_000
