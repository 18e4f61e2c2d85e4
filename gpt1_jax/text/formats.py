"""Figure 1 of the paper: an example as token streams, each opened by the start token and closed by the extract token.

Every format takes the segments of one example, already ids, and the tokenizer, and gives its C streams:

    single      [start] text [extract]
    pair        [start] first [delimiter] second [extract]
    similarity  both orders of a pair
    choice      one pair of context and answer for each answer; a context of several texts (passage, question) has no delimiter in it
"""

import itertools
from collections.abc import Sequence

from gpt1_jax.errors import UserError
from gpt1_jax.text.bpe import Tokenizer

Ids = Sequence[int]


def single(segments: Sequence[Ids], tokens: Tokenizer) -> list[list[int]]:
    (text,) = segments
    return [[tokens.start, *text, tokens.extract]]


def pair(segments: Sequence[Ids], tokens: Tokenizer) -> list[list[int]]:
    first, second = segments
    return [[tokens.start, *first, tokens.delimiter, *second, tokens.extract]]


def similarity(segments: Sequence[Ids], tokens: Tokenizer) -> list[list[int]]:
    first, second = segments
    return pair((first, second), tokens) + pair((second, first), tokens)


def choice(segments: Sequence[Ids], tokens: Tokenizer) -> list[list[int]]:
    context, *answers = segments
    return [stream for answer in answers for stream in pair((context, answer), tokens)]


FORMATS = {"single": single, "pair": pair, "similarity": similarity, "choice": choice}


def streams(
    kind: str,
    segments: Sequence[Ids],
    tokens: Tokenizer,
    context: int,
    answers: int = 0,
    positions: int | None = None,
) -> list[list[int]]:
    """The C streams of an example in the format `kind`, none longer than `context`.

    As published, each segment keeps its first context // 2 - 2 tokens (254 of 512), so that two segments and three special
    tokens fit. Where the context of a choice has several texts and they do not fit all the same, the first (the passage) is cut further.

    Args:
        answers: of a choice, how many of the segments, at the end, are answers; all but the first without.
        positions: of a model that has fewer than `context`: segments keep less then, all the same, as much as fits.

    Raises:
        UserError: `context` or `positions` leaves no room.
    """
    limit = min(context, positions or context)
    for most in range(context // 2 - 2, 0, -1):
        cut = [segment[:most] for segment in segments]
        if kind == "choice":
            texts = cut[: -answers or 1]
            room = max(limit - 3 - sum(map(len, texts[1:])) - max(map(len, cut[len(texts) :])), 0)
            cut = [[*texts[0][:room], *itertools.chain(*texts[1:])], *cut[len(texts) :]]
        made = FORMATS[kind](cut, tokens)
        if max(map(len, made)) <= limit:
            return made
    raise UserError(
        f"config.model.context: {limit} leaves no room for the texts between the special tokens; choose at least 6"
    )
