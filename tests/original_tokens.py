"""Implement the published tokenizer as its repository does, without shortcuts, as a reference.

It follows openai/finetune-transformer-lm, text_utils.py, step by step and is slow. It was written
from the description of the steps.
"""

import functools
import json
import pathlib
import re
from collections.abc import Iterable, Mapping

import ftfy
import spacy

# The original pattern is not a raw string, so the backslash meant as one more sign escapes a second
# plus.
RUNS = r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\++|/+|\*+|\[+|\]+|}+|{+|\|+|_+)"""
CHARACTERS = {"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"}


@functools.cache
def english():
    nlp = spacy.blank("en")
    nlp.max_length = 1 << 30
    return nlp


def standardize(text: str) -> str:
    for character, replacement in CHARACTERS.items():
        text = text.replace(character, replacement)
    text = re.sub(RUNS, r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return text.strip()


def words(text: str) -> list[str]:
    """Return the words. A newline and the space after it are one word."""
    return [token.text.lower() for token in english()(standardize(ftfy.fix_text(text)))]


class Original:
    """Encode texts with a vocabulary and its merges."""

    def __init__(self, encoder: Mapping[str, int], merges: Iterable[tuple[str, str]]):
        self.encoder, self.ranks = encoder, {pair: rank for rank, pair in enumerate(merges)}
        self._cache = {}

    @classmethod
    def published(cls, folder: pathlib.Path):
        """Read the published vocabulary and merges from their folder."""
        lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
        encoder = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
        return cls(encoder, (tuple(line.split()) for line in lines))

    def encode(self, text: str) -> list[int]:
        return [self.encoder.get(piece, 0) for word in words(text) for piece in self.pieces(word)]

    def pieces(self, word: str) -> list[str]:
        if word not in self._cache:
            self._cache[word] = self._merge(word)
        return self._cache[word]

    def _merge(self, word: str) -> list[str]:
        if word == "\n ":
            return ["\n</w>"]
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            best = min(
                zip(pieces, pieces[1:], strict=False),
                key=lambda pair: self.ranks.get(pair, float("inf")),
            )
            if best not in self.ranks:
                break
            merged, index = [], 0
            while index < len(pieces):
                size = 2 if tuple(pieces[index : index + 2]) == best else 1
                merged.append("".join(pieces[index : index + size]))
                index += size
            pieces = merged
        return pieces
