"""The published tokenizer as its own repository writes it (openai/finetune-transformer-lm, text_utils.py), step for step and without
any shortcut: what the product's is held against. Written from the description of the steps; slow."""

import json
import pathlib
import re

import ftfy
import spacy

# The pattern was no raw string, so that the backslash meant for a fifth sign became the escape of a second plus.
RUNS = r"""(-+|~+|!+|"+|;+|\?+|\++|,+|\)+|\(+|\++|/+|\*+|\[+|\]+|}+|{+|\|+|_+)"""
CHARACTERS = {"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"}


def standardized(text: str) -> str:
    for character, replacement in CHARACTERS.items():
        text = text.replace(character, replacement)
    text = re.sub(RUNS, r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return text.strip()


class Original:
    """Texts -> words -> pieces -> ids, from the folder of the published files."""

    def __init__(self, folder: pathlib.Path):
        self.encoder = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
        lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        self.nlp = spacy.blank("en")
        self.nlp.max_length = 1 << 30
        self._pieces = {}

    def words(self, text: str) -> list[str]:
        return [token.text.lower() for token in self.nlp(standardized(ftfy.fix_text(text)))]

    def encode(self, text: str) -> list[int]:
        return [self.encoder.get(piece, 0) for word in self.words(text) for piece in self.pieces(word)]

    def pieces(self, word: str) -> list[str]:
        if word not in self._pieces:
            self._pieces[word] = self._merged(word)
        return self._pieces[word]

    def _merged(self, word: str) -> list[str]:
        if word == "\n ":  # the token of a newline and the space after it
            return ["\n</w>"]
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            best = min(zip(pieces, pieces[1:], strict=False), key=lambda pair: self.ranks.get(pair, float("inf")))
            if best not in self.ranks:
                break
            merged, place = [], 0
            while place < len(pieces):
                both = tuple(pieces[place : place + 2]) == best
                merged.append("".join(pieces[place : place + 1 + both]))
                place += 1 + both
            pieces = merged
        return pieces
