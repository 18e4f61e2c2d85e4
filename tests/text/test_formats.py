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
    assert formats.streams("pair", [[5, 6], [7]], tokenizer, 512) == [
        [start, 5, 6, delimiter, 7, extract]
    ]


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


def test_a_context_of_two_texts_has_no_delimiter_in_it(tokenizer, marks):
    start, delimiter, extract = marks
    assert formats.streams(
        "choice", [[5, 6], [10, 11], [7], [8, 9]], tokenizer, 512, answers=2
    ) == [
        [start, 5, 6, 10, 11, delimiter, 7, extract],
        [start, 5, 6, 10, 11, delimiter, 8, 9, extract],
    ]


def test_the_question_survives_a_long_passage(tokenizer, marks):
    """The passage keeps its first 254 tokens, and fewer where passage, question and answer do not fit together."""
    start, delimiter, extract = marks
    passage, question, answers = (
        list(range(300)),
        list(range(1000, 1200)),
        [list(range(2000, 2100)), [7]],
    )
    long, short = formats.streams(
        "choice", [passage, question[:20], *answers], tokenizer, 512, answers=2
    )
    assert long == [start, *range(254), *range(1000, 1020), delimiter, *range(2000, 2100), extract]
    assert short == [start, *range(254), *range(1000, 1020), delimiter, 7, extract]
    long, short = formats.streams(
        "choice", [passage, question, *answers], tokenizer, 512, answers=2
    )
    assert long == [
        start,
        *range(512 - 3 - 200 - 100),
        *question,
        delimiter,
        *range(2000, 2100),
        extract,
    ]
    assert len(long) == 512 and short[: -len([7]) - 1] == long[: -len(answers[0]) - 1], (
        "both answers have the same context"
    )


@pytest.mark.parametrize("kind", ["pair", "similarity", "choice"])
def test_each_segment_keeps_its_first_254_tokens(tokenizer, marks, kind):
    start, delimiter, extract = marks
    first, second = list(range(300)), list(range(1000, 1254))
    stream = formats.streams(kind, [first, second], tokenizer, 512)[0]
    assert stream == [start, *range(254), delimiter, *range(1000, 1254), extract]
    assert len(stream) == 511
    assert formats.streams("single", [first], tokenizer, 512) == [[start, *range(254), extract]]


@pytest.mark.parametrize(
    ("kind", "segments"), [("single", 2), ("pair", 1), ("pair", 3), ("similarity", 3)]
)
def test_a_wrong_number_of_segments_is_a_bug(tokenizer, kind, segments):
    with pytest.raises(ValueError):
        formats.streams(kind, [[1]] * segments, tokenizer, 512)


def test_a_context_without_room_for_text_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"config\.model\.context: 5 leaves no room"):
        formats.streams("single", [[1]], tokenizer, 5)
    assert formats.streams("single", [[1, 2]], tokenizer, 6) == [
        [tokenizer.start, 1, tokenizer.extract]
    ]


@pytest.mark.parametrize(
    ("kind", "lengths", "positions", "kept"),
    [
        ("single", [20], 8, [[6]]),
        ("pair", [20, 3], 8, [[2, 2]]),
        ("pair", [2, 20], 9, [[2, 4]]),
        (
            "choice",
            [20, 2, 3, 1],
            12,
            [[6, 3], [6, 1]],
        ),  # four tokens of the passage and the whole question; an answer
    ],
)
def test_of_a_model_with_fewer_positions_each_text_keeps_as_much_as_fits(
    tokenizer, kind, lengths, positions, kept
):
    segments = [[5] * length for length in lengths]
    made = formats.streams(kind, segments, tokenizer, 512, answers=2, positions=positions)
    words = [
        " ".join("|" if id == tokenizer.delimiter else "w" for id in stream[1:-1])
        for stream in made
    ]
    assert [[part.count("w") for part in text.split("|")] for text in words] == kept
