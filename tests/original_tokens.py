"""The published tokenizer as its own repository writes it (openai/finetune-transformer-lm, text_utils.py): step for step, without any
shortcut and slow, written from the description of the steps. What the product's is held against."""

import functools
import json
import pathlib
import re
from collections.abc import Iterable, Mapping

import ftfy
import spacy

# The pattern was no raw string, so that the backslash meant for a fifth sign became the escape of a second plus.
RUNS = r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\++|/+|\*+|\[+|\]+|}+|{+|\|+|_+)"""
CHARACTERS = {"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"}


@functools.cache
def english():
    nlp = spacy.blank("en")
    nlp.max_length = 1 << 30
    return nlp


def standardized(text: str) -> str:
    for character, replacement in CHARACTERS.items():
        text = text.replace(character, replacement)
    text = re.sub(RUNS, r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return text.strip()


def words(text: str) -> list[str]:
    """The words, of which a newline with the space after it is one."""
    return [token.text.lower() for token in english()(standardized(ftfy.fix_text(text)))]


class Original:
    """Texts -> ids, of a vocabulary and its merges."""

    def __init__(self, encoder: Mapping[str, int], merges: Iterable[tuple[str, str]]):
        self.encoder, self.ranks = encoder, {pair: rank for rank, pair in enumerate(merges)}
        self._pieces = {}

    @classmethod
    def published(cls, folder: pathlib.Path):
        """The published vocabulary, from the folder with its two files."""
        lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
        encoder = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
        return cls(encoder, (tuple(line.split()) for line in lines))

    def encode(self, text: str) -> list[int]:
        return [self.encoder.get(piece, 0) for word in words(text) for piece in self.pieces(word)]

    def pieces(self, word: str) -> list[str]:
        if word not in self._pieces:
            self._pieces[word] = self._merged(word)
        return self._pieces[word]

    def _merged(self, word: str) -> list[str]:
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
            merged, place = [], 0
            while place < len(pieces):
                both = tuple(pieces[place : place + 2]) == best
                merged.append("".join(pieces[place : place + 1 + both]))
                place += 1 + both
            pieces = merged
        return pieces
