"""Test that ids and reflowed text do not depend on where chunks and pieces end."""

import random
import time
import tracemalloc

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


def text(seed: int, separator: str = " ") -> str:
    return separator.join(random.Random(seed).choices(WORDS, k=120))


def chunks(text: str, seed: int) -> list[str]:
    generator, result = random.Random(seed), []
    while text:
        length = generator.choice([1, 2, 5, 40])
        result.append(text[:length])
        text = text[length:]
    return result


def ids(tokenizer: bpe.Tokenizer, pieces: list[str]) -> list[int]:
    result = []
    for piece, encoded in zip(pieces, tokenizer.encode(pieces), strict=True):
        result += encoded
        if chunking.ends_line(piece):
            result.append(tokenizer.newline)
    return result


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("separator", [" ", ""])
def test_pieces_have_the_ids_of_the_whole(tokenizer, seed, separator):
    whole = text(seed, separator)
    pieces = list(chunking.cut(chunks(whole, seed), 20))
    assert "".join(pieces) == whole.strip() + "\n" and (len(pieces) > 3 or not separator)
    assert ids(tokenizer, pieces) == [*tokenizer.encode([whole])[0], tokenizer.newline]


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_several_texts_can_be_joined(tokenizer, seed):
    texts = [text(seed + offset) for offset in range(3)]
    joined = "".join(piece for whole in texts for piece in chunking.cut([whole], 50))
    expected = [id for ids in tokenizer.encode(texts) for id in (*ids, tokenizer.newline)]
    assert ids(tokenizer, [joined]) == expected


def test_line_is_cut_only_if_no_line_ends_nearby():
    lines = "one two three\n" * 20
    assert all(piece.endswith("three\n") for piece in chunking.cut([lines], 20))
    pieces = list(chunking.cut(["one two three " * 20], 20))
    assert len(pieces) > 5
    assert all(20 <= len(piece) <= 42 for piece in pieces[:-1])
    assert not any(map(chunking.ends_line, pieces[:-1]))
    pieces = list(chunking.cut(["\u732b\u3002\u5e3d\uff0c" * 20], 10))
    assert len(pieces) > 4 and all(piece[-1] in "\u3002\uff0c\n" for piece in pieces)


def test_word_is_never_cut_and_blank_text_has_no_pieces():
    assert list(chunking.cut(["a" * 60, "a" * 40], 10)) == ["a" * 100 + "\n"]
    assert list(chunking.cut([], 10)) == list(chunking.cut(["", " \n"] * 20, 10)) == []


def reflow(chunks: list[str]) -> str:
    return "".join(chunking.reflow(chunks))


def test_hard_wrapped_paragraphs_become_lines():
    wrapped = "  The cat\r\nsat on\r\n the mat.\r\n\r\n \r\nThen it\nslept.\n\n\n"
    assert reflow([wrapped]).strip() == "The cat sat on the mat.\nThen it slept."


@pytest.mark.parametrize("seed", range(40))
def test_reflowed_text_is_independent_of_chunks(seed):
    whole = text(seed)
    assert reflow(chunks(whole, seed)) == reflow([whole])


def test_long_white_space_needs_no_memory():
    def pieces():
        yield "a"
        for _ in range(1000):
            yield " \n" * 1000
        yield "b"

    tracemalloc.start()
    assert reflow(pieces()) == "a\nb"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000  # of two million characters


LONG_RUNS = ["a" * 2500, "-" * 1001, "\u732b" * 1200, "a.b'" * 600, "\u0915\u093f" * 700]


@pytest.mark.parametrize("seed", range(20))
def test_long_runs_are_cut_wherever_chunks_end(seed):
    random_words = random.Random(seed).choices([*WORDS, *LONG_RUNS, "b" * 1000, "c,d" * 800], k=20)
    whole, reports = " ".join(random_words), []
    limited = "".join(chunking.limit_words([whole], reports.append))
    for size in (1, 7, 999, 1000, 1001, 4000):
        pieces, cuts = [whole[i : i + size] for i in range(0, len(whole), size)], []
        assert "".join(chunking.limit_words(pieces, cuts.append)) == limited
        assert sum(cuts) == sum(reports) == len(limited) - len(whole)
    assert max(map(len, chunking.RUN.findall(limited))) <= chunking.WORD_LIMIT
    assert limited.replace(" ", "") == whole.replace(" ", "")
    assert "".join(chunking.limit_words([limited])) == limited


@pytest.mark.parametrize("separator", [" ", "\n", ",", "!", "\u3002"])
def test_text_without_long_runs_is_unchanged(separator):
    whole = separator.join(["b" * 1000, "cat"] * 3)
    assert "".join(chunking.limit_words([whole])) == whole


def test_parts_of_a_long_word_are_words(tokenizer):
    word = "cathat" * 500
    parts = [word[:1000], word[1000:2000], word[2000:]]
    assert tokenizer.encode([word, word[:1000]]) == [
        [number for ids in tokenizer.encode(parts) for number in ids],
        tokenizer.encode(parts)[0],
    ]


def test_time_to_learn_merges_is_linear_in_the_length_of_a_word():
    seconds = []
    for length in (50_000, 200_000):
        word = "".join(random.Random(0).choices("acgt", k=length))
        begin = time.process_time()
        bpe.train(lambda: [word], 300)  # noqa: B023
        seconds.append(time.process_time() - begin)
    assert seconds[1] < 8 * seconds[0] + 0.5, seconds
