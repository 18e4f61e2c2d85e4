"""Test tokenizers to and from Hugging Face's folders."""

import json
import re

import pytest
from hf_models import transformers

from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_tokenizer, huggingface
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe

TEXTS = [
    "The old king saw a house.",
    "  the sea,\n\nand the \u201chill\u201d\t\u2014 don't!  \n",
    "\n",
    "",
    "xylophone 1234 caf\u00e9 cafe\u0301 \u4e2d",
    "a" * 40,
    "<unk> _start_ ship _classify_",
]


@pytest.mark.parametrize("specials", [False, True])
def test_exported_tokenizer_gives_the_same_ids(pretrained, tmp_path, specials):
    tokenizer = reader.open_saved(str(pretrained()), "--workdir").tokenizer
    hf_tokenizer.write(tmp_path, tokenizer, context=32, specials=specials, streams=False)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocab_size + 3 * specials
    ids = tokenizer.encode(TEXTS)
    assert [theirs(text.strip(), split_special_tokens=True).input_ids for text in TEXTS] == ids
    assert [theirs(text.strip()).input_ids for text in TEXTS[:-1]] == ids[:-1]
    # A text begins with the space before it, unless it is empty or begins with a newline.
    decoded = [re.sub(r"\A(?=.)", " ", tokenizer.decode(row)) for row in ids]
    assert [theirs.decode(row) for row in ids] == decoded
    newline = tokenizer.newline
    (the_sea,) = tokenizer.encode(["the sea"])
    assert theirs("\n the sea \n").input_ids == [newline, *the_sea, newline]
    assert "\n" in theirs.decode([newline, 5], skip_special_tokens=True)
    assert (theirs.pad_token_id, theirs.unk_token_id) == (0, 0)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (None, None)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("approximate", [bpe.UNKNOWN, "ab", "\n", "a", "b"]),
        ("stored", [bpe.UNKNOWN, "ab", "a", "b"]),  # the steps of BERT drop newlines
    ],
)
def test_flag_selects_the_splitting_into_words(saved, tmp_path, text, pieces):
    result = huggingface.import_run(str(saved), str(tmp_path / "run"), text)
    assert result["origin"]["left_out"] == ["tokens_embed.weight[20:23]"]
    tokenizer = reader.open_saved(str(tmp_path / "run"), "--workdir").tokenizer
    ids = {bpe.UNKNOWN: 0, "a": 4, "b": 5, "\n": 6, "ab": 7}
    assert tokenizer.encode(["c ab\na b"]) == [[ids[piece] for piece in pieces]]
    assert (tokenizer.vocab_size, tokenizer.start, tokenizer.extract) == (20, 20, 22)


