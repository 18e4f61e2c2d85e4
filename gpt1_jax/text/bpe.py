"""Define the byte-pair encoding: tokenizer, training, files.

The convention is the published one: the suffix `</w>` marks the last piece of a word. Ids follow
the order of the published vocabulary: 0 is `<unk>`, then come the single characters, the same
characters with `</w>`, and the outputs of the merges in merge order. The three special tokens of
finetuning have the ids from `vocab_size` on.

In training and in encoding, a run of more than `chunking.WORD_LIMIT` characters is cut into several
words, so that the time is linear. The published tokenizer has no such limit. No real word reaches
it, so that the ids of ordinary texts are the published ones.
"""

import collections
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, trainers

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.text import chunking, openai_pipeline, standardize, vocabulary
from gpt1_jax.text.vocabulary import SPECIALS, UNKNOWN

END_OF_WORD = "</w>"
VERSION = 3  # increase it when the same corpus would give other ids
# Upper limit of single characters. The published vocabulary has 238. Rarer ones become <unk>.
MAX_CHARACTERS = 238


class Tokenizer:
    """Convert strings to token ids and back.

    Attributes:
        vocab_size: number of ids that pretraining uses; the special tokens have the next three ids.
        start, delimiter, extract: ids of the special tokens.
        newline: id of the newline, which precedes every paragraph of a corpus; None without one.
        word_pipeline: libraries and versions of `openai_pipeline` that split texts into words, or
            "" if the steps of `standardize` do it.
        fingerprint: sha256 of the file's content; equal fingerprints give equal ids.
    """

    def __init__(self, backend: tokenizers.Tokenizer, word_pipeline: str = ""):
        self._backend, self.word_pipeline = backend, word_pipeline
        backend.encode_special_tokens = True  # "_start_" in a text is text, not the special token
        self.vocab_size = backend.get_vocab_size(with_added_tokens=False)
        ids: Any = map(backend.token_to_id, SPECIALS)
        self.start, self.delimiter, self.extract = ids
        self.newline = backend.token_to_id("\n" + END_OF_WORD)
        self.fingerprint = hashlib.sha256(self._content().encode()).hexdigest()
        self._pipeline = None
        if word_pipeline:
            self._pipeline = openai_pipeline.Pipeline(self._encode_words, word_pipeline)

    @property
    def backslash_in_word(self) -> bool:
        """Return whether a backslash stays in its word (see `train`)."""
        if self.word_pipeline:
            return True
        return len(self._backend.pre_tokenizer.pre_tokenize_str("a\\b")) == 1

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of every text, without white space at its ends, as published.

        Texts are encoded in parallel, except with a `word_pipeline`.

        Raises:
            UserError: a library of the word pipeline is missing or has another version.
        """
        texts = list(map(_limit_words, texts))
        if self._pipeline:
            return [self._pipeline(text) for text in texts]
        encodings = self._backend.encode_batch_fast([text.strip() for text in texts])
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of the ids: lower case, words separated by spaces, no special tokens."""
        return self._backend.decode(list(map(int, ids)), skip_special_tokens=True)

    def save(self, path: storage.Path) -> None:
        """Write the tokenizer.json atomically.

        `tokenizers.Tokenizer.from_file` also reads the file, unless there is a `word_pipeline`.
        """
        storage.write_text(path, self._content(pretty=True))

    def _content(self, pretty: bool = False) -> str:
        content = self._backend.to_str(pretty=pretty)
        if not self.word_pipeline:
            return content
        # The field "words" makes the library refuse the file. Without it, the library would read
        # the file and encode a whole text as one word.
        return json.dumps(
            {"words": self.word_pipeline, **json.loads(content)},
            indent=2 if pretty else None,
            ensure_ascii=False,
        )

    def _encode_words(self, words: list[str]) -> list[int]:
        return self._backend.encode(words, is_pretokenized=True, add_special_tokens=False).ids


