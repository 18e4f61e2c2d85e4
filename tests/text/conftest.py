"""Provide a small corpus and a tokenizer learned from it."""

import pytest

from gpt1_jax.text import bpe


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return 2 * [
        "The cat sat on the mat.\nThe other cat didn't sit; it slept!",
        "A hat is on the cat, and that is that.\n\nThen the rat ran at the hat...",
        "Is this the hat of the other rat? \u201cNo,\u201d said the cat.",
    ]


@pytest.fixture(scope="session")
def tokenizer(corpus) -> bpe.Tokenizer:
    return bpe.train(lambda: corpus, 100)
