"""The pass over a corpus: split by document, streaming, done once, going on after any end, the same file in the end."""

import json
import pathlib
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import tokenizers

from gpt1_jax.datasets import documents as readers
from gpt1_jax.datasets import tokens
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe

SENTENCES = [f"book {number} tells of the cat that sat on {number} mats." for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> bpe.Tokenizer:
    return bpe.train(lambda: SENTENCES, 90)


def documents(texts=tuple(SENTENCES), fingerprint="f") -> Documents:
    return Documents(lambda: ([text] for text in texts), fingerprint, 100)


def prepare(cache, tokenizer, source=None, rewrap_lines=False, validation=0.1):
    return tokens.prepare(
        source or documents(),
        tokenizer,
        rewrap_lines=rewrap_lines,
        validation=validation,
        cache=str(cache),
    )


@pytest.mark.parametrize(
    ("validation", "every"), [(0.1, 10), (0.05, 20), (0.25, 4), (0.5, 2), (0.01, 100)]
)
def test_the_first_and_every_nth_document_are_held_out(tmp_path, tokenizer, validation, every):
    splits = prepare(tmp_path, tokenizer, validation=validation).splits
    expected = {"train": [], "validation": []}
    for index, text in enumerate(SENTENCES):
        expected["train" if index % every else "validation"] += [
            *tokenizer.encode([text])[0],
            tokenizer.newline,
        ]
    assert {name: ids.tolist() for name, ids in splits.items()} == expected


def test_the_tokens_decode_to_the_text_and_the_counts_are_true(tmp_path, tokenizer):
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


def test_no_validation_holds_nothing_out(tmp_path, tokenizer):
    splits = prepare(tmp_path, tokenizer, validation=0.0).splits
    assert len(splits["validation"]) == 0 and len(splits["train"]) > 0


@pytest.mark.parametrize("rewrap_lines", [False, True])
def test_the_ids_do_not_depend_on_chunks_pieces_and_batches(
    tmp_path, tokenizer, monkeypatch, rewrap_lines
):
    (tmp_path / "books").mkdir()
    for number, joint in enumerate(
        ("\n", "\n\n", " ", " \r\n ")
    ):  # lines, paragraphs, a single line, ends of Windows
        (tmp_path / f"books/{number}.txt").write_text(joint.join(SENTENCES) + "\n", newline="")
    (tmp_path / "books/short.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in (*SENTENCES, " ", ""))
    )
    source = CORPORA["text"](str(tmp_path / "books"))
    whole = prepare(tmp_path / "whole", tokenizer, source, rewrap_lines)
    for chunk, piece, batch in ((7, 20, 100), (64, 64, 64), (1000, 300, 1), (50, 10_000, 3_000)):
        monkeypatch.setattr(readers, "CHUNK", chunk)
        monkeypatch.setattr(tokens, "PIECE", piece)
        monkeypatch.setattr(tokens, "BATCH", batch)
        cut = prepare(tmp_path / f"{chunk}", tokenizer, source, rewrap_lines)
        assert (
            cut.about["splits"] == whole.about["splits"]
            and whole.about["splits"]["train"]["documents"] == 39
        )
        for name in tokens.SPLITS:
            np.testing.assert_array_equal(cut.splits[name], whole.splits[name])
    texts = ["".join(chunks) for chunks in source.read()]
    texts = (
        [
            "\n".join(" ".join(lines.split()) for lines in text.replace("\r", "").split("\n\n"))
            for text in texts
        ]
        if rewrap_lines
        else texts
    )
    for number, name in ((0, "validation"), (1, "train")):
        expected = [*tokenizer.encode([texts[number]])[0], tokenizer.newline]
        assert whole.splits[name][: len(expected)].tolist() == expected


def test_a_corpus_is_tokenised_once(tmp_path, tokenizer):
    first = prepare(tmp_path, tokenizer)

    def read():
        raise AssertionError("the second call must not read the documents")

    again = prepare(tmp_path, tokenizer, Documents(read, "f", 100))
    np.testing.assert_array_equal(first.splits["train"], again.splits["train"])
    assert (
        isinstance(again.splits["train"], np.memmap) and not again.splits["train"].flags.writeable
    )


def test_other_texts_tokenizers_and_settings_have_folders_of_their_own(tmp_path, tokenizer):
    other = bpe.train(lambda: SENTENCES, tokenizer.vocab_size - 1)
    prepare(tmp_path, tokenizer)
    prepare(tmp_path, other)
    prepare(tmp_path, tokenizer, documents(fingerprint="g"))
    prepare(tmp_path, tokenizer, rewrap_lines=True)
    prepare(tmp_path, tokenizer, validation=0.2)
    assert len(list((tmp_path / "tokens").iterdir())) == 5


@pytest.fixture
def small(monkeypatch):
    """Many batches of little text."""
    monkeypatch.setattr(tokens, "PIECE", 64)
    monkeypatch.setattr(tokens, "BATCH", 256)


@pytest.mark.parametrize("after", [1, 12, 40])
def test_a_pass_that_breaks_off_goes_on_where_it_was(
    tmp_path, tokenizer, small, monkeypatch, after
):
    def read():
        yield from ([text] for text in SENTENCES[:after])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, tokenizer, Documents(read, "f", 100))
    (partial,) = (tmp_path / "tokens").iterdir()
    record = partial / "progress.json"
    done = (
        json.loads(record.read_text())
        if record.exists()
        else {"batches": 0, "bytes": dict.fromkeys(tokens.SPLITS, 0)}
    )
    assert (done["batches"] > 2) == (after == 40)
    for name in tokens.SPLITS:  # what a machine that lost its power may have left
        with open(partial / f"{name}.bin", "ab") as file:
            file.write(b"torn")
    encoded, encode = [], bpe.Tokenizer.encode
    monkeypatch.setattr(
        bpe.Tokenizer, "encode", lambda self, texts: encoded.extend(texts) or encode(self, texts)
    )
    again = prepare(tmp_path, tokenizer)
    assert not done["batches"] or sum(map(len, encoded)) < sum(map(len, SENTENCES)) * 0.8
    assert_same(again, prepare(tmp_path / "other", tokenizer))
    assert sorted(file.name for file in (tmp_path / "tokens").rglob("*") if file.is_file()) == [
        "about.json",
        "train.bin",
        "validation.bin",
    ]


