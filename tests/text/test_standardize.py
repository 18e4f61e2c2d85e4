"""Test the approximate clean-up on sentences worked out by hand from the original's code."""

import pytest

from gpt1_jax.text import standardize

TABLE = {
    "a\u2014b": "a - b",  # em dash
    "a \u2013 b": "a - b",  # en dash
    "x\u2015y": "x - y",  # horizontal bar
    "wait\u2026 no": "wait ... no",
    "\u00b4tis": "' tis",  # acute accent
    "\u201cHi,\u201d he said": '" hi , " he said',  # curly quotes
    "a\\b": "a\\b",  # the slip of the published pattern: the backslash is not separated
    "well-known": "well - known",
    "(x)[y]{z}|w": "( x ) [ y ] { z } | w",
    "a_b ~c *d* e/f": "a _ b ~ c * d * e / f",
    "no--yes http://x": "no -- yes http : // x",  # a run of one of these signs stays one word
    "Stop!!! Why?!": "stop ! ! ! why ? !",
    "Mr. Jones and Dr. A. Who, end.": "mr. jones and dr. a. who , end .",
    "cannot 'em o'clock 'twas": "can not 'em o'clock ' twas",
    "a+b; c": "a + b ; c",
    "Don't can't DON\u2019T": "do n't ca n't do n't",
    "it's I'm we've they're they'll he'd": "it 's i 'm we 've they 're they 'll he 'd",
    "pi is 3.14.": "pi is 3.14 .",
    "50% of $5: a=b": "50 % of $ 5 : a = b",
    "e\u0301te\u0301": "\u00e9t\u00e9",  # composed, as ftfy does
    "a  \t\u00a0 b": "a b",
}


def words(text: str, **options) -> list[str]:
    normal = standardize.normalizer().normalize_str(text)
    return [word for word, _ in standardize.pre_tokenizer(**options).pre_tokenize_str(normal)]


@pytest.mark.parametrize("text", TABLE)
def test_sentence_has_the_published_words(text):
    assert words(text) == TABLE[text].split(" ")


def test_backslash_is_separated_without_the_slip():
    separated = words(r"a\b \[c] d\\", backslash_in_word=False)
    assert separated == r"a \ b \ [ c ] d \\".split()
    for text in TABLE:
        if "\\" not in text:
            assert words(text, backslash_in_word=False) == words(text)


def test_newlines_and_their_white_space_are_one_word():
    assert words("one  \n \r\n\n  two\nthree") == ["one", "\n", "two", "\n", "three"]


def test_words_do_not_depend_on_neighbors():
    # Merges are learned from pieces of documents: a cut at a newline must not change a word.
    left, right = 'He said: "no\u2026"', "'Twas 3.5% - I can't."
    assert words(f"{left}\n{right}") == [*words(left), "\n", *words(right)]
