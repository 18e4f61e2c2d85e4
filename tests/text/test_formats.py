"""Test the streams of every format of Figure 1, id by id."""

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.text import formats


@pytest.fixture
def specials(tokenizer) -> tuple[int, int, int]:
    return tokenizer.start, tokenizer.delimiter, tokenizer.extract


def test_single(tokenizer, specials):
    start, _, extract = specials
    assert formats.streams("single", [[5, 6, 7]], tokenizer, 512) == [[start, 5, 6, 7, extract]]


def test_pair(tokenizer, specials):
    start, delimiter, extract = specials
    assert formats.streams("pair", [[5, 6], [7]], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract]
    ]


def test_similarity_has_both_orders(tokenizer, specials):
    start, delimiter, extract = specials
    assert formats.streams("similarity", [[5, 6], [7]], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract],
        [start, 7, delimiter, 5, 6, extract],
    ]


def test_choice_has_one_stream_per_answer(tokenizer, specials):
    start, delimiter, extract = specials
    assert formats.streams("choice", [[5, 6], [7], [8, 9], []], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract],
        [start, 5, 6, delimiter, 8, 9, extract],
        [start, 5, 6, delimiter, extract],
    ]


def test_context_of_two_texts_has_no_delimiter(tokenizer, specials):
    start, delimiter, extract = specials
    assert formats.streams(
        "choice", [[5, 6], [10, 11], [7], [8, 9]], tokenizer, 512, answers=2
    ) == [
        [start, 5, 6, 10, 11, delimiter, 7, extract],
        [start, 5, 6, 10, 11, delimiter, 8, 9, extract],
    ]


def test_long_passage_is_truncated_before_the_question(tokenizer, specials):
    start, delimiter, extract = specials
    passage, question = list(range(300)), list(range(1000, 1200))
    answers = [list(range(2000, 2100)), [7]]
    long, short = formats.streams(
        "choice", [passage, question[:20], *answers], tokenizer, 512, answers=2
    )
    assert long == [start, *range(254), *range(1000, 1020), delimiter, *range(2000, 2100), extract]
    assert short == [start, *range(254), *range(1000, 1020), delimiter, 7, extract]
    long, short = formats.streams(
        "choice", [passage, question, *answers], tokenizer, 512, answers=2
    )
    room = 512 - 3 - 200 - 100
    assert long == [start, *range(room), *question, delimiter, *range(2000, 2100), extract]
    assert len(long) == 512
    assert short[: -len([7]) - 1] == long[: -len(answers[0]) - 1]  # the same context


@pytest.mark.parametrize("kind", ["pair", "similarity", "choice"])
def test_segment_is_truncated_to_254_tokens(tokenizer, specials, kind):
    start, delimiter, extract = specials
    first, second = list(range(300)), list(range(1000, 1254))
    stream = formats.streams(kind, [first, second], tokenizer, 512)[0]
    assert stream == [start, *range(254), delimiter, *range(1000, 1254), extract]
    assert len(stream) == 511
    assert formats.streams("single", [first], tokenizer, 512) == [[start, *range(254), extract]]


@pytest.mark.parametrize(
    ("kind", "segments"), [("single", 2), ("pair", 1), ("pair", 3), ("similarity", 3)]
)
def test_wrong_number_of_segments_is_a_bug(tokenizer, kind, segments):
    with pytest.raises(ValueError):
        formats.streams(kind, [[1]] * segments, tokenizer, 512)


def test_context_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"config\.model\.context: 5 leaves no room"):
        formats.streams("single", [[1]], tokenizer, 5)
    assert formats.streams("single", [[1, 2]], tokenizer, 6) == [
        [tokenizer.start, 1, tokenizer.extract]
    ]


@pytest.mark.parametrize(
    ("kind", "lengths", "positions", "expected"),
    [
        ("single", [20], 8, [[6]]),
        ("pair", [20, 3], 8, [[2, 2]]),
        ("pair", [2, 20], 9, [[2, 4]]),
        # Four tokens of the passage and the whole question, then an answer.
        ("choice", [20, 2, 3, 1], 12, [[6, 3], [6, 1]]),
    ],
)
def test_texts_are_truncated_to_fewer_positions(tokenizer, kind, lengths, positions, expected):
    segments = [[5] * length for length in lengths]
    streams = formats.streams(kind, segments, tokenizer, 512, answers=2, positions=positions)
    texts = [
        "".join("|" if id == tokenizer.delimiter else "w" for id in stream[1:-1])
        for stream in streams
    ]
    assert [[len(part) for part in text.split("|")] for text in texts] == expected
