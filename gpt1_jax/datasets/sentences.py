"""Shuffle the sentences of a tokenized corpus, which destroys its long-range structure.

The paper (section 4.1) names this as the flaw of the 1B Word Benchmark.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe

MARKS = (".", "!", "?")
CHUNK = 1 << 16  # sentences that are copied at a time


def ends(tokenizer: bpe.Tokenizer) -> list[int]:
    """Return the ids that end a sentence: those of `MARKS` and of the newline after a paragraph.

    Raises:
        UserError: the tokenizer has no such id.
    """
    encoded = tokenizer.encode(list(MARKS))
    found = {ids[-1] for ids in encoded if ids} | {tokenizer.newline or 0}
    found.discard(0)  # the unknown token
    if not found:
        raise UserError(
            "config.data.shuffle_sentences: the tokenizer has no token for . ! ? or the newline, "
            "so no sentence has an end; use another tokenizer"
        )
    return sorted(found)


def shuffle(
    tokens: Int[np.ndarray, "N"], end_ids: Sequence[int], seed: int = 0
) -> Int[np.ndarray, "N"]:
    """Return the tokens with their sentences in random order, the same one for the same seed.

    A sentence includes all ids of `end_ids` that follow each other at its end.
    """
    is_end = np.isin(tokens, end_ids)
    is_end[:-1] &= ~is_end[1:]
    bounds = np.unique(np.concatenate([[0], np.flatnonzero(is_end) + 1, [len(tokens)]]))
    order = np.random.default_rng(seed).permutation(len(bounds) - 1)
    starts, lengths = bounds[:-1][order], np.diff(bounds)[order]
    shuffled, position = np.empty(len(tokens), tokens.dtype), 0
    for first in range(0, len(order), CHUNK):
        part = slice(first, first + CHUNK)
        stops = np.cumsum(lengths[part])
        offsets = np.repeat(starts[part] - (stops - lengths[part]), lengths[part])
        shuffled[position : position + stops[-1]] = tokens[np.arange(stops[-1]) + offsets]
        position += stops[-1]
    return shuffled
