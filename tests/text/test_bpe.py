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


def set_id(content: dict, number: object) -> None:
    """Give the piece with id 5 another id."""
    vocab = content["model"]["vocab"]
    vocab[next(piece for piece in vocab if vocab[piece] == 5)] = number


def swap_specials(content: dict) -> None:
    first, second, _ = content["added_tokens"]
    first["id"], second["id"] = second["id"], first["id"]


def add_token(content: dict) -> None:
    last = content["added_tokens"][-1]
    content["added_tokens"].append({**last, "id": last["id"] + 1, "content": "cat"})


PADDING = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: set_id(content, 6), r"ids are not 0 to 82 with <unk> as 0"),
        (lambda content: set_id(content, 100), r"ids are not 0 to 82"),
        (lambda content: set_id(content, 2**31), r"ids are not 0 to 82"),
        (lambda content: set_id(content, "5"), r"has an id that is not a whole number"),
        (lambda content: content["model"]["vocab"].update(_start_=83), r"_start_ is among the "),
        (lambda content: content["added_tokens"][0].update(id=5), r"token _start_ the id 5, not"),
        (swap_specials, r"gives the added token _start_ the id 84, not 83"),
        (add_token, r"adds other tokens than _start_, _delimiter_, _classify_"),
        (lambda content: content["model"].update(dropout=0.5), r"has BPE dropout 0\.5"),
        (lambda content: content["model"].update(unk_token=None), r"has the unknown token None"),
        (lambda content: content["model"].update(merges=["a b c"]), r"tokenizer\.json of gpt1_jax"),
        (lambda content: content.update(model=None), r"holds no vocabulary of a BPE"),
        (lambda content: content.update(words=3), r"the field 'words' is not a text"),
        (lambda content: content.update(padding=PADDING), r"'padding' would change the ids"),
    ],
)
def test_tokenizer_with_other_ids_is_refused(tokenizer, tmp_path, change, reason):
    file = tmp_path / "tokenizer.json"
    tokenizer.save(file)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"tokenizer\.json: not a .*{reason}") as error:
        bpe.load(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [[], None, "x", 3])
def test_other_json_is_no_tokenizer(tmp_path, value):
    (tmp_path / "t.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"t\.json: not a .*an object is expected"):
        bpe.load(tmp_path / "t.json")


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
