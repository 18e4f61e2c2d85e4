"""Figure 1 of the paper: an example as token streams, each opened by the start token and closed by the extract token.

Every format takes the segments of one example, already ids, and the tokenizer, and gives its C streams:

    single      [start] text [extract]
    pair        [start] first [delimiter] second [extract]
    similarity  both orders of a pair
    choice      one pair of context and answer for each answer
"""

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


def streams(kind: str, segments: Sequence[Ids], tokens: Tokenizer, context: int) -> list[list[int]]:
    """The C streams of an example in the format `kind`, none longer than `context`.

    As published, each segment keeps its first context // 2 - 2 tokens (254 of 512), so that two segments and three special
    tokens fit. UserError where that leaves nothing.
    """
    most = context // 2 - 2
    if most < 1:
        raise UserError(f"config.model.context: {context} leaves no room for the texts between the special tokens; choose at least 6")
    return FORMATS[kind]([segment[:most] for segment in segments], tokens)