def assert_same(one: tokens.TokenizedCorpus, other: tokens.TokenizedCorpus):
    assert (
        one.about["splits"] == other.about["splits"]
        and one.about["pass"]["megabytes"] == other.about["pass"]["megabytes"]
    )
    for name in tokens.SPLITS:
        assert one.splits[name].tobytes() == other.splits[name].tobytes()


@pytest.mark.parametrize("lost", ["train.bin", "piece"])
def test_a_record_that_no_longer_holds_is_not_gone_by(
    tmp_path, tokenizer, small, monkeypatch, lost
):
    def read():
        yield from ([text] for text in SENTENCES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, tokenizer, Documents(read, "f", 100))
    (partial,) = (tmp_path / "tokens").iterdir()
    if lost == "piece":
        monkeypatch.setattr(tokens, "PIECE", 100)
    else:
        (partial / lost).write_bytes(b"")
    assert_same(prepare(tmp_path, tokenizer), prepare(tmp_path / "other", tokenizer))


PASS = """
import pathlib, sys, time
from gpt1_jax.datasets import tokens
from gpt1_jax.registry import CORPORA
from gpt1_jax.text import bpe
source, cache, tokenizer = sys.argv[1:]
tokens.PIECE, tokens.BATCH = 1 << 10, 1 << 12
encode = bpe.Tokenizer.encode
bpe.Tokenizer.encode = lambda self, texts: time.sleep(0.05) or encode(self, texts)
tokens.prepare(CORPORA["text"](source), bpe.load(pathlib.Path(tokenizer)), rewrap_lines=True, validation=0.3, cache=cache)
"""


@pytest.fixture
def begin(tmp_path, tokenizer):
    """begin(cache): starts a slow pass over four books in a process of its own."""
    tokenizer.save(tmp_path / "tokenizer.json")
    (tmp_path / "books").mkdir()
    for number in range(4):
        (tmp_path / f"books/{number}.txt").write_text("\n\n".join(SENTENCES * 20))
    line = [sys.executable, "-c", PASS, str(tmp_path / "books")]

    def start(cache: pathlib.Path) -> subprocess.Popen:
        return subprocess.Popen(
            [*line, str(cache), str(tmp_path / "tokenizer.json")], stderr=subprocess.PIPE, text=True
        )

    return start


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def files(cache: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (cache / "tokens").rglob("*.bin")}


def batches(cache: pathlib.Path) -> int:
    return max(
        (
            json.loads(file.read_text())["batches"]
            for file in (cache / "tokens").glob("*.partial/progress.json")
        ),
        default=0,
    )


