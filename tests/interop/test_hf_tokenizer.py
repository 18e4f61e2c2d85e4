"""Test tokenizers to and from Hugging Face's folders."""

import json

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
    hf_tokenizer.write(tmp_path, tokenizer, context=32, specials=specials)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocab_size + 3 * specials
    ids = tokenizer.encode(TEXTS)
    assert [theirs(text.strip(), split_special_tokens=True).input_ids for text in TEXTS] == ids
    assert [theirs(text.strip()).input_ids for text in TEXTS[:-1]] == ids[:-1]
    assert [theirs.decode(row) for row in ids] == [tokenizer.decode(row) for row in ids]
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
