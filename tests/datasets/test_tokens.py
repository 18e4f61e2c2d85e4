"""Test the token cache: splits, streaming, one pass per corpus, continuation, equal files."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import tokenizers

from gpt1_jax.datasets import documents, tokenization, tokens
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe

SENTENCES = [f"book {number} tells of the cat that sat on {number} mats." for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    return bpe.train(lambda: SENTENCES, 90)


def make_documents(texts=tuple(SENTENCES), fingerprint="f") -> Documents:
    return Documents(lambda: ([text] for text in texts), fingerprint, 100)


def interrupted_documents(texts=tuple(SENTENCES)) -> Documents:
    """Return documents whose pass is interrupted after the texts."""

    def read():
        yield from ([text] for text in texts)
        raise KeyboardInterrupt

    return Documents(read, "f", 100)


def prepare(cache, tokenizer, corpus=None, rewrap_lines=False, validation=0.1, **options):
    return tokens.prepare(
        corpus or make_documents(),
        tokenizer,
        rewrap_lines=rewrap_lines,
        validation=validation,
        cache=str(cache),
        **options,
    )


@pytest.mark.parametrize(
    ("validation", "every"), [(0.1, 10), (0.05, 20), (0.25, 4), (0.5, 2), (0.01, 100)]
)
def test_first_and_every_nth_document_are_held_out(tmp_path, tokenizer, validation, every):
    splits = prepare(tmp_path, tokenizer, validation=validation).splits
    expected = {"train": [], "validation": []}
    for index, text in enumerate(SENTENCES):
        (ids,) = tokenizer.encode([text])
        expected["train" if index % every else "validation"] += [*ids, tokenizer.newline]
    assert {name: ids.tolist() for name, ids in splits.items()} == expected


def test_tokens_decode_to_the_text_and_counts_are_correct(tmp_path, tokenizer):
    prepared = prepare(tmp_path, tokenizer)
    train = [text for index, text in enumerate(SENTENCES) if index % 10]
    words = "\n".join(text.replace(".", " .") for text in train)
    assert tokenizer.decode(prepared.splits["train"]).split() == words.split()
    count = prepared.about["splits"]["train"]
    assert count == {
        "documents": 36,
        "characters": sum(len(text) + 1 for text in train),
        "tokens": len(prepared.splits["train"]),
    }
    assert prepared.about["tokenizer"] == tokenizer.fingerprint


def test_no_document_is_held_out_without_validation(tmp_path, tokenizer):
    splits = prepare(tmp_path, tokenizer, validation=0.0).splits
    assert len(splits["validation"]) == 0 and len(splits["train"]) > 0


@pytest.mark.parametrize("rewrap_lines", [False, True])
def test_ids_are_independent_of_chunks_pieces_and_batches(
    tmp_path, tokenizer, monkeypatch, rewrap_lines
):
    (tmp_path / "books").mkdir()
    # lines, paragraphs, a single line, line ends of Windows
    for number, separator in enumerate(("\n", "\n\n", " ", " \r\n ")):
        text = separator.join(SENTENCES) + "\n"
        (tmp_path / f"books/{number}.txt").write_text(text, newline="")
    rows = [json.dumps({"text": text}) + "\n" for text in (*SENTENCES, " ", "")]
    (tmp_path / "books/short.jsonl").write_text("".join(rows))
    corpus = CORPORA["text"](str(tmp_path / "books"))
    whole = prepare(tmp_path / "whole", tokenizer, corpus, rewrap_lines)
    assert whole.about["splits"]["train"]["documents"] == 39
    for chunk, piece, batch in ((7, 20, 100), (64, 64, 64), (1000, 300, 1), (50, 10_000, 3_000)):
        monkeypatch.setattr(documents, "CHUNK", chunk)
        monkeypatch.setattr(tokenization, "PIECE", piece)
        monkeypatch.setattr(tokenization, "BATCH", batch)
        cut = prepare(tmp_path / f"{chunk}", tokenizer, corpus, rewrap_lines)
        assert cut.about["splits"] == whole.about["splits"]
        for name in tokenization.SPLITS:
            np.testing.assert_array_equal(cut.splits[name], whole.splits[name])
    texts = ["".join(chunks) for chunks in corpus.read()]
    if rewrap_lines:
        paragraphs = [text.replace("\r", "").split("\n\n") for text in texts]
        texts = ["\n".join(" ".join(lines.split()) for lines in text) for text in paragraphs]
    for number, name in ((0, "validation"), (1, "train")):
        expected = [*tokenizer.encode([texts[number]])[0], tokenizer.newline]
        assert whole.splits[name][: len(expected)].tolist() == expected


def test_corpus_is_tokenized_once(tmp_path, tokenizer):
    first = prepare(tmp_path, tokenizer)

    def read():
        raise AssertionError("the second call must not read the documents")

    again = prepare(tmp_path, tokenizer, Documents(read, "f", 100))
    np.testing.assert_array_equal(first.splits["train"], again.splits["train"])
    assert isinstance(again.splits["train"], np.memmap)
    assert not again.splits["train"].flags.writeable


def test_every_change_of_inputs_has_a_new_folder(tmp_path, tokenizer):
    other = bpe.train(lambda: SENTENCES, tokenizer.vocab_size - 1)
    prepare(tmp_path, tokenizer)
    prepare(tmp_path, other)
    prepare(tmp_path, tokenizer, make_documents(fingerprint="g"))
    prepare(tmp_path, tokenizer, rewrap_lines=True)
    prepare(tmp_path, tokenizer, validation=0.2)
    assert len(list((tmp_path / "tokens").iterdir())) == 5


@pytest.fixture
def small(monkeypatch):
    """Make many batches of a small text."""
    monkeypatch.setattr(tokenization, "PIECE", 64)
    monkeypatch.setattr(tokenization, "BATCH", 256)


@pytest.mark.parametrize("after", [1, 12, 40])
def test_interrupted_pass_continues(tmp_path, tokenizer, small, monkeypatch, after):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, tokenizer, interrupted_documents(SENTENCES[:after]))
    (partial,) = (tmp_path / "tokens").iterdir()
    done = batches(tmp_path)
    assert (done > 2) == (after == 40)
    for name in tokenization.SPLITS:  # a machine that loses its power may leave this
        with open(partial / f"{name}.bin", "ab") as file:
            file.write(b"torn")
    encoded, encode = [], bpe.Tokenizer.encode
    monkeypatch.setattr(
        bpe.Tokenizer, "encode", lambda self, texts: encoded.extend(texts) or encode(self, texts)
    )
    again = prepare(tmp_path, tokenizer)
    assert not done or sum(map(len, encoded)) < sum(map(len, SENTENCES)) * 0.8
    assert_same(again, prepare(tmp_path / "other", tokenizer))
    assert sorted(file.name for file in (tmp_path / "tokens").rglob("*") if file.is_file()) == [
        "about.json",
        "train.bin",
        "validation.bin",
    ]


def assert_same(one: tokens.TokenizedCorpus, other: tokens.TokenizedCorpus):
    assert one.about["splits"] == other.about["splits"]
    assert one.about["pass"]["megabytes"] == other.about["pass"]["megabytes"]
    for name in tokenization.SPLITS:
        assert one.splits[name].tobytes() == other.splits[name].tobytes()


def cut(file: pathlib.Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def lengthen(file: pathlib.Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0\0")


def zero(file: pathlib.Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def flip(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def empty(file: pathlib.Path) -> None:
    file.write_bytes(b"")


def write_null(file: pathlib.Path) -> None:
    file.write_text("null")


@pytest.mark.parametrize("damage", [cut, lengthen, zero, flip, empty, pathlib.Path.unlink])
@pytest.mark.parametrize("name", ["train.bin", "validation.bin", "about.json"])
def test_damaged_cache_is_written_again(tmp_path, tokenizer, name, damage):
    first, lines = prepare(tmp_path, tokenizer), []
    before = {split: ids.tobytes() for split, ids in first.splits.items()}
    (folder,) = (tmp_path / "tokens").iterdir()
    damage(folder / name)
    again = prepare(tmp_path, tokenizer, log_line=lines.append)
    assert {split: ids.tobytes() for split, ids in again.splits.items()} == before
    (line,) = lines
    assert line.startswith(f"{folder}: {name} ") and line.endswith(
        "; the corpus is tokenized again"
    )
    assert prepare(tmp_path, tokenizer, log_line=lines.append).about == again.about
    assert len(lines) == 1


@pytest.mark.parametrize("damage", [zero, flip, cut, empty, write_null, "piece"])
@pytest.mark.parametrize("name", ["train.bin", "progress.json"])
def test_invalid_record_starts_a_new_pass(tmp_path, tokenizer, small, monkeypatch, name, damage):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, tokenizer, interrupted_documents())
    (partial,) = (tmp_path / "tokens").iterdir()
    lines = []
    if damage == "piece":
        monkeypatch.setattr(tokenization, "PIECE", 100)
    elif damage is cut and name == "train.bin":  # bytes after the recorded ones do not count
        record = json.loads((partial / "progress.json").read_text())
        os.truncate(partial / name, record["files"]["train"]["bytes"] - 1)
    else:
        damage(partial / name)
    again = prepare(tmp_path, tokenizer, log_line=lines.append)
    assert_same(again, prepare(tmp_path / "other", tokenizer))
    assert len(lines) == (damage != "piece")
    assert all(line.startswith(f"{partial}: {name} ") for line in lines)


def test_documents_without_text_are_counted(tmp_path, tokenizer):
    texts = [SENTENCES[0], "", *SENTENCES[1:], " \n"]
    prepared = prepare(tmp_path, tokenizer, make_documents(texts))
    assert prepared.about["blank_documents"] == 2
    assert_same(prepared, prepare(tmp_path / "other", tokenizer))


@pytest.mark.parametrize("rewrap_lines", [False, True])
def test_long_words_are_cut_and_counted(tmp_path, tokenizer, monkeypatch, rewrap_lines):
    book = tmp_path / "book.txt"
    text = f"{SENTENCES[0]} {'mats' * 600} \u732b{'b' * 3000}, {SENTENCES[1]}"
    book.write_text(text, encoding="utf-8")
    corpus = CORPORA["text"](str(book))
    for chunk, piece in ((1 << 20, 1 << 14), (100, 50), (999, 2000)):
        monkeypatch.setattr(documents, "CHUNK", chunk)
        monkeypatch.setattr(tokenization, "PIECE", piece)
        cache = tmp_path / str(chunk)
        prepared = prepare(cache, tokenizer, corpus, rewrap_lines, validation=0.0)
        assert prepared.about["splits"]["train"]["characters"] == len(text) + 1
        assert prepared.about["pass"]["megabytes"] == (len(text.encode()) + 1) / 1e6
        assert prepared.about["word_cuts"] == 2 + 3
        (ids,) = tokenizer.encode([text])
        assert prepared.splits["train"].tolist() == [*ids, tokenizer.newline]


PASS = """
import pathlib, sys, time
from gpt1_jax.datasets import tokenization, tokens
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe
source, cache, tokenizer = sys.argv[1:]
tokenization.PIECE, tokenization.BATCH = 1 << 10, 1 << 12
encode = bpe.Tokenizer.encode
bpe.Tokenizer.encode = lambda self, texts: time.sleep(0.05) or encode(self, texts)
corpus, tokenizer = CORPORA["text"](source), bpe.load(pathlib.Path(tokenizer))
tokens.prepare(corpus, tokenizer, rewrap_lines=True, validation=0.3, cache=cache)
"""


def write_books(folder: pathlib.Path) -> None:
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text("\n\n".join(SENTENCES * 20))


@pytest.fixture
def begin(tmp_path, tokenizer):
    """Return begin(cache), which starts a slow pass over four books in a new process."""
    write_books(tmp_path / "books")
    tokenizer.save(tmp_path / "tokenizer.json")

    def start(cache: pathlib.Path) -> subprocess.Popen:
        paths = (tmp_path / "books", cache, tmp_path / "tokenizer.json")
        command = [sys.executable, "-c", PASS, *map(str, paths)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    return start


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)


def files(cache: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (cache / "tokens").rglob("*.bin")}


def batches(cache: pathlib.Path) -> int:
    """Return the number of recorded batches of an incomplete pass."""
    records = (cache / "tokens").glob("*.partial/progress.json")
    return max((json.loads(file.read_text())["batches"] for file in records), default=0)


def test_repeatedly_killed_pass_ends_with_equal_bytes(begin, tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for more in range(3):
        process, before = begin(killed), batches(killed)
        wait_until(lambda: batches(killed) > before + more)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert batches(killed) >= 6
    for cache in (killed, undisturbed):
        process = begin(cache)
        process.communicate()
        assert process.returncode == 0
    assert files(killed) == files(undisturbed) and len(files(killed)) == 2
    assert not list((killed / "tokens").glob("*.partial"))


def test_second_process_waits_for_the_first(begin, tmp_path):
    first = begin(tmp_path)
    wait_until(lambda: batches(tmp_path) > 0)
    first.send_signal(signal.SIGSTOP)
    second = begin(tmp_path)
    assert "another process writes" in second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    first.wait(timeout=60)
    (folder,) = (tmp_path / "tokens").glob("*[!l]")
    inode = (folder / "train.bin").stat().st_ino
    assert second.wait(timeout=60) == 0 and first.returncode == 0
    first.stderr.close(), second.stderr.close()
    assert list((tmp_path / "tokens").iterdir()) == [folder]
    assert (folder / "train.bin").stat().st_ino == inode and not (folder / "lock").exists()


@pytest.mark.parametrize(
    ("separator", "rewrap_lines"), [("\n", False), ("\n\n", True), (" ", True)]
)
def test_memory_is_independent_of_file_size(
    tmp_path, tokenizer, monkeypatch, separator, rewrap_lines
):
    monkeypatch.setattr(documents, "CHUNK", 1 << 12)
    monkeypatch.setattr(tokenization, "PIECE", 1 << 11)
    monkeypatch.setattr(tokenization, "BATCH", 1 << 14)
    peaks = []
    for copies in (40, 240):
        book = tmp_path / f"{copies}.txt"
        book.write_text(separator.join(SENTENCES * copies))
        corpus = CORPORA["text"](str(book))
        tracemalloc.start()
        bpe.train(functools.partial(tokens.texts, corpus, rewrap_lines), 300)
        prepare(tmp_path / "cache", tokenizer, corpus, rewrap_lines, validation=0.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert book.stat().st_size > 400_000
    assert peaks[1] < peaks[0] + 150_000, peaks


def test_speed_covers_the_whole_pass(tmp_path, tokenizer):
    speed = prepare(tmp_path, tokenizer).about["pass"]
    assert speed["megabytes"] == sum(len(text) + 1 for text in SENTENCES) / 1e6
    assert speed["megabytes_per_second"] == pytest.approx(speed["megabytes"] / speed["seconds"])


LIMITED_PASS = """
import resource, signal, sys
from gpt1_jax.errors import UserError
limit = int(sys.argv.pop())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    exec(sys.argv.pop())
except UserError as error:
    sys.exit(str(error))
