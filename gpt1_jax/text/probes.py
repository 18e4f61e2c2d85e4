"""Format an example as texts that a language model scores zero-shot (section 5 of the paper).

For each choice of an example, a probe returns two texts: a prefix and a target. The model scores
the probability of the target after the prefix.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpt1_jax.errors import UserError
from gpt1_jax.text.bpe import Tokenizer


class Stream(NamedTuple):
    """Hold the token ids of one choice.

    Attributes:
        ids: token ids of prefix and target.
        first: index of the first scored token.
        cut: True if the beginning of the stream was dropped because it did not fit.
    """

    ids: list[int]
    first: int
    cut: bool


def sentence(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the text as target, with an empty prefix."""
    (text,) = texts
    return [("", text)]


def continuation(texts: Sequence[str], append: str, words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the text and `append` as prefix of each of `words`."""
    (text,) = texts
    return [(f"{text} {append}", word) for word in words]


def answers(texts: Sequence[str], contexts: int) -> list[tuple[str, str]]:
    """Return the first `contexts` texts, joined, as prefix of each answer."""
    context = " ".join(texts[:contexts])
    return [(context, answer) for answer in texts[contexts:]]


def substitution(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the rest of the sentence as target after each candidate in place of the pronoun.

    The pronoun is replaced at its first occurrence as a whole word. Its case is ignored only if it
    does not occur with the same case.

    Raises:
        ValueError: the sentence does not contain the pronoun.
    """
    text, pronoun, *candidates = texts
    word = rf"(?<!\w){re.escape(pronoun)}(?!\w)"
    match = re.search(word, text) or re.search(word, text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"no word {pronoun!r} found in {text[:50]!r}")
    return [(text[: match.start()] + candidate, text[match.end() :]) for candidate in candidates]


def start(name: str, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that begin every stream.

    Args:
        name: "newline" for the newline's token, "none" for no token, or a text to encode.
        tokenizer: encodes the text.

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
            "config.start: the run's tokenizer has no newline; give 'none', or a word to begin with"
        )
    return [tokenizer.newline]


def stream(
    opening: Sequence[int], prefix: Sequence[int], target: Sequence[int], context: int
) -> Stream:
    """Return the concatenated tokens as a stream with the target scored.

    A model with `context` positions predicts `context` tokens, so only the last `context` + 1
    tokens are kept. The first token of a stream is never scored, because no token precedes it.

    Raises:
        ValueError: no token is left to score.
    """
    full = [*opening, *prefix, *target]
    ids = full[-context - 1 :]
    first = max(len(ids) - len(target), 1)
    if first >= len(ids):
        raise ValueError("no token to score")
    return Stream(ids, first, cut=len(ids) < len(full))
