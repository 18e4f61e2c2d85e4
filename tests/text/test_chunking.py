"""Texts as streams: ids and re-flowed text do not depend on where chunks and pieces end."""

import random

import pytest

from gpt1_jax.text import bpe, chunking

WORDS = [
    "cat",
    "didn't",
    "hat...",
    "3.14",
    "\u201cNo,\u201d",
    "that",
    "\u2014",
    "x",
    "e\u0301",
    "\u0301",
    "_a_",
    "'s",
    "!_",
    "\\",
    "\u732b\u3002\u5e3d",
]
WORDS += ["\n", "\n", " \n\n", "\r\n", "\t", "\u00a0", "\x0c", "\x1c", "\u2028"]


def text(seed: int, joint: str = " ") -> str:
    return joint.join(random.Random(seed).choices(WORDS, k=120))


def chunks(text: str, seed: int) -> list[str]:
    chance, found = random.Random(seed), []
    while text:
        length = chance.choice([1, 2, 5, 40])
        found.append(text[:length])
        text = text[length:]
    return found


def ids(tokenizer: bpe.Tokenizer, texts) -> list[int]:
    found = []
    for piece, encoded in zip(texts, tokenizer.encode(texts), strict=True):
        found += encoded + [tokenizer.newline] * chunking.ends_line(piece)
    return found


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("joint", [" ", ""])
def test_the_ids_of_the_pieces_are_those_of_the_whole(tokenizer, seed, joint):
    whole = text(seed, joint)
    found = list(chunking.cut(chunks(whole, seed), 20))
    assert "".join(found) == whole.strip() + "\n" and (len(found) > 3 or not joint)
    assert ids(tokenizer, found) == [*tokenizer.encode([whole])[0], tokenizer.newline]


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_several_texts_can_be_joined(tokenizer, seed):
    whole = [text(seed + number) for number in range(3)]
    joined = "".join(piece for one in whole for piece in chunking.cut([one], 50))
    expected = [number for one in tokenizer.encode(whole) for number in (*one, tokenizer.newline)]
    assert ids(tokenizer, [joined]) == expected


def test_a_line_is_cut_between_words_only_where_no_line_ends_nearby():
    lines = "one two three\n" * 20
    assert all(piece.endswith("three\n") for piece in chunking.cut([lines], 20))
    line = list(chunking.cut(["one two three " * 20], 20))
    assert (
        len(line) > 5
        and all(20 <= len(piece) <= 42 for piece in line[:-1])
        and not any(map(chunking.ends_line, line[:-1]))
    )
    marks = list(chunking.cut(["\u732b\u3002\u5e3d\uff0c" * 20], 10))
    assert len(marks) > 4 and all(piece[-1] in "\u3002\uff0c\n" for piece in marks)


def test_a_word_is_never_cut_and_a_blank_text_has_no_pieces():
    assert list(chunking.cut(["a" * 60, "a" * 40], 10)) == ["a" * 100 + "\n"]
    assert list(chunking.cut([], 10)) == list(chunking.cut(["", " \n"] * 20, 10)) == []


def reflowed(chunked: list[str]) -> str:
    return "".join(chunking.reflow(chunked))


def test_hard_wrapped_paragraphs_become_lines():
    wrapped = "  The cat\r\nsat on\r\n the mat.\r\n\r\n \r\nThen it\nslept.\n\n\n"
    assert reflowed([wrapped]).strip() == "The cat sat on the mat.\nThen it slept."


@pytest.mark.parametrize("seed", range(40))
def test_reflowed_text_does_not_depend_on_the_chunks(seed):
    whole = text(seed)
    assert reflowed(chunks(whole, seed)) == reflowed([whole])


def test_white_space_without_end_is_not_kept():
    given = (" \n" * 1000 for _ in range(1000))
    assert reflowed(["a", *given, "b"]) == "a\nb"
    held = chunking._space("")
    for _ in range(100):
        held = chunking._space(held + " \n" * 1000)
    assert held == "\n\n"
