"""A byte-pair encoding in the published convention: end of word glued to the last character as `</w>`.

Ids, in the order of the published vocabulary: 0 `<unk>`, the single characters, the same characters with `</w>`, the outputs of
the merges in merge order; then, above `vocab_size`, the three tokens that finetuning adds.
"""

import collections
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tokenizers
from tokenizers import decoders, models, trainers

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.text import openai_pipeline, standardize

UNKNOWN = "<unk>"
END_OF_WORD = "</w>"
SPECIALS = ("_start_", "_delimiter_", "_classify_")
VERSION = 2  # goes up when the same corpus would give other ids
ALPHABET = (
    238  # single characters at most; the published vocabulary has 238, rarer ones become <unk>
)


class Tokenizer:
    """Strings <-> ids.

    Attributes:
        vocab_size: ids that pretraining knows; the special tokens follow at vocab_size, +1, +2.
        start, delimiter, extract: ids of the special tokens.
        newline: id of the newline, the natural context for the start of a text.
        words: where words come from: "" the steps of `standardize`, else the libraries of the `published` pipeline.
        fingerprint: sha256 of the file's content; equal fingerprints give equal ids.
    """

    def __init__(self, backend: tokenizers.Tokenizer, words: str = ""):
        self._backend, self.words = backend, words
        backend.encode_special_tokens = True  # "_start_" in a text is text, never the special token
        self.vocab_size = backend.get_vocab_size(with_added_tokens=False)
        self.start, self.delimiter, self.extract = (
            backend.token_to_id(token) for token in SPECIALS
        )
        self.newline = backend.token_to_id("\n" + END_OF_WORD)
        self.fingerprint = hashlib.sha256(self._content().encode()).hexdigest()
        self._pipeline = openai_pipeline.Pipeline(self._ids, words) if words else None

    @property
    def backslash_in_word(self) -> bool:
        """Whether a backslash stays in its word, as for `train`."""
        return bool(self.words) or len(self._backend.pre_tokenizer.pre_tokenize_str("a\\b")) == 1

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of every text, its ends stripped as published; parallel over texts, but for the published pipeline."""
        if self._pipeline:
            return [self._pipeline(text) for text in texts]
        return [
            encoding.ids
            for encoding in self._backend.encode_batch_fast([text.strip() for text in texts])
        ]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`, lower-cased and spaced by words as the encoding leaves it; special tokens are dropped."""
        return self._backend.decode(list(map(int, ids)), skip_special_tokens=True)

    def save(self, path: pathlib.Path) -> None:
        """One tokenizer.json, which `tokenizers.Tokenizer.from_file` reads too if it needs no `words`; written whole or not at all."""
        storage.write_text(path, self._content(pretty=True))

    def _content(self, pretty: bool = False) -> str:
        content = self._backend.to_str(pretty=pretty)
        if not self.words:
            return content
        # A name that the library does not know makes it refuse the file: alone, it would take a whole text for one word.
        return json.dumps(
            {"words": self.words, **json.loads(content)},
            indent=2 if pretty else None,
            ensure_ascii=False,
        )

    def _ids(self, words: list[str]) -> list[int]:
        return self._backend.encode(words, is_pretokenized=True, add_special_tokens=False).ids


def load(path: pathlib.Path) -> Tokenizer:
    """The tokenizer stored by `Tokenizer.save`; UserError where the file is missing or is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        words = content.pop("words", "")
        backend = tokenizers.Tokenizer.from_str(json.dumps(content))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such tokenizer file; name the tokenizer.json of a pretraining run"
        ) from None
    except Exception as error:  # the library raises plain Exception
        raise UserError(
            f"{path}: not a tokenizer.json ({error}); name the file that a pretraining run has saved"
        ) from None
    if any(backend.token_to_id(token) is None for token in SPECIALS):
        raise UserError(
            f"{path}: lacks the tokens {', '.join(SPECIALS)}; name the file that a pretraining run has saved"
        )
    return Tokenizer(backend, words)


def check(vocab: Mapping[str, int]) -> None:
    """ValueError unless the ids of the pieces are 0 and up, <unk> the first, and no special token is among them."""
    if sorted(vocab.values()) != list(range(len(vocab))) or vocab.get(UNKNOWN) != 0:
        raise ValueError(f"ids are not 0 to {len(vocab) - 1} with {UNKNOWN} as 0")
    if taken := [token for token in SPECIALS if token in vocab]:
        raise ValueError(f"{taken[0]} is among the pieces, but finetuning adds it")


def assemble(
    vocab: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    published_words: bool = False,
    backslash_in_word: bool = True,
) -> Tokenizer:
    """The tokenizer of a vocabulary and its merges.

    Args:
        vocab: piece -> id, from 0 to the last, <unk> the first.
        merges: pairs of pieces, the first to merge first.
        published_words: take the words of the `published` pipeline, of the versions of its libraries that are installed.
        backslash_in_word: as for `train`.

    Raises:
        UserError: a library of that pipeline is missing.
        ValueError: what `check` raises, or the merges do not belong to the vocabulary.
    """
    check(vocab)
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
    """Learns the merges from a corpus; the same texts, however cut between words, and the same `vocab_size` give the same file.

    Args:
        texts: gives a fresh pass over the corpus at every call (one counts characters, one learns), in pieces that fit in memory and
            are counted in parallel.
        vocab_size: ids in all without the special tokens; 40,478 gives the paper's 40,000 merges. A corpus too small for that
            many merges gives fewer.
        backslash_in_word: a backslash stays in its word, as published; otherwise it is a word of its own.

    Raises:
        UserError: when the characters alone fill `vocab_size`, or there is no text.
    """
    alphabet = _alphabet(texts())
    if not alphabet:
        raise UserError("config.data.path: the corpus holds no text; name one that does")
    if vocab_size <= 1 + 2 * len(alphabet):
        raise UserError(
            f"config.tokenizer.vocab_size: {vocab_size} leaves no room for merges; the corpus has {len(alphabet)} characters, "
            f"each with and without {END_OF_WORD}: choose more than {1 + 2 * len(alphabet)}"
        )
    characters = [UNKNOWN, *alphabet, *(character + END_OF_WORD for character in alphabet)]
    learner = _backend(
        models.BPE(unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD), backslash_in_word
    )
    # Handing the characters over as special tokens fixes their ids; otherwise the library numbers those with `</w>` in the order
    # of a randomly seeded hash table, and ties between merges fall differently in every process.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=characters,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        end_of_word_suffix=END_OF_WORD,
        min_frequency=2,
        show_progress=False,
    )
    learner.train_from_iterator(texts(), trainer)
    model = json.loads(learner.to_str())["model"]
    return assemble(
        model["vocab"],
        [tuple(pair) for pair in model["merges"]],
        backslash_in_word=backslash_in_word,
    )


def _backend(model: models.BPE, backslash_in_word: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = standardize.normalizer()
    backend.pre_tokenizer = standardize.pre_tokenizer(backslash_in_word)
    return backend


def _alphabet(texts: Iterable[str]) -> list[str]:
    """The most frequent characters after normalisation, newline always among them, in code point order."""
    normalize = standardize.normalizer().normalize_str
    raw = collections.Counter()
    for text in texts:
        raw.update(text)
    counts = collections.Counter()
    for character, count in raw.items():
        # NFC may join a letter and a combining mark; both parts are then counted, which only spends a place or two.
        for part in normalize(character):
            if not part.isspace():
                counts[part] += count
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[: ALPHABET - 1]
    return sorted([*frequent, "\n"]) if counts else []
