"""Books from files of every kind, tokenised once, split by document."""

import pathlib
import time

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers

from gpt1_jax.datasets import corpora
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe

SENTENCES = [f"book {number} tells of the cat that sat on {number} mats." for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    return bpe.train(lambda: SENTENCES, 90)


def parquet(file: pathlib.Path, **columns) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Six documents in the three kinds of file, at two depths, with a file of another kind between them."""
    root = tmp_path / "books"
    (root / "more").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"\xef\xbb\xbfa txt\nof two lines")  # with a byte order mark
    (root / "b.jsonl").write_text('{"text": "row one", "id": 1}\n{"text": "row two \\u00e9"}\n')
    parquet(root / "more" / "c.parquet", text=["page one", None, "page two"], id=[1, 2, 3])
    (root / "more" / "d.txt").write_text("last")
    (root / "notes.md").write_text("not a book")
    return root


DOCUMENTS = ["a txt\nof two lines", "row one", "row two \u00e9", "page one", "page two", "last"]


def test_a_folder_is_read_to_its_depth_in_a_fixed_order_again_and_again(folder):
    documents = CORPORA["text"](str(folder))
    assert list(documents.read()) == DOCUMENTS and list(documents.read()) == DOCUMENTS
    assert documents.size == sum(file.stat().st_size for file in folder.rglob("*.*") if file.suffix != ".md")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*.txt", DOCUMENTS[:1]), ("**/*.txt", [DOCUMENTS[0], DOCUMENTS[5]]), ("b.jsonl", DOCUMENTS[1:3]), ("more", DOCUMENTS[3:])],
)
def test_a_glob_a_file_or_a_folder_below(folder, pattern, expected):
    assert list(CORPORA["text"](str(folder / pattern)).read()) == expected


def test_the_column_can_be_chosen(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"story": "once"}\n')
    parquet(tmp_path / "y.parquet", story=["upon"], text=["no"])
    assert list(CORPORA["text"](str(tmp_path), "story").read()) == ["once", "upon"]


def test_the_fingerprint_follows_the_content(folder):
    fingerprints = {CORPORA["text"](str(folder)).fingerprint, CORPORA["text"](str(folder), "id").fingerprint}
    (folder / "notes.md").write_text("changed")  # not read, so nothing changes
    assert CORPORA["text"](str(folder)).fingerprint in fingerprints
    (folder / "more" / "d.txt").write_text("lost")
    fingerprints.add(CORPORA["text"](str(folder)).fingerprint)
    (folder / "more" / "d.txt").rename(folder / "more" / "e.txt")
    fingerprints.add(CORPORA["text"](str(folder)).fingerprint)
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"  \n", r"x\.txt: is empty; remove it or give it text"),
        ("x.txt", b"ab\xff", r"x\.txt: byte 2 is not UTF-8; convert the file"),
        ("x.jsonl", b'{"text": "a"}\n{"text": \n', r"x\.jsonl:2: not JSON .*expected an object a line with the field 'text'"),
        ("x.jsonl", b'{"text": "a"}\n{"body": "b"}\n', r"x\.jsonl:2: has no text in the field 'text'; set config\.data\.column"),
        ("x.jsonl", b'{"text": 3}\n', r"x\.jsonl:1: has no text in the field"),
        ("x.jsonl", b'["a"]\n', r"x\.jsonl:1: has no text in the field"),
        ("x.jsonl", b'{"text": "a\xff"}\n', r"x\.jsonl:1: byte of the line 11 is not UTF-8"),
        ("x.parquet", b"no parquet at all", r"x\.parquet: not a parquet file"),
        ("x.parquet", b"", r"x\.parquet: not a parquet file"),
    ],
)
def test_what_cannot_be_read_names_file_and_row(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list(CORPORA["text"](str(tmp_path)).read())
    assert "\n" not in str(error.value)


def test_a_parquet_file_without_the_column_lists_those_it_has(tmp_path):
    parquet(tmp_path / "x.parquet", title=["a"], body=["b"])
    with pytest.raises(UserError, match=r"x\.parquet: has no column 'text', only title, body; set config\.data\.column"):
        list(CORPORA["text"](str(tmp_path)).read())


@pytest.mark.parametrize(
    ("path", "message"), [("", "is empty; name a folder"), ("nowhere", r"no \.txt.* file at"), ("*.txt", r"no \.txt.* file at")]
)
def test_a_path_without_files_is_refused(tmp_path, path, message):
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"config\.data\.path: " + message):
        CORPORA["text"](str(tmp_path / path) if path else "")


def test_hard_wrapped_paragraphs_become_lines():
    wrapped = "  The cat\r\nsat on\r\n the mat.\r\n\r\n \r\nThen it\nslept.\n\n\n"
    assert corpora.reflow(wrapped) == "The cat sat on the mat.\nThen it slept.\n"
    documents = corpora.Documents(lambda: iter(["a\nb\n\nc"]), "", 0)
    assert list(corpora.texts(documents, wrapped=True)) == ["a b\nc"] and list(corpora.texts(documents, wrapped=False)) == ["a\nb\n\nc"]


def documents(texts=tuple(SENTENCES), fingerprint="f") -> corpora.Documents:
    return corpora.Documents(lambda: iter(texts), fingerprint, 100)


def prepare(cache, tokenizer, source=None, wrapped=False, validation=0.1):
    return corpora.prepare(source or documents(), tokenizer, wrapped=wrapped, validation=validation, cache=str(cache))


@pytest.mark.parametrize(("validation", "every"), [(0.1, 10), (0.05, 20), (0.25, 4), (0.5, 2), (0.01, 100)])
def test_the_first_and_every_nth_document_are_held_out(tmp_path, tokenizer, validation, every):
    splits = prepare(tmp_path, tokenizer, validation=validation).splits
    expected = {"train": [], "validation": []}
    for index, text in enumerate(SENTENCES):
        expected["train" if index % every else "validation"] += [*tokenizer.encode([text])[0], tokenizer.newline]
    assert {name: ids.tolist() for name, ids in splits.items()} == expected


def test_the_tokens_decode_to_the_text_and_the_counts_are_true(tmp_path, tokenizer):
    prepared = prepare(tmp_path, tokenizer)
    train = [text for index, text in enumerate(SENTENCES) if index % 10]
    words = "\n".join(text.replace(".", " .") for text in train)
    assert tokenizer.decode(prepared.splits["train"]).split() == words.split()
    count = prepared.about["splits"]["train"]
    assert count == {"documents": 36, "characters": sum(len(text) + 1 for text in train), "tokens": len(prepared.splits["train"])}
    assert prepared.about["tokenizer"] == tokenizer.fingerprint


def test_no_validation_holds_nothing_out(tmp_path, tokenizer):
    splits = prepare(tmp_path, tokenizer, validation=0.0).splits
    assert len(splits["validation"]) == 0 and len(splits["train"]) > 0


def test_long_documents_are_cut_without_a_trace(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(corpora, "PIECE", 64)
    monkeypatch.setattr(corpora, "CHUNK", 256)
    long = "\n".join(SENTENCES)
    ids = prepare(tmp_path, tokenizer, documents([long]), validation=0.0).splits["train"]
    assert ids.tolist() == [*tokenizer.encode([long])[0], tokenizer.newline]


def test_a_corpus_is_tokenised_once(tmp_path, tokenizer):
    first = prepare(tmp_path, tokenizer)

    def read():
        raise AssertionError("the second call must not read the documents")

    again = prepare(tmp_path, tokenizer, corpora.Documents(read, "f", 100))
    np.testing.assert_array_equal(first.splits["train"], again.splits["train"])
    assert isinstance(again.splits["train"], np.memmap) and not again.splits["train"].flags.writeable


def test_other_texts_tokenizers_and_settings_have_folders_of_their_own(tmp_path, tokenizer):
    other = bpe.train(lambda: SENTENCES, tokenizer.vocab_size - 1)
    prepare(tmp_path, tokenizer)
    prepare(tmp_path, other)
    prepare(tmp_path, tokenizer, documents(fingerprint="g"))
    prepare(tmp_path, tokenizer, wrapped=True)
    prepare(tmp_path, tokenizer, validation=0.2)
    assert len(list((tmp_path / "tokens").iterdir())) == 5


def test_a_pass_that_breaks_off_leaves_nothing(tmp_path, tokenizer):
    def read():
        yield from SENTENCES
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, tokenizer, corpora.Documents(read, "f", 100))
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("texts", "validation"), [(["only one"], 0.1), ([], 0.0), (["one"], 1.0)])
def test_too_few_documents_for_a_split_are_refused(tmp_path, tokenizer, texts, validation):
    with pytest.raises(UserError, match=r"config\.data\.validation: [01] documents cannot be split"):
        prepare(tmp_path, tokenizer, documents(texts), validation=validation)
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_take_the_smallest_type_that_holds_them(tmp_path, size, dtype):
    names = ["<unk>", "\n</w>", *(f"{number}</w>" for number in range(size - 2))]
    model = tokenizers.models.BPE(
        {name: i for i, name in enumerate(names)}, [], unk_token="<unk>", end_of_word_suffix="</w>", ignore_merges=True
    )
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(bpe.SPECIALS))
    wide = bpe.Tokenizer(backend)
    ids = prepare(tmp_path, wide, documents(["5"]), validation=0.0).splits["train"]
    assert wide.vocab_size == size and ids.dtype == dtype
    assert ids.nbytes == next((tmp_path / "tokens").rglob("train.bin")).stat().st_size


def test_windows_are_runs_of_tokens():
    windows = corpora.Windows(np.arange(100, dtype=np.uint16), 8)
    assert len(windows) == 92
    batch = windows[np.array([0, 91])]
    assert batch["tokens"].tolist() == [list(range(9)), list(range(91, 100))] and batch["tokens"].dtype == np.int32
    assert len(corpora.Windows(np.arange(5, dtype=np.uint16), 8)) == 0


HUB_README = "---\nconfigs:\n- config_name: plain_text\n  data_files:\n  - split: train\n    path: plain_text/train-*\n---\n"


def test_bookcorpusopen_is_read_from_a_local_copy_in_the_hubs_layout(tmp_path):
    (tmp_path / "README.md").write_text(HUB_README)
    for shard, books in enumerate((["first book", "second book"], ["third book"])):
        parquet(tmp_path / "plain_text" / f"train-0000{shard}-of-00002.parquet", title=["t"] * len(books), text=books)
    assert list(CORPORA["bookcorpusopen"](str(tmp_path)).read()) == ["first book", "second book", "third book"]
    # The same rows as the library itself gives for that layout.
    assert datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))["text"][:] == [
        "first book",
        "second book",
        "third book",
    ]


def test_a_hub_out_of_reach_is_one_line_at_once():
    begin = time.perf_counter()
    with pytest.raises(
        UserError, match=r"config\.data\.corpus: the hub's lucadiliello/bookcorpusopen is out of reach; .*config\.data\.path$"
    ):
        CORPORA["bookcorpusopen"]("")
    assert time.perf_counter() - begin < 1


def test_the_novels_beside_the_project_are_read(real_data):
    documents = CORPORA["text"](str(real_data / "novels"))
    first = next(iter(corpora.texts(documents, wrapped=True)))
    assert len(first) > 100_000 and max(map(len, first.splitlines())) > 200  # re-flowed: a paragraph a line
