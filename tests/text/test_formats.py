"""Figure 1 of the paper: the streams of every format, id by id."""

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.text import formats


@pytest.fixture
def marks(tokenizer) -> tuple[int, int, int]:
    return tokenizer.start, tokenizer.delimiter, tokenizer.extract


def test_single(tokenizer, marks):
    start, _, extract = marks
    assert formats.streams("single", [[5, 6, 7]], tokenizer, 512) == [[start, 5, 6, 7, extract]]


def test_pair(tokenizer, marks):
    start, delimiter, extract = marks
    assert formats.streams("pair", [[5, 6], [7]], tokenizer, 512) == [[start, 5, 6, delimiter, 7, extract]]


def test_similarity_has_both_orders(tokenizer, marks):
    start, delimiter, extract = marks
    assert formats.streams("similarity", [[5, 6], [7]], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract],
        [start, 7, delimiter, 5, 6, extract],
    ]


def test_choice_has_a_stream_for_every_answer(tokenizer, marks):
    start, delimiter, extract = marks
    assert formats.streams("choice", [[5, 6], [7], [8, 9], []], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract],
        [start, 5, 6, delimiter, 8, 9, extract],
        [start, 5, 6, delimiter, extract],
    ]


@pytest.mark.parametrize("kind", ["pair", "similarity", "choice"])
def test_each_segment_keeps_its_first_254_tokens(tokenizer, marks, kind):
    start, delimiter, extract = marks
    first, second = list(range(300)), list(range(1000, 1254))
    stream = formats.streams(kind, [first, second], tokenizer, 512)[0]
    assert stream == [start, *range(254), delimiter, *range(1000, 1254), extract]
    assert len(stream) == 511
    assert formats.streams("single", [first], tokenizer, 512) == [[start, *range(254), extract]]


@pytest.mark.parametrize(("kind", "segments"), [("single", 2), ("pair", 1), ("pair", 3), ("similarity", 3)])
def test_a_wrong_number_of_segments_is_a_bug(tokenizer, kind, segments):
    with pytest.raises(ValueError):
        formats.streams(kind, [[1]] * segments, tokenizer, 512)


def test_a_context_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"config\.model\.context: 5 leaves no room"):
        formats.streams("single", [[1]], tokenizer, 5)
    assert formats.streams("single", [[1, 2]], tokenizer, 6) == [[tokenizer.start, 1, tokenizer.extract]]
