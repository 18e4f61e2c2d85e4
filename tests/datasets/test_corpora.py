"""Test the corpora: all kinds of files, a copy of the hub, TFDS as array_record, mixtures."""

import gzip
import json
import os
import pathlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from gpt1_jax.datasets import corpora, documents, files
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA


def parquet(file: pathlib.Path, **columns) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as content:  # the library refuses a path that is not UTF-8
        pq.write_table(pa.table(columns), content)


def read(name: str, path: object, *column: str) -> list[str]:
    """Return the documents with text of a corpus; check that a second pass gives the same."""
    corpus = CORPORA[name](str(path), *column)
    first, second = (["".join(chunks) for chunks in corpus.read()] for _ in range(2))
    assert first == second
    return list(filter(None, first))


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Write six documents in three kinds of file at two depths, and a file of another kind."""
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


def test_folder_is_read_recursively_in_fixed_order(folder):
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
def test_path_may_be_glob_file_or_subfolder(folder, pattern, expected):
    assert read("text", folder / pattern) == expected


def test_linked_folders_are_read_once(folder, tmp_path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/y.txt").write_text("linked")
    (folder / "b_link").symlink_to(tmp_path / "elsewhere")
    (folder / "c_link").symlink_to(tmp_path / "elsewhere/deep")
    (folder / "more/up").symlink_to(folder)  # a cycle
    (folder / "lost").symlink_to(tmp_path / "absent")
    for path in (folder, folder / "**"):
        assert sorted(read("text", path)) == sorted([*DOCUMENTS, "linked"])
    assert CORPORA["text"](str(folder)).left_out == {files.LINKED: 2, files.NO_FILE: 1, ".md": 1}


def test_what_is_left_out_is_counted(folder):
    for name in ("a.TXT", "b.txt.gz", "c.text", "README", "d.gz", ".hidden.txt"):
        (folder / name).write_text("upper case")
    for name in (".ipynb_checkpoints", ".git"):
        (folder / name).mkdir()
        (folder / name / "a.txt").write_text("hidden")
    assert sorted(read("text", folder)) == sorted([*DOCUMENTS, "upper case"])
    corpus = CORPORA["text"](str(folder))
    counts = {".gz": 2, ".md": 1, ".text": 1, files.HIDDEN: 3, "without a suffix": 1}
    assert corpus.left_out == counts
    text = "2 .gz, 1 .md, 1 .text, 3 hidden, 1 without a suffix"
    assert files.describe(corpus.left_out) == text
    with pytest.raises(UserError, match=r"file at .*/c\.text \(only 1 \.text\); name"):
        CORPORA["text"](str(folder / "c.text"))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("all [draft].txt", "all [draft].txt"),
        ("[v2] books/x.txt", "[v2] books"),
        ("[v2] books/x.txt", "[v2] books/*.txt"),
        ("[v2] books/x.txt", "*/x.txt"),
        ("[v2] books/x.txt", "**/*.txt"),
        ("a*/[b]?/x.txt", "a*/[b]?/*.txt"),
        ("x.txt", "[xy].txt"),
        ("x.TXT", "*.txt"),
    ],
)
def test_existing_path_is_literal_before_it_is_a_pattern(tmp_path, name, path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("found")
    assert read("text", tmp_path / path) == ["found"]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_file_name_need_not_be_utf8(tmp_path, suffix):
    if suffix == ".parquet":
        parquet(tmp_path / "x", text=["found"])
    else:
        (tmp_path / "x").write_text("found" if suffix == ".txt" else '{"text": "found"}')
    (tmp_path / "x").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + suffix.encode()))
    assert read("text", tmp_path) == ["found"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can list every folder")
def test_folder_that_cannot_be_listed_is_refused(folder):
    (folder / "more").chmod(0)
    with pytest.raises(UserError, match=r"/more: cannot be listed \(Permission denied\); check"):
        CORPORA["text"](str(folder))


def test_column_can_be_chosen(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"story": "once"}\n')
    parquet(tmp_path / "y.parquet", story=["upon"], text=["no"])
    assert read("text", tmp_path, "story") == ["once", "upon"]


def test_fingerprint_depends_on_names_content_and_column(folder):
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
def test_txt_file_is_independent_of_chunk_size(tmp_path, monkeypatch, chunk):
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
            r"x\.jsonl:2: not JSON .*each line must be an object with the field 'text'",
        ),
        (
            "x.jsonl",
            b'{"text": "a"}\n{"body": "b"}\n',
            r"x\.jsonl:2: has no text in the field 'text'; set config\.data\.column",
        ),
        ("x.jsonl", b'{"text": 3}\n', r"x\.jsonl:1: has no text in the field"),
        (
            "x.jsonl",
            b'{"text": "a", "text": "b"}\n',
            r"x\.jsonl:1: the field 'text' is there twice",
        ),
        ("x.jsonl", b'{"text": ' + b"[" * 100_000, r"x\.jsonl:1: not JSON .*nested too deeply"),
        ("x.jsonl", b'["a"]\n', r"x\.jsonl:1: has no text in the field"),
        ("x.jsonl", b'{"text": "a\xff"}\n', r"x\.jsonl:1: byte of the line 11 is not UTF-8"),
        (
            "x.jsonl",
            b'{"text": "a\\ud83d"}\n',
            r"x\.jsonl:1: character 1 of 'text' is half a surrogate pair; write the text again",
        ),
        ("x.parquet", b"no parquet at all", r"x\.parquet: not a parquet file"),
        ("x.parquet", b"", r"x\.parquet: not a parquet file"),
    ],
)
def test_unreadable_document_names_file_and_row(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read("text", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "hub/train.jsonl", "hub/train.parquet"])
def test_row_without_text_is_an_empty_document(tmp_path, name):
    rows = ["one", None, "", "two"]
    (tmp_path / "hub").mkdir()
    if name.endswith(".jsonl"):
        lines = [json.dumps({"text": row}) + "\n" for row in rows]
        (tmp_path / name).write_text("".join(lines))
    else:
        parquet(tmp_path / name, text=rows)
    corpus, path = ("hub", tmp_path / "hub") if "/" in name else ("text", tmp_path / name)
    documents = [list(chunks) for chunks in CORPORA[corpus](str(path)).read()]
    assert documents == [["one"], [], [""], ["two"]]


def test_file_without_rows_is_an_empty_document(tmp_path):
    (tmp_path / "x.jsonl").write_text("\n")
    parquet(tmp_path / "y.parquet", text=pa.array([], pa.string()))
    assert list(CORPORA["text"](str(tmp_path)).read()) == [[], []]


def damaged_hub_copies(root: pathlib.Path) -> None:
    packed = gzip.compress(b'{"text": "a"}\n' * 500)
    for name, content in {
        "cut/train.jsonl.gz": packed[: len(packed) // 2],
        "crc/train.jsonl.gz": packed[:-8] + bytes(8),
        "json/train.jsonl": b'{"text": "a"}\n{"text"\n',
        "utf8/train.jsonl": b'{"text": "a\xff"}\n',
        "deep/train.jsonl": b'{"text": ' + b"[" * 5000 + b"\n",
    }.items():
        (root / name).parent.mkdir()
        (root / name).write_bytes(content)
    text = pa.array([b"a", b"b\xff"], pa.binary()).view(pa.string())
    parquet(root / "parquet/train.parquet", text=text)


@pytest.mark.parametrize("name", ["cut", "crc", "json", "utf8", "deep", "parquet"])
def test_damaged_copy_of_the_hub_is_one_line(tmp_path, name):
    damaged_hub_copies(tmp_path)
    with pytest.raises(UserError, match=f"{tmp_path}/{name}") as error:
        read("hub", tmp_path / name)
    assert "\n" not in str(error.value)


def test_parquet_text_that_is_not_utf8_names_the_row(tmp_path):
    damaged_hub_copies(tmp_path)
    message = r"train\.parquet: row 1: byte of the row 1 is not UTF-8"
    with pytest.raises(UserError, match=message):
        read("text", tmp_path / "parquet")


def test_parquet_file_without_text_column_is_refused(tmp_path):
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
def test_path_without_files_is_refused(tmp_path, path, message):
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"config\.data\.path: " + message):
        CORPORA["text"](str(tmp_path / path) if path else "")


BOOKS = ["first book", "second book", "third book"]


@pytest.fixture
def copy(tmp_path) -> pathlib.Path:
    """Write a copy of a data set of the hub.

    It has two configurations, one without a split train, and a row without text.
    """
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


def test_local_copy_has_priority_over_the_hub(copy, tmp_path, monkeypatch):
    assert read("hub", copy / "plain") == BOOKS
    assert read("hub", copy / "plain", "title") == ["t"] * 4
    # The library gives the same rows, and the one without text.
    cache = str(tmp_path / "cache")
    rows = datasets.load_dataset(str(copy), "plain", split="train", cache_dir=cache)
    assert [row for row in rows["text"][:] if row] == BOOKS
    (tmp_path / "owner").mkdir()
    copy.rename(tmp_path / "owner/name")
    monkeypatch.chdir(tmp_path)
    assert read("hub", "owner/name/plain") == BOOKS
    # Now only the README has the name of the configuration.
    (tmp_path / "owner/name/plain").rename(tmp_path / "owner/name/data")
    readme = tmp_path / "owner/name/README.md"
    readme.write_text(readme.read_text().replace("plain/", "data/"))
    assert read("hub", "owner/name/plain") == BOOKS


def test_local_folders_of_equal_names_differ(tmp_path):
    fingerprints = set()
    for parent in ("here", "there"):
        folder = tmp_path / parent / "books"
        parquet(folder / "train.parquet", text=[parent])
        assert read("hub", folder) == [parent]
        fingerprints.add(CORPORA["hub"](str(folder)).fingerprint)
    assert len(fingerprints) == 2


def test_jsonl_in_the_layout_of_the_hub_is_read(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"story": "one"}\n{"story": "two"}\n')
    assert read("hub", tmp_path, "story") == ["one", "two"]


@pytest.mark.parametrize(
    ("path", "column", "message"),
    [
        (
            "",
            "text",
            r"config\.data\.path: .*cannot be read as a data set of the hub \(.*[Cc]onfig.*\); ",
        ),
        ("absent", "text", r"/absent' is neither a folder nor a data set of the hub"),
        ("other", "text", r"config\.data\.path: .*cannot be read .*\(.*train.*\); check the path"),
        ("plain", "story", r"config\.data\.column: .* has no column 'story'; it has title, text"),
    ],
)
def test_incomplete_local_copy_is_refused_in_one_line(copy, path, column, message):
    (copy / "other").rename(copy / "rest")
    (copy / "plain").rename(copy / "data")
    readme = (
        (copy / "README.md").read_text().replace("plain/", "data/").replace("other/*", "rest/*")
    )
    (copy / "README.md").write_text(readme)
    with pytest.raises(UserError, match=message) as error:
        read("hub", copy / path, column)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x[1]", "a*", "\udcff", "plain"])
def test_copy_of_the_hub_is_read_completely(tmp_path, name):
    folder = tmp_path / name
    parquet(folder / "train-0.parquet", text=["here"])
    parquet(folder / "data/.ipynb_checkpoints/train-1.parquet", text=["hidden"])
    parquet(tmp_path / "elsewhere/train-2.parquet", text=["linked"])
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "link/up").symlink_to(folder)
    (folder / "README.md").touch()
    (folder / "notes.xyz").touch()
    assert sorted(read("hub", folder)) == ["here", "linked"]
    left_out = CORPORA["hub"](str(folder)).left_out
    assert left_out == {files.HIDDEN: 1, files.LINKED: 1, ".xyz": 1}


def test_script_of_a_data_set_is_not_run(tmp_path):
    (tmp_path / f"{tmp_path.name}.py").write_text("raise SystemExit('run')")
    with pytest.raises(UserError, match=r"cannot be read as a data set of the hub"):
        read("hub", tmp_path)


def test_bookcorpusopen_is_read_from_local_copy_or_hub(copy):
    assert read("bookcorpusopen", copy / "plain") == BOOKS
    with pytest.raises(
        UserError, match=r"the hub's lucadiliello/bookcorpusopen is not complete in the cache"
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
    """Prepare a small data set in the format of the real one."""

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
def test_newest_prepared_version_is_read_completely(tmp_path, monkeypatch, name, column):
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


def test_tfds_of_other_format_or_features_is_refused(tmp_path):
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


def test_damaged_or_misplaced_tfds_is_one_line(tmp_path):
    prepare(tmp_path, "lm1b", "text", ["a"] * 50)
    (file,) = tmp_path.glob("lm1b/1.0.0/*train.array_record*")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{tmp_path}/lm1b/1.0.0: .*cannot be read") as error:
        read("lm1b", tmp_path)
    assert "\n" not in str(error.value)
    other = tmp_path / "\udcff"
    other.mkdir()
    (tmp_path / "lm1b").rename(other / "lm1b")
    with pytest.raises(UserError, match="is not UTF-8, and TFDS cannot open it; rename the folder"):
        read("lm1b", other)


def test_mixture_normalizes_weights(folder, copy):
    parts = corpora.parts("mixture", f"3*text:{folder},1.0*hub:{copy}/plain", "text")
    assert [(part.name, part.weight) for part in parts] == [("text", 0.75), ("hub", 0.25)]
    texts = [["".join(chunks) for chunks in part.documents.read()] for part in parts]
    assert [list(filter(None, part)) for part in texts] == [DOCUMENTS, BOOKS]
    path = f" 1e-1*text:{folder}/a.txt, 0.1*text:{folder}/more, 0.2*hub:{copy}/plain "
    parts = corpora.parts("mixture", path, "text")
    assert [(part.name, round(part.weight, 6)) for part in parts] == [
        ("text1", 0.25),
        ("text2", 0.25),
        ("hub", 0.5),
    ]


def test_single_corpus_is_one_part(folder):
    (part,) = corpora.parts("text", str(folder), "text")
    assert (part.name, part.weight) == ("text", 1.0)
    assert part.documents.fingerprint == CORPORA["text"](str(folder)).fingerprint


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
def test_malformed_mixture_shows_the_form(folder, path, more):
    with pytest.raises(
        UserError,
        match=r"is not a part of a mixture; expected WEIGHT\*CORPUS:PATH,.*weights above 0",
    ) as error:
        CORPORA["mixture"](more.format(path).replace("FOLDER", str(folder)))
    assert path in str(error.value)


def test_nested_mixture_and_unknown_corpus_are_refused(folder):
    with pytest.raises(UserError, match=r"'1\*mixture:x' is not a part"):
        CORPORA["mixture"]("1*mixture:x")
    with pytest.raises(UserError, match=r"no corpus is called 'txt' \(did you mean 'text'"):
        CORPORA["mixture"](f"1*txt:{folder}")


def test_real_novels_are_read(real_data):
    documents = CORPORA["text"](str(real_data / "novels"))
    assert len("".join(next(documents.read()))) > 100_000