def test_a_pass_that_is_killed_again_and_again_ends_with_the_same_bytes(begin, tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for more in range(3):
        process, before = begin(killed), batches(killed)
        until(lambda: batches(killed) > before + more)  # noqa: B023
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


def test_a_second_process_waits_for_the_first_and_takes_its_tokens(begin, tmp_path):
    first = begin(tmp_path)
    until(lambda: batches(tmp_path) > 0)
    first.send_signal(signal.SIGSTOP)
    second = begin(tmp_path)
    assert "another process is at work in" in second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    first.wait(timeout=60)
    (made,) = (tmp_path / "tokens").glob("*[!l]")
    inode = (made / "train.bin").stat().st_ino
    assert second.wait(timeout=60) == 0 and first.returncode == 0
    first.stderr.close(), second.stderr.close()
    assert [path.name for path in (tmp_path / "tokens").iterdir()] == [made.name]
    assert (made / "train.bin").stat().st_ino == inode and not (made / "lock").exists()


@pytest.mark.parametrize(("joint", "rewrap_lines"), [("\n", False), ("\n\n", True), (" ", True)])
def test_memory_does_not_grow_with_the_file(tmp_path, tokenizer, monkeypatch, joint, rewrap_lines):
    monkeypatch.setattr(readers, "CHUNK", 1 << 12)
    monkeypatch.setattr(tokens, "PIECE", 1 << 11)
    monkeypatch.setattr(tokens, "BATCH", 1 << 14)
    peaks = []
    for copies in (40, 240):
        book = tmp_path / f"{copies}.txt"
        book.write_text(joint.join(SENTENCES * copies))
        corpus = CORPORA["text"](str(book))
        tracemalloc.start()
        bpe._alphabet(tokens.texts(corpus, rewrap_lines))
        prepare(tmp_path / "cache", tokenizer, corpus, rewrap_lines, validation=0.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert book.stat().st_size > 400_000
    assert peaks[1] < peaks[0] + 150_000, peaks


def test_the_speed_is_told_over_all_starts(tmp_path, tokenizer):
    told = prepare(tmp_path, tokenizer).about["pass"]
    assert told["megabytes"] == sum(len(text) + 1 for text in SENTENCES) / 1e6
    assert (
        told["megabytes_per_second"] == pytest.approx(told["megabytes"] / told["seconds"])
        and told["seconds"] > 0
    )


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(tmp_path, tokenizer, small):
    script = (
        "import pathlib, resource, signal, sys; sys.argv[1:], limit = sys.argv[1:4], int(sys.argv[4])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        + PASS
    )
    script = script.replace("0.05", "0.0").replace(
        "\ntokens.prepare", "\nfrom gpt1_jax.errors import UserError\ntry: tokens.prepare"
    )
    script += "except UserError as error: sys.exit(str(error))\n"
    (tmp_path / "books").mkdir()
    for number in range(4):
        (tmp_path / f"books/{number}.txt").write_text("\n\n".join(SENTENCES * 20))
    tokenizer.save(tmp_path / "tokenizer.json")
    line = [
        sys.executable,
        "-c",
        script,
        str(tmp_path / "books"),
        str(tmp_path),
        str(tmp_path / "tokenizer.json"),
    ]
    ended = subprocess.run([*line, "20000"], stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith(
        f"config.data.cache: cannot write to {tmp_path}/tokens (File too large); make room"
    )
    assert batches(tmp_path) > 2
    assert subprocess.run([*line, "200000000"]).returncode == 0 and len(files(tmp_path)) == 2


@pytest.mark.parametrize(("texts", "validation"), [(["only one"], 0.1), ([], 0.0), (["one"], 1.0)])
def test_too_few_documents_for_a_split_are_refused(tmp_path, tokenizer, texts, validation):
    with pytest.raises(
        UserError, match=r"config\.data\.validation: [01] documents cannot be split"
    ):
        prepare(tmp_path, tokenizer, documents(texts), validation=validation)
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("size", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_take_the_smallest_type_that_holds_them(tmp_path, size, dtype):
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
    ids = prepare(tmp_path, wide, documents(["5"]), validation=0.0).splits["train"]
    assert wide.vocab_size == size and ids.dtype == dtype
    assert ids.nbytes == next((tmp_path / "tokens").rglob("train.bin")).stat().st_size


def test_windows_are_runs_of_tokens():
    windows = tokens.Windows(np.arange(100, dtype=np.uint16), 8)
    assert len(windows) == 92
    batch = windows[np.array([0, 91])]
    assert (
        batch["tokens"].tolist() == [list(range(9)), list(range(91, 100))]
        and batch["tokens"].dtype == np.int32
    )
    assert len(tokens.Windows(np.arange(5, dtype=np.uint16), 8)) == 0
