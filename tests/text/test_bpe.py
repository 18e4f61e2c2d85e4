"""The byte-pair encoding: layout of the ids, determinism, the special tokens, files."""

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
def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer, text):
    (ids,) = tokenizer.encode([text])
    assert ids and max(ids) < tokenizer.vocab_size


def test_unknown_characters_get_id_0_and_newline_its_own(tokenizer):
    assert tokenizer.encode(["\u4e00", "cat\ncat"])[0] == [0]
    (cat,) = tokenizer.encode(["cat"])
    assert tokenizer.encode(["cat\ncat"]) == [[*cat, tokenizer.newline, *cat]]


def test_decoding_gives_the_words_back(tokenizer):
    text = "the other cat sat on the hat"
    assert (
        tokenizer.decode([tokenizer.start, *tokenizer.encode([text])[0], tokenizer.extract]) == text
    )


def test_frequent_words_become_one_token(tokenizer):
    assert len(tokenizer.encode(["cat"])[0]) == 1


def test_two_processes_learn_the_same_file():
    # The library's hash tables are seeded anew in every process; many ties between merges would show it.
    script = (
        "import random; from gpt1_jax.text import bpe; r = random.Random(7);"
        "words = [''.join(r.choices('abcdefghij', k=r.randint(1, 6))) for _ in range(400)];"
        "print(bpe.train(lambda: [' '.join(words) + '.\\n'] * 2, 300).fingerprint)"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2", "3")
    ]
    assert len({process.stdout for process in found}) == 1 and len(found[0].stdout) == 65


def test_save_and_load_keep_the_fingerprint_and_the_ids(corpus, tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = bpe.load(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(corpus) == tokenizer.encode(corpus)
    assert loaded.encode(["_start_"]) == tokenizer.encode(["_start_"])
    assert vars(loaded).keys() == vars(tokenizer).keys()
    assert bpe.train(lambda: corpus, tokenizer.vocab_size - 1).fingerprint != tokenizer.fingerprint


def test_a_vocabulary_without_room_for_merges_is_refused():
    with pytest.raises(
        UserError, match=r"config\.tokenizer\.vocab_size: 9 leaves no room .* more than 9$"
    ):
        bpe.train(lambda: ["abc"], 9)  # a, b, c, newline, each twice, and <unk>
    assert bpe.train(lambda: ["abc abc"], 10).vocab_size == 10


@pytest.mark.parametrize("documents", [[], [""], [" \n \n"]])
def test_a_corpus_without_text_is_refused(documents):
    with pytest.raises(UserError, match=r"config\.data\.path: the corpus holds no text"):
        bpe.train(lambda: documents, 100)


def test_files_that_are_no_tokenizer_are_refused(tmp_path):
    file = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match="no such tokenizer file"):
        bpe.load(file)
    file.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer\.json"):
        bpe.load(file)


def test_a_tokenizer_without_the_special_tokens_is_refused(tokenizer, tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizer.save(file)
    content = json.loads(file.read_text())
    content["added_tokens"] = []
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="lacks the tokens _start_"):
        bpe.load(file)


@pytest.mark.parametrize("size", [5, 40, 1000])
def test_the_merges_do_not_depend_on_the_pieces(corpus, tokenizer, size):
    cut = [piece for text in corpus for piece in chunking.cut([text], size)]
    assert bpe.train(lambda: iter(cut), 100).fingerprint == tokenizer.fingerprint
