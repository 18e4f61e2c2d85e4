"""Test the byte-pair encoding: layout of the ids, determinism, special tokens, files."""

import json
import os
import subprocess
import sys

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe, chunking


def model(tokenizer: bpe.Tokenizer, folder) -> dict:
    tokenizer.save(folder / "tokenizer.json")
    return json.loads((folder / "tokenizer.json").read_text())["model"]


def test_ids_are_laid_out_as_published(tokenizer, tmp_path):
    content = model(tokenizer, tmp_path)
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    assert sorted(content["vocab"].values()) == list(range(tokenizer.vocab_size))
    count = (len(tokens) - 1 - len(content["merges"])) // 2
    characters, merges = tokens[1 : 1 + count], ["".join(pair) for pair in content["merges"]]
    assert tokens[0] == "<unk>"
    assert (
        all(len(character) == 1 for character in characters)
        and characters == sorted(characters)
        and "\n" in characters
    )
    assert tokens[1 + count : 1 + 2 * count] == [character + "</w>" for character in characters]
    assert len(merges) > 20 and tokens[1 + 2 * count :] == merges


def test_special_tokens_follow_the_vocabulary(tokenizer):
    size = tokenizer.vocab_size
    assert (tokenizer.start, tokenizer.delimiter, tokenizer.extract) == (size, size + 1, size + 2)


@pytest.mark.parametrize("text", [*bpe.SPECIALS, "the _start_ cat _classify_", "_delimiter_ hat"])
def test_special_token_name_in_text_is_text(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert ids and max(ids) < tokenizer.vocab_size


def test_unknown_characters_are_id_0_and_newline_is_a_token(tokenizer):
    assert tokenizer.encode(["\u4e00", "cat\ncat"])[0] == [0]
    (cat,) = tokenizer.encode(["cat"])
    assert tokenizer.encode(["cat\ncat"]) == [[*cat, tokenizer.newline, *cat]]


def test_decoding_restores_words(tokenizer):
    text = "the other cat sat on the hat"
    assert (
        tokenizer.decode([tokenizer.start, *tokenizer.encode([text])[0], tokenizer.extract]) == text
    )


def test_frequent_words_become_one_token(tokenizer):
    assert len(tokenizer.encode(["cat"])[0]) == 1


def test_training_is_deterministic_across_processes():
    # The library's hash tables get a new seed in every process. Ties between merges would show it.
    script = (
        "import random; from gpt1_jax.text import bpe; r = random.Random(7);"
        "words = [''.join(r.choices('abcdefghij', k=r.randint(1, 6))) for _ in range(400)];"
        "print(bpe.train(lambda: [' '.join(words) + '.\\n'] * 2, 300).fingerprint)"
    )
    processes = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2", "3")
    ]
    assert len({process.stdout for process in processes}) == 1
    assert len(processes[0].stdout) == 65


def test_saving_and_loading_preserve_fingerprint_and_ids(corpus, tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = bpe.load(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(corpus) == tokenizer.encode(corpus)
    assert loaded.encode(["_start_"]) == tokenizer.encode(["_start_"])
    assert vars(loaded).keys() == vars(tokenizer).keys()
    assert bpe.train(lambda: corpus, tokenizer.vocab_size - 1).fingerprint != tokenizer.fingerprint


def test_vocabulary_without_room_for_merges_is_refused():
    with pytest.raises(
        UserError,
        match=r"config\.tokenizer\.vocab_size: 9 leaves no room for merges, .* more than 9$",
    ):
        bpe.train(lambda: ["abc"], 9)  # a, b, c, newline, each twice, and <unk>
    assert bpe.train(lambda: ["abc abc"], 10).vocab_size == 10


@pytest.mark.parametrize("documents", [[], [""], [" \n \n"]])
def test_corpus_without_text_is_refused(documents):
    with pytest.raises(UserError, match=r"config\.data\.path: the corpus holds no text"):
        bpe.train(lambda: documents, 100)


def test_invalid_tokenizer_file_is_refused(tmp_path):
    file = tmp_path / "tokenizer.json"
    with pytest.raises(
        UserError, match=r"tokenizer\.json: no such file; name the tokenizer\.json of"
    ):
        bpe.load(file)
    file.write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json: not valid JSON"):
        bpe.load(file)
    file.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer\.json"):
        bpe.load(file)


def test_tokenizer_without_special_tokens_is_refused(tokenizer, tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizer.save(file)
    content = json.loads(file.read_text())
    content["added_tokens"] = []
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="lacks the tokens _start_"):
        bpe.load(file)


@pytest.mark.parametrize("size", [5, 40, 1000])
def test_merges_are_independent_of_cuts(corpus, tokenizer, size):
    pieces = [piece for text in corpus for piece in chunking.cut([text], size)]
    assert bpe.train(lambda: iter(pieces), 100).fingerprint == tokenizer.fingerprint