def load(path: storage.Path) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.save` has written.

    Raises:
        UserError: the file is missing or cannot be read; it is not a BPE without dropout whose ids
            are 0, 1, 2, ... and whose special tokens have the next ids; or it would cut or pad ids.
    """
    content = storage.read_json(path, hint="name the tokenizer.json of a pretraining run")
    try:
        return _from_content(content)
    except Exception as error:  # the library raises plain Exception
        raise UserError(
            f"{path}: not a tokenizer.json of gpt1_jax ({first_line(error)}); "
            "name the file of a pretraining run"
        ) from None


def _from_content(content: Any) -> Tokenizer:
    """Return the tokenizer of the content of a tokenizer.json.

    Raises:
        Exception: of any kind, see `load`.
    """
    if not isinstance(content, dict):
        raise ValueError(f"holds a {type(content).__name__}, an object is expected")
    word_pipeline = content.pop("words", "")
    if not isinstance(word_pipeline, str):
        raise ValueError("the field 'words' is not a text")
    for step in ("truncation", "padding", "post_processor"):
        if content.get(step) is not None:
            raise ValueError(f"the field {step!r} would change the ids of a text, null is expected")
    vocabulary.check_model(content.get("model"))
    backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    vocabulary.check_added(content["added_tokens"], backend.get_vocab(with_added_tokens=True))
    size = backend.get_vocab_size(with_added_tokens=False)
    if [backend.token_to_id(token) for token in SPECIALS] != list(range(size, size + 3)):
        raise ValueError(f"lacks the tokens {', '.join(SPECIALS)} with the ids from {size} on")
    if backend.get_vocab_size(with_added_tokens=True) != size + len(SPECIALS):
        raise ValueError(f"adds other tokens than {', '.join(SPECIALS)}")
    return Tokenizer(backend, word_pipeline)


def assemble(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    published_words: bool = False,
    backslash_in_word: bool = True,
) -> Tokenizer:
    """Return the tokenizer of a vocabulary and its merges.

    Args:
        vocab: piece -> id, from 0 up; `<unk>` is 0.
        merges: pairs of pieces; earlier pairs merge first.
        published_words: split texts into words by `openai_pipeline`, with the installed versions of
            its libraries.
        backslash_in_word: see `train`.

    Raises:
        UserError: a library of `openai_pipeline` is missing.
        ValueError: see `vocabulary.check`; or the merges do not belong to the vocabulary.
    """
    vocabulary.check(vocab)
    try:
        model = models.BPE(
            vocab=dict(vocab),
            merges=list(merges),
            unk_token=UNKNOWN,
            end_of_word_suffix=END_OF_WORD,
        )
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"the merges do not belong to the pieces ({error})") from None
    backend = tokenizers.Tokenizer(model) if published_words else _backend(model, backslash_in_word)
    backend.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    backend.add_special_tokens(list(SPECIALS))
    return Tokenizer(backend, openai_pipeline.libraries() if published_words else "")


def train(
    texts: Callable[[], Iterable[str]], vocab_size: int, *, backslash_in_word: bool = True
) -> Tokenizer:
    """Learn the merges from a corpus.

    The same corpus and `vocab_size` give the same file, wherever the texts are cut between words.

    Args:
        texts: returns a new pass over the corpus at every call: the first pass counts characters,
            the second learns. A pass consists of texts that fit in memory; they are counted in
            parallel.
        vocab_size: number of ids without the special tokens; 40,478 gives the paper's 40,000
            merges. A corpus that is too small for that many merges gives fewer.
        backslash_in_word: keep a backslash in its word, as published; otherwise it is its own word.

    Raises:
        UserError: there is no text, or the characters alone fill `vocab_size`.
    """
    alphabet = _alphabet(texts())
    if not alphabet:
        raise UserError("config.data.path: the corpus holds no text; name one that does")
    minimum = 1 + 2 * len(alphabet)
    if vocab_size <= minimum:
        raise UserError(
            f"config.tokenizer.vocab_size: {vocab_size} leaves no room for merges, because the "
            f"corpus has {len(alphabet)} characters, each with and without {END_OF_WORD}; "
            f"choose more than {minimum}"
        )
    characters = [UNKNOWN, *alphabet, *(character + END_OF_WORD for character in alphabet)]
    empty_model = models.BPE(unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD)
    backend = _backend(empty_model, backslash_in_word)
    # Passing the characters as special tokens fixes their ids. Otherwise the library numbers those
    # with `</w>` in the order of a randomly seeded hash table, and ties between merges fall
    # differently in every process.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=characters,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        end_of_word_suffix=END_OF_WORD,
        min_frequency=2,
        show_progress=False,
    )
    backend.train_from_iterator(map(_limit_words, texts()), trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return assemble(model["vocab"], merges, backslash_in_word=backslash_in_word)


def _limit_words(text: str) -> str:
    return "".join(chunking.limit_words([text]))


def _backend(model: models.BPE, backslash_in_word: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = standardize.normalizer()
    backend.pre_tokenizer = standardize.pre_tokenizer(backslash_in_word)
    return backend


def _alphabet(texts: Iterable[str]) -> list[str]:
    """Return the most frequent characters after normalization, with the newline, by code point."""
    normalize = standardize.normalizer().normalize_str
    raw_counts = collections.Counter()
    for text in texts:
        raw_counts.update(text)
    counts = collections.Counter()
    for character, count in raw_counts.items():
        # NFC may compose a letter and a combining mark. Counting the two separately costs at most a
        # few entries of the alphabet.
        for part in normalize(character):
            if not part.isspace():
                counts[part] += count
    if not counts:
        return []
    by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted([*by_frequency[: MAX_CHARACTERS - 1], "\n"])
