"""Section 5 of the paper, zero-shot: an example as texts whose probability the language model itself is asked for.

Every probe gives, for each choice of an example, two texts: what is given, and what is scored as its continuation.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpt1_jax.errors import UserError
from gpt1_jax.text.bpe import Tokenizer


class Stream(NamedTuple):
    """Token ids, of which those from `first` on are scored; `cut` where some that came before did not fit."""

    ids: list[int]
    first: int
    cut: bool


def sentence(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The text itself, after nothing."""
    (text,) = texts
    return [("", text)]


def continuation(texts: Sequence[str], append: str, words: Sequence[str]) -> list[tuple[str, str]]:
    """Each of `words` after the text and `append`."""
    (text,) = texts
    return [(f"{text} {append}", word) for word in words]


def answers(texts: Sequence[str], contexts: int) -> list[tuple[str, str]]:
    """Each answer after the first `contexts` texts, joined."""
    context = " ".join(texts[:contexts])
    return [(context, answer) for answer in texts[contexts:]]


def substitution(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The rest of the sentence after each candidate, which takes the place of the pronoun where it first occurs as a whole word.

    Raises:
        ValueError: the sentence has no such word.
    """
    text, pronoun, *candidates = texts
    word = rf"(?<!\w){re.escape(pronoun)}(?!\w)"
    found = re.search(word, text) or re.search(word, text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"no word {pronoun!r} found in {text[:50]!r}")
    return [(text[: found.start()] + candidate, text[found.end() :]) for candidate in candidates]


def start(name: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens that open every stream: of "newline" that token, of "none" nothing, of any other text its own.

    Raises:
        UserError: the tokenizer has no newline.
    """
    if name == "none":
        return []
    if name != "newline":
        (ids,) = tokenizer.encode([name])
        return ids
    if tokenizer.newline is None:
        raise UserError(
            "config.start: the run's tokenizer has no newline; give 'none', or a word that it knows"
        )
    return [tokenizer.newline]


def stream(
    opening: Sequence[int], given: Sequence[int], scored: Sequence[int], context: int
) -> Stream:
    """The three one after the other. A model with `context` positions predicts so many tokens: of a longer stream the end is kept.

    The very first token, which nothing precedes, is never scored.

    Raises:
        ValueError: no token is left to score.
    """
    ids = [*opening, *given, *scored]
    kept = ids[-context - 1 :]
    first = max(len(kept) - len(scored), 1)
    if first >= len(kept):
        raise ValueError("no token to score")
    return Stream(kept, first, cut=len(kept) < len(ids))
