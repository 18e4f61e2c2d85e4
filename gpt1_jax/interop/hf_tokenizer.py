"""Tokenizers to and from Hugging Face's folders."""

import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import models

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.text import bpe, standardize

FILE, WORDS, MERGES = "tokenizer.json", "vocab.json", "merges.txt"


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The content of one of a folder's JSON files; UserError where it is missing or damaged."""
    content = storage.read_json(path, hint="give a folder that save_pretrained has written")
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: holds a {type(content).__name__}, names and values expected; copy it again"
        )
    return content


def read(folder: pathlib.Path, text: str) -> bpe.Tokenizer:
    """The tokenizer of a folder, with the three tokens of finetuning above its plain vocabulary; other added tokens are left out.

    Args:
        text: how a text becomes words. "own": by the steps that tokenizer.json holds; those of Hugging Face's OpenAIGPTTokenizer are
            BERT's, which know no newline. "published": by text/openai_pipeline.py. "approximate": by text/standardize.py. "": by those of
            tokenizer.json, if they are of text/standardize.py; else the published way, where the vocabulary is in the published form,
            vocab.json and merges.txt.

    Raises:
        UserError: a file is missing or damaged; `text` is "" and the steps are somebody else's; the vocabulary is not in the published
            layout; a library of the published way is missing.
    """
    file = folder / FILE
    stored = read_json(file) if file.is_file() else {}
    if not text and stored and _ours(stored):
        text = "own"
    if not text and not _published(folder):
        raise UserError(
            f"{file}: {'splits texts in its own way' if stored else 'not there'}; give --text=own to take it as it is, --text=published "
            "for the words of the original, or --text=approximate for what comes near"
        )
    try:
        if text != "own":
            return bpe.assemble(*_vocabulary(folder, stored), published_words=text != "approximate")
        if not stored:
            raise UserError(
                f"{file}: not there; give --text=published or --text=approximate to take vocab.json and merges.txt"
            )
        return _as_it_is(stored)
    except ValueError as error:
        raise UserError(
            f"{folder}: {first_line(error)}; give a vocabulary in the published layout"
        ) from None


def _as_it_is(stored: dict) -> bpe.Tokenizer:
    """A tokenizer.json with its own steps; ValueError where its vocabulary is not in the published layout."""
    try:
        plain = stored["model"]["vocab"]
        stored["added_tokens"] = [
            token for token in stored["added_tokens"] if token["content"] in plain
        ]
        stored |= {
            "truncation": None,
            "padding": None,
            "post_processor": None,
        }  # left there by whoever last used it; a text is all its ids
        backend = tokenizers.Tokenizer.from_str(json.dumps(stored))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{FILE} is not one of byte pairs ({first_line(error)})") from None
    bpe.check(plain)
    backend.add_special_tokens(list(bpe.SPECIALS))
    return bpe.Tokenizer(backend)


def _ours(stored: dict) -> bool:
    """Whether texts are cleaned and split by the steps of text/standardize.py."""
    for backslash_in_word in (True, False):
        bare = tokenizers.Tokenizer(models.BPE())
        bare.normalizer, bare.pre_tokenizer = (
            standardize.normalizer(),
            standardize.pre_tokenizer(backslash_in_word),
        )
        steps = json.loads(bare.to_str())
        if all(stored.get(step) == steps[step] for step in ("normalizer", "pre_tokenizer")):
            return True
    return False


def _published(folder: pathlib.Path) -> bool:
    return all((folder / name).is_file() for name in (WORDS, MERGES))


def _vocabulary(folder: pathlib.Path, stored: dict) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The pieces and merges of vocab.json and merges.txt, else those of tokenizer.json, whose content is `stored`."""
    if _published(folder):
        try:
            lines = (folder / MERGES).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise UserError(
                f"{folder / MERGES}: cannot be read ({first_line(error)}); save the tokenizer again"
            ) from None
        return read_json(folder / WORDS), [
            tuple(line.split()) for line in lines if line and not line.startswith("#version")
        ]
    model = stored.get("model", {})
    if model.get("type") != "BPE":
        raise UserError(
            f"{folder}: has no {WORDS} and {MERGES}, nor a {FILE} of byte pairs; save the tokenizer again"
        )
    return model["vocab"], [
        tuple(pair.split() if isinstance(pair, str) else pair) for pair in model["merges"]
    ]


def write(folder: pathlib.Path, tokenizer: bpe.Tokenizer, context: int, specials: bool) -> None:
    """Writes tokenizer.json and tokenizer_config.json, as AutoTokenizer reads them.

    The newline is no special token there, nor the mark of an end: decoding would drop it. Words of the published pipeline, which
    tokenizer.json cannot hold, become those of text/standardize.py, which come near.

    Args:
        context: the most tokens of a text.
        specials: whether the model has rows for the three tokens of finetuning.
    """
    tokenizer.save(folder / FILE)
    if tokenizer.word_pipeline:
        model = read_json(folder / FILE)["model"]
        bpe.assemble(model["vocab"], [tuple(pair) for pair in model["merges"]]).save(folder / FILE)
    if not specials:
        stored = read_json(folder / FILE)
        stored["added_tokens"] = [
            token for token in stored["added_tokens"] if token["content"] not in bpe.SPECIALS
        ]
        storage.write_json(folder / FILE, stored)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": bpe.UNKNOWN,
        "pad_token": bpe.UNKNOWN,
        "padding_side": "right",  # positions count from the left, padding included
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    storage.write_json(folder / "tokenizer_config.json", settings)
