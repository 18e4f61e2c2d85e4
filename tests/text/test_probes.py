"""Test the zero-shot texts: prefixes, targets, and their streams."""

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.text import probes


@pytest.mark.parametrize(
    ("text", "pronoun", "prefix", "target"),
    [
        (
            "Ann bit Bea since it hurt, and it did.",
            "it",
            "Ann bit Bea since ANN",
            " hurt, and it did.",
        ),
        ("Witty kits sit: it's a habit.", "it", "Witty kits sit: ANN", "'s a habit."),
        # The match with the same case comes first.
        ("He saw it, he said.", "he", "He saw it, ANN", " said."),
        ("They hid. Why?", "they", "ANN", " hid. Why?"),
        ("A price of (it) was.", "(it)", "A price of ANN", " was."),
    ],
)
def test_candidate_replaces_the_first_whole_word(text, pronoun, prefix, target):
    assert probes.substitution((text, pronoun, "ANN", "bea")) == [
        (prefix, target),
        (prefix.replace("ANN", "bea"), target),
    ]


def test_sentence_without_the_pronoun_is_refused():
    with pytest.raises(ValueError, match="no word 'it' found in 'He bit.'"):
        probes.substitution(("He bit.", "it", "a", "b"))


def test_texts_of_the_other_probes():
    assert probes.sentence(("A ship.",)) == [("", "A ship.")]
    assert probes.continuation(("A ship .",), "very", ("old", "new")) == [
        ("A ship . very", "old"),
        ("A ship . very", "new"),
    ]
    assert probes.answers(("Passage.", "Why?", "a", "b", "c"), contexts=2) == [
        ("Passage. Why?", answer) for answer in "abc"
    ]


def test_parts_have_the_ids_of_the_whole(tokenizer):
    text = "Ann's dog, it isn't here... it's 3.5 miles away; who's there? \"It,\" she said."
    substituted = probes.substitution((text, "it", "the dog", "they're"))
    for prefix, target in substituted + probes.answers((text, text), 1):
        whole = f"{prefix} {target}" if target == text else prefix + target
        assert [sum(tokenizer.encode([prefix, target]), [])] == tokenizer.encode([whole])


def test_stream_is_opening_prefix_and_target():
    assert probes.stream([9], [1, 2], [3, 4], context=4) == probes.Stream(
        [9, 1, 2, 3, 4], first=3, cut=False
    )


@pytest.mark.parametrize(
    ("context", "ids", "first"),
    [(3, [1, 2, 3, 4], 2), (2, [2, 3, 4], 1), (1, [3, 4], 1)],
)
def test_long_stream_drops_its_beginning(context, ids, first):
    assert probes.stream([9], [1, 2], [3, 4], context) == probes.Stream(ids, first, cut=True)


def test_first_token_is_not_scored():
    assert probes.stream([], [], [3, 4], context=4) == probes.Stream([3, 4], first=1, cut=False)
    for opening, prefix, target in (([], [], [3]), ([9], [1], [])):
        with pytest.raises(ValueError, match="no token to score"):
            probes.stream(opening, prefix, target, context=4)


def test_start_is_newline_nothing_or_a_text(tokenizer, monkeypatch):
    assert probes.start("newline", tokenizer) == [tokenizer.newline]
    assert probes.start("none", tokenizer) == []
    assert [probes.start("The end.", tokenizer)] == tokenizer.encode(["The end."])
    monkeypatch.setattr(tokenizer, "newline", None)
    with pytest.raises(UserError, match="config.start: .*newline"):
        probes.start("newline", tokenizer)
