"""Test the corpus by sentences: every sentence stays whole, and their order is lost."""

import numpy as np
import pytest

from gpt1_jax.datasets import sentences
from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe


@pytest.mark.parametrize("chunk", [1 << 16, 3])
def test_sentences_stay_whole_and_their_order_is_lost(monkeypatch, chunk):
    monkeypatch.setattr(sentences, "CHUNK", chunk)
    text = "".join(f"the cat number{number} sat .\n" for number in range(40))
    tokenizer = bpe.train(lambda: iter([text]), 200)
    (ids,) = tokenizer.encode([text])
    tokens = np.array(ids, np.uint16)
    shuffled = sentences.shuffle(tokens, sentences.ends(tokenizer))
    np.testing.assert_array_equal(shuffled, sentences.shuffle(tokens, sentences.ends(tokenizer)))
    assert shuffled.dtype == tokens.dtype and (shuffled != tokens).any()

    def found(tokens):
        return sorted(part.strip() for part in tokenizer.decode(tokens).split("."))

    assert found(shuffled) == found(tokens)


def test_marks_and_newline_that_follow_each_other_end_one_sentence():
    tokens = np.array([1, 2, 9, 8, 3, 9, 4], np.uint16)  # 8 and 9 end a sentence
    pieces = {(1, 2, 9, 8), (3, 9), (4,)}
    for seed in range(5):
        row = tuple(sentences.shuffle(tokens, [8, 9], seed).tolist())
        assert any(
            row == a + b + c for a in pieces for b in pieces for c in pieces if {a, b, c} == pieces
        )


def test_tokenizer_without_ends_is_refused():
    tokenizer = bpe.assemble({"<unk>": 0, "a": 1, "a</w>": 2, "aa</w>": 3}, [("a", "a</w>")])
    with pytest.raises(UserError, match="config.data.shuffle_sentences: the tokenizer has no"):
        sentences.ends(tokenizer)
