"""Read and write the tokenizers of Hugging Face's folders."""

import json
import pathlib

import tokenizers
from tokenizers import Regex, decoders, models, processors

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.interop import hf_files
from gpt1_jax.text import bpe, standardize, vocabulary

FILE, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"


def read(folder: pathlib.Path, text: str) -> bpe.Tokenizer:
    """Return the tokenizer of a folder.

    The three tokens of finetuning follow the plain vocabulary. Other added tokens are left out.

    Args:
        folder: a folder with vocab.json and merges.txt (the published form), tokenizer.json, or
            all of them.
        text: how a text is split into words. "stored": by the steps in tokenizer.json; Hugging
            Face's OpenAIGPTTokenizer stores those of BERT, which drop newlines. "published": by
            text/openai_pipeline.py. "approximate": by text/standardize.py. "": as "stored" if the
            steps are those of text/standardize.py, else as "published" if the vocabulary is in the
            published form.

    Raises:
        UserError: a file is missing or damaged; `text` is "" and neither default applies; the ids
            are not in the published order; a library of the published pipeline is missing.
    """
    file = folder / FILE
    stored = hf_files.read_object(file) if file.is_file() else {}
    text = text or _default_text(folder, stored)
    if text == "stored" and not stored:
        raise UserError(
            f"{file}: no such file; give --text=published or --text=approximate to use "
            f"{VOCABULARY} and {MERGES}"
        )
    try:
        if text == "stored":
            return _from_stored(stored)
        vocab, merges = _read_vocabulary(folder, stored)
        return bpe.assemble(vocab, merges, published_words=text == "published")
    except ValueError as error:
        raise UserError(
            f"{folder}: {first_line(error)}; give a vocabulary in the published layout"
        ) from None


def _default_text(folder: pathlib.Path, stored: dict) -> str:
    if stored and _is_standard(stored):
        return "stored"
    if _has_published_form(folder):
        return "published"
    problem = "splits texts by other steps" if stored else "no such file"
    raise UserError(
        f"{folder / FILE}: {problem}; give --text=stored to use its steps, "
        "--text=published for the published pipeline, or --text=approximate for its approximation"
    )


def _from_stored(stored: dict) -> bpe.Tokenizer:
    """Return the tokenizer of a tokenizer.json with its own steps.

    Raises:
        ValueError: it is not a BPE, or see `vocabulary.check_model`.
    """
    try:
        vocabulary.check_model(stored.get("model"))
    except ValueError as reason:
        raise ValueError(f"{FILE} {reason}") from None
    try:
        vocab = stored["model"]["vocab"]
        added = [token for token in stored["added_tokens"] if token["content"] in vocab]
        # The file may store settings of its last use, which would cut or pad the ids of a text.
        unused = dict.fromkeys(("truncation", "padding", "post_processor", "decoder"))
        content = {**stored, "added_tokens": added, **unused}
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
        backend.decoder = decoders.BPEDecoder(suffix=bpe.END_OF_WORD)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{FILE} does not hold a BPE ({first_line(error)})") from None
    backend.add_special_tokens(list(bpe.SPECIALS))
    return bpe.Tokenizer(backend)


def _is_standard(stored: dict) -> bool:
    """Return whether the steps of a tokenizer.json are those of text/standardize.py."""
    for backslash_in_word in (True, False):
        backend = tokenizers.Tokenizer(models.BPE())
        backend.normalizer = standardize.normalizer()
        backend.pre_tokenizer = standardize.pre_tokenizer(backslash_in_word)
        steps = json.loads(backend.to_str())
        if all(stored.get(step) == steps[step] for step in ("normalizer", "pre_tokenizer")):
            return True
    return False


def _has_published_form(folder: pathlib.Path) -> bool:
    return (folder / VOCABULARY).is_file() and (folder / MERGES).is_file()


def _read_vocabulary(
    folder: pathlib.Path, stored: dict
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and the merges.

    Args:
        folder: the source of vocab.json and merges.txt, if it has both.
        stored: otherwise the source, the content of tokenizer.json.

    Raises:
        UserError: a file cannot be read or is malformed, or there is no BPE.
    """
    if _has_published_form(folder):
        return hf_files.read_object(folder / VOCABULARY, {"*": int}), _read_merges(folder / MERGES)
    if not stored:
        raise UserError(
            f"{folder}: has neither {VOCABULARY} and {MERGES} nor a {FILE} with a BPE; save the "
            "tokenizer again"
        )
    try:
        vocabulary.check_model(stored.get("model"))
        return stored["model"]["vocab"], vocabulary.stored_merges(stored["model"])
    except ValueError as reason:
        raise UserError(f"{folder / FILE}: {reason}; save the tokenizer again") from None


def _read_merges(file: pathlib.Path) -> list[tuple[str, str]]:
    try:
        return vocabulary.parse_merges(file.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{file}: cannot be read ({first_line(error)}); save the tokenizer again"
        ) from None
    except ValueError as reason:
        raise UserError(f"{file}: {reason}; save the tokenizer again") from None


def write(
    folder: pathlib.Path, tokenizer: bpe.Tokenizer, context: int, specials: bool, streams: bool
) -> None:
    """Write tokenizer.json and tokenizer_config.json for AutoTokenizer.

    The newline is neither a special token nor an end token, because decoding would drop it. A
    tokenizer.json cannot hold the published pipeline; text/standardize.py approximates it.

    Args:
        folder: an existing folder.
        tokenizer: the tokenizer of a run.
        context: maximal number of tokens of a text.
        specials: keep the three tokens of finetuning.
        streams: put these tokens around one text or two (see text/formats.py).
    """
    file = folder / FILE
    tokenizer.save(file)
    if tokenizer.word_pipeline:
        model = storage.read_json(file)["model"]
        bpe.assemble(model["vocab"], [tuple(pair) for pair in model["merges"]]).save(file)
    stored = storage.read_json(file)
    if not specials:
        stored["added_tokens"] = [
            token for token in stored["added_tokens"] if token["content"] not in bpe.SPECIALS
        ]
    backend = tokenizers.Tokenizer.from_str(json.dumps(stored))
    backend.decoder = _decoder()
    if streams:
        start, delimiter, extract = bpe.SPECIALS
        backend.post_processor = processors.TemplateProcessing(
            single=f"{start} $A {extract}",
            pair=f"{start} $A {delimiter} $B {extract}",
            special_tokens=[(token, backend.token_to_id(token)) for token in bpe.SPECIALS],
        )
    storage.write_text(file, backend.to_str(pretty=True))
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


def _decoder() -> decoders.Decoder:
    """Return the decoder of a continuation: it begins with the space before its first word.

    transformers decodes what follows a prompt alone and appends it to the prompt.
    """
    words = decoders.BPEDecoder(suffix=bpe.END_OF_WORD)
    space = decoders.Replace(Regex(r"\A(?=.)"), " ")  # the dot does not match a newline
    return decoders.Sequence([words, decoders.Fuse(), space])
