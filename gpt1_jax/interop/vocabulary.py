"""Tokenizers to and from Hugging Face's folders."""

import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import decoders, models

from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe, standardize

FILE = "tokenizer.json"
TEXTS = ("", "approximate", "own")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The content of one of a folder's JSON files; UserError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a folder that save_pretrained has written") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); the file is damaged") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, names and values expected; copy it again")
    return content


def read(folder: pathlib.Path, text: str) -> bpe.Tokenizer:
    """The tokenizer of a folder, with the three tokens of finetuning above its plain vocabulary; other added tokens are left out.

    Args:
        text: how a text becomes words. "own": by the steps that tokenizer.json holds; those of Hugging Face's OpenAIGPTTokenizer are
            BERT's, which know no newline. "approximate": by those of text/standardize.py. "": by those of tokenizer.json, if they
            are of text/standardize.py.

    Raises:
        UserError: a file is missing or damaged; `text` is "" and the steps are somebody else's; ids are not 0, 1, 2, ... from <unk> on.
    """
    file = folder / FILE
    if text == "approximate":
        return _checked(_published(*_vocabulary(folder)), folder)
    if not file.is_file():
        raise UserError(f"{file}: not there; give --text=approximate to take vocab.json and merges.txt with our clean-up of texts")
    stored = read_json(file)
    if not text and not _ours(stored):
        raise UserError(
            f"{file}: splits texts in its own way; give --text=own to take it as it is, or --text=approximate for our clean-up of texts"
        )
    try:
        plain = stored["model"]["vocab"]
        stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] in plain]
        backend = tokenizers.Tokenizer.from_str(json.dumps(stored))
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{file}: not a tokenizer.json of byte pairs ({error}); save the tokenizer again") from None
    return _checked(backend, file)


def _checked(backend: tokenizers.Tokenizer, place: pathlib.Path) -> bpe.Tokenizer:
    size = backend.get_vocab_size(with_added_tokens=False)
    ids = sorted(backend.get_vocab(with_added_tokens=False).values())
    if ids != list(range(size)) or backend.token_to_id(bpe.UNKNOWN) != 0:
        raise UserError(f"{place}: its ids are not 0 to {size - 1} with {bpe.UNKNOWN} as 0; give a vocabulary in the published layout")
    backend.add_special_tokens(list(bpe.SPECIALS))
    tokenizer = bpe.Tokenizer(backend)
    if (tokenizer.start, tokenizer.delimiter, tokenizer.extract) != (size, size + 1, size + 2):
        raise UserError(f"{place}: has one of {', '.join(bpe.SPECIALS)} among its words; give a vocabulary without them")
    return tokenizer


def _ours(stored: dict) -> bool:
    """Whether texts are cleaned and split by the steps of text/standardize.py."""
    bare = tokenizers.Tokenizer(models.BPE())
    bare.normalizer, bare.pre_tokenizer = standardize.normalizer(), standardize.pre_tokenizer()
    steps = json.loads(bare.to_str())
    return all(stored.get(step) == steps[step] for step in ("normalizer", "pre_tokenizer"))


def _vocabulary(folder: pathlib.Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The words and merges of vocab.json and merges.txt, else those of tokenizer.json."""
    words, merges = folder / "vocab.json", folder / "merges.txt"
    if words.is_file() and merges.is_file():
        lines = merges.read_text(encoding="utf-8").splitlines()
        pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
        return read_json(words), pairs
    stored = read_json(folder / FILE).get("model", {})
    if stored.get("type") != "BPE":
        raise UserError(f"{folder}: has no vocab.json and merges.txt, nor a {FILE} of byte pairs; save the tokenizer again")
    return stored["vocab"], [tuple(pair.split() if isinstance(pair, str) else pair) for pair in stored["merges"]]


# The published pipeline joins here.
def _published(vocab: dict[str, int], merges: list[tuple[str, str]]) -> tokenizers.Tokenizer:
    """The published vocabulary behind our clean-up of texts, which comes near the published one (see text/standardize.py)."""
    try:
        model = models.BPE(vocab=vocab, merges=merges, unk_token=bpe.UNKNOWN, end_of_word_suffix=bpe.END_OF_WORD)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"merges.txt: does not fit vocab.json ({error}); give the two that belong together") from None
    backend = tokenizers.Tokenizer(model)
    backend.normalizer, backend.pre_tokenizer = standardize.normalizer(), standardize.pre_tokenizer()
    backend.decoder = decoders.BPEDecoder(suffix=bpe.END_OF_WORD)
    return backend


def write(folder: pathlib.Path, tokenizer: bpe.Tokenizer, context: int, specials: bool) -> None:
    """Writes tokenizer.json and tokenizer_config.json, as AutoTokenizer reads them.

    The newline is no special token there, nor the mark of an end: decoding would drop it.

    Args:
        context: the most tokens of a text.
        specials: whether the model has rows for the three tokens of finetuning.
    """
    tokenizer.save(folder / FILE)
    if not specials:
        stored = read_json(folder / FILE)
        stored["added_tokens"] = [token for token in stored["added_tokens"] if token["content"] not in bpe.SPECIALS]
        (folder / FILE).write_text(json.dumps(stored, indent=2, ensure_ascii=False), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": bpe.UNKNOWN,
        "pad_token": bpe.UNKNOWN,
        "padding_side": "right",  # positions count from the left, padding included
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
