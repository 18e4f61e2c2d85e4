"""Format an example as token streams (Figure 1 of the paper).

Every stream begins with the start token and ends with the extract token. Each format takes the
segments of one example as token ids and returns its C streams:

    single      [start] text [extract]
    pair        [start] first [delimiter] second [extract]
    similarity  a pair in both orders
    choice      one pair of context and answer for each answer; several context texts, such as a
                passage and a question, are joined without a delimiter
"""

import itertools
from collections.abc import Sequence

from gpt1_jax.errors import UserError
from gpt1_jax.text.bpe import Tokenizer

Ids = Sequence[int]


def single(segments: Sequence[Ids], tokenizer: Tokenizer) -> list[list[int]]:
    """Return one stream with one text."""
    (text,) = segments
    return [[tokenizer.start, *text, tokenizer.extract]]


def pair(segments: Sequence[Ids], tokenizer: Tokenizer) -> list[list[int]]:
    """Return one stream with two texts."""
    first, second = segments
    return [[tokenizer.start, *first, tokenizer.delimiter, *second, tokenizer.extract]]


def similarity(segments: Sequence[Ids], tokenizer: Tokenizer) -> list[list[int]]:
    """Return two streams with two texts in both orders."""
    first, second = segments
    return pair((first, second), tokenizer) + pair((second, first), tokenizer)


def choice(segments: Sequence[Ids], tokenizer: Tokenizer) -> list[list[int]]:
    """Return one stream for each answer; the first segment is the context."""
    context, *answers = segments
    return [stream for answer in answers for stream in pair((context, answer), tokenizer)]


FORMATS = {"single": single, "pair": pair, "similarity": similarity, "choice": choice}


def streams(
    format_name: str,
    segments: Sequence[Ids],
    tokenizer: Tokenizer,
    context: int,
    answers: int = 0,
    positions: int | None = None,
) -> list[list[int]]:
    """Return the C streams of an example, none longer than `context`.

    As published, each segment is truncated to its first context // 2 - 2 tokens (254 of 512), so
    that two segments and three special tokens fit. If a choice has several context texts and the
    streams are still too long, the first text (the passage) is truncated further.

    Args:
        format_name: a key of `FORMATS`.
        segments: the token ids of the example's texts.
        tokenizer: defines the special tokens.
        context: maximal length of a stream.
        answers: number of answers at the end of the segments of a choice; 0: all but the first.
        positions: number of positions of a model that has fewer than `context`; the segments are
            then truncated to the largest common length that fits.

    Raises:
        UserError: `context` or `positions` leaves no room for the texts.
    """
    limit = min(context, positions or context)
    for segment_limit in range(context // 2 - 2, 0, -1):
        truncated = [segment[:segment_limit] for segment in segments]
        if format_name == "choice":
            texts = truncated[: -answers or 1]
            truncated = _join_context(texts, truncated[len(texts) :], limit)
        result = FORMATS[format_name](truncated, tokenizer)
        if max(map(len, result)) <= limit:
            return result
    raise UserError(
        f"config.model.context: {limit} leaves no room for the texts between the special tokens; "
        "choose at least 6"
    )


def _join_context(texts: Sequence[Ids], answers: Sequence[Ids], limit: int) -> list[Ids]:
    """Return the joined context texts, then the answers; truncate the first text to fit `limit`."""
    passage, *others = texts
    room = max(limit - 3 - sum(map(len, others)) - max(map(len, answers)), 0)
    return [[*passage[:room], *itertools.chain(*others)], *answers]