"""


def test_full_disk_is_one_line_and_progress_is_kept(tmp_path, tokenizer):
    write_books(tmp_path / "books")
    tokenizer.save(tmp_path / "tokenizer.json")
    paths = (tmp_path / "books", tmp_path, tmp_path / "tokenizer.json")
    program = PASS.replace("0.05", "0.0")
    command = [sys.executable, "-c", LIMITED_PASS, *map(str, paths), program]
    process = subprocess.run([*command, "20000"], stderr=subprocess.PIPE, text=True)
    assert process.returncode == 1 and process.stderr.count("\n") == 1, process.stderr
    assert process.stderr.startswith(
        f"config.data.cache: cannot write to {tmp_path}/tokens (File too large); free disk space"
    )
    assert batches(tmp_path) > 2
    assert subprocess.run([*command, "200000000"]).returncode == 0 and len(files(tmp_path)) == 2


@pytest.mark.parametrize(("texts", "validation"), [(["only one"], 0.1), ([], 0.0), (["one"], 1.0)])
def test_too_few_documents_for_a_split_are_refused(tmp_path, tokenizer, texts, validation):
    with pytest.raises(
        UserError, match=r"config\.data\.validation: [01] documents cannot be split"
    ):
        prepare(tmp_path, tokenizer, make_documents(texts), validation=validation)
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_have_the_smallest_type(tmp_path, size, dtype):
    names = ["<unk>", "\n</w>", *(f"{number}</w>" for number in range(size - 2))]
    model = tokenizers.models.BPE(
        {name: i for i, name in enumerate(names)},
        [],
        unk_token="<unk>",
        end_of_word_suffix="</w>",
        ignore_merges=True,
    )
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(bpe.SPECIALS))
    wide = bpe.Tokenizer(backend)
    ids = prepare(tmp_path, wide, make_documents(["5"]), validation=0.0).splits["train"]
    assert wide.vocab_size == size and ids.dtype == dtype
    assert ids.nbytes == next((tmp_path / "tokens").rglob("train.bin")).stat().st_size


def test_windows_are_runs_of_tokens():
    windows = tokens.Windows(np.arange(100, dtype=np.uint16), 8)
    assert len(windows) == 92
    batch = windows[np.array([0, 91])]["tokens"]
    assert batch.tolist() == [list(range(9)), list(range(91, 100))]
    assert batch.dtype == np.int32
    assert len(tokens.Windows(np.arange(5, dtype=np.uint16), 8)) == 0