def test_other_steps_are_refused_without_a_flag(saved, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (saved / name).unlink()
    message = (
        r"tokenizer\.json: splits texts by other steps; give --text=stored .*, "
        "--text=published .*, or --text=approximate"
    )
    with pytest.raises(UserError, match=message):
        huggingface.import_run(str(saved), str(tmp_path / "run"))


def test_stored_padding_and_truncation_are_ignored(pretrained, tmp_path):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    theirs(["the sea", "the old king saw the sea"], padding=True, truncation=True, max_length=3)
    theirs.save_pretrained(tmp_path / "out")
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"), "stored")
    original = reader.open_saved(str(pretrained()), "--workdir").tokenizer
    back = reader.open_saved(str(tmp_path / "back"), "--workdir").tokenizer
    texts = ["the", "the old king saw the sea"]
    assert back.encode(texts) == original.encode(texts)


PIECES = ["a", "b", "\n", "\x85", "\u2028", "a</w>", "b</w>", "\n</w>", "\x85</w>", "\u2028</w>"]


def write_vocabulary(folder, merges: str, pieces=()) -> None:
    """Write vocab.json with the pieces after some characters, and merges.txt."""
    names = [bpe.UNKNOWN, *PIECES, *pieces]
    vocab = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text(merges, encoding="utf-8", newline="")


@pytest.mark.parametrize("space", ["\x85", "\u2028"])
@pytest.mark.parametrize("header", ["#version: 0.2\n", "\ufeff#version: 0.2\n", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_merge_of_white_space_is_read(tmp_path, space, header, end):
    merges = f"{header}a {space}</w>\na b</w>\n".replace("\n", end)
    write_vocabulary(tmp_path, merges, (f"a{space}</w>", "ab</w>"))
    tokenizer = hf_tokenizer.read(tmp_path, "approximate")
    assert tokenizer.encode(["ab"]) == [[len(PIECES) + 2]]
    tokenizer.save(tmp_path / "tokenizer.json")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    assert model["merges"] == [["a", f"{space}</w>"], ["a", "b</w>"]]


@pytest.mark.parametrize(
    ("merges", "number"),
    [
        ("#version: 0.2\na b</w> 7\n", 2),
        ("#version: 0.2\na b</w>\n\na\n", 4),
        ("a  b</w>\n", 1),
        ("a\tb</w>\n", 1),
        ("a b</w>\n#version: 0.2 1\n", 2),
    ],
)
def test_malformed_merge_names_the_line(tmp_path, merges, number):
    write_vocabulary(tmp_path, merges, ("ab</w>",))
    message = rf"merges\.txt: line {number} is not two BPE pieces with one space between them; save"
    with pytest.raises(UserError, match=message):
        hf_tokenizer.read(tmp_path, "approximate")


MODEL = {"type": "BPE", "unk_token": bpe.UNKNOWN, "vocab": {bpe.UNKNOWN: 0}, "merges": []}


@pytest.mark.parametrize("text", ["approximate", "stored"])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (None, "holds no vocabulary of a BPE"),
        ([], "holds no vocabulary of a BPE"),
        ({"type": "BPE", "merges": []}, "holds no vocabulary of a BPE"),
        (MODEL | {"vocab": [["a", 1]]}, "holds no vocabulary of a BPE"),
        (MODEL | {"vocab": {"a": 1}}, "ids are not 0 to 0"),
        (MODEL | {"dropout": 0.1}, r"has BPE dropout 0\.1"),
        (MODEL | {"merges": ["a b c"]}, ""),
        (MODEL | {"merges": [["a", 1]]}, ""),
        (MODEL | {"merges": {}}, ""),
    ],
)
def test_malformed_tokenizer_is_refused(tmp_path, text, model, reason):
    content = {"model": model, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{tmp_path}.*tokenizer\.json.*{reason}") as error:
        hf_tokenizer.read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_separated_backslash_round_trips(pretrained, tmp_path):
    run = reader.open_saved(str(pretrained()), "--workdir")
    model = json.loads((run.workdir / "tokenizer.json").read_text())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = bpe.assemble(model["vocab"], merges, backslash_in_word=False)
    body = {"name": run.body, **run.sizes}
    workdir = str(tmp_path / "run")
    reader.write_pretrained(workdir, body, run.params(20), tokenizer, {"format": "test"})
    huggingface.export_run(workdir, str(tmp_path / "out"))
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    back = reader.open_saved(str(tmp_path / "back"), "--workdir")
    assert back.tokenizer.fingerprint == tokenizer.fingerprint


def test_published_vocabulary_uses_the_published_pipeline(saved, tmp_path):
    pytest.importorskip("ftfy")
    pytest.importorskip("spacy")
    result = huggingface.import_run(str(saved), str(tmp_path / "run"))
    assert result["origin"]["words"].startswith("ftfy ")
    assert reader.open_saved(str(tmp_path / "run"), "--workdir").tokenizer.word_pipeline
    huggingface.export_run(str(tmp_path / "run"), str(tmp_path / "out"))
    # The export has the approximation, and the card says so.
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs("c ab\na b").input_ids == [0, 7, 6, 4, 5]
    card = (tmp_path / "out/README.md").read_text()
    assert "As published, ftfy" in card and "tokenizer.json approximates this" in card
