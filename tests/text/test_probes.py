"""Zero-shot texts: what is given, what is scored, and what of it fits."""

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.text import probes


@pytest.mark.parametrize(
    ("text", "pronoun", "given", "scored"),
    [
        (
            "Ann bit Bea since it hurt, and it did.",
            "it",
            "Ann bit Bea since ANN",
            " hurt, and it did.",
        ),
        ("Witty kits sit: it's a habit.", "it", "Witty kits sit: ANN", "'s a habit."),
        (
            "He saw it, he said.",
            "he",
            "He saw it, ANN",
            " said.",
        ),  # the pronoun as it is written comes first
        ("They hid. Why?", "they", "ANN", " hid. Why?"),
        ("A price of (it) was.", "(it)", "A price of ANN", " was."),
    ],
)
def test_candidate_takes_the_place_of_the_first_whole_word(text, pronoun, given, scored):
    assert probes.substitution((text, pronoun, "ANN", "bea")) == [
        (given, scored),
        (given.replace("ANN", "bea"), scored),
    ]


def test_sentence_without_the_pronoun():
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


def test_ids_of_the_parts_are_those_of_the_whole(tokenizer):
    text = "Ann's dog, it isn't here... it's 3.5 miles away; who's there? \"It,\" she said."
    for given, scored in probes.substitution((text, "it", "the dog", "they're")) + probes.answers(
        (text, text), 1
    ):
        parts = [identity for part in tokenizer.encode([given, scored]) for identity in part]
        assert [parts] == tokenizer.encode(
            [f"{given} {scored}" if scored == text else given + scored]
        )


def test_stream_is_opening_given_and_scored():
    assert probes.stream([9], [1, 2], [3, 4], context=4) == probes.Stream(
        [9, 1, 2, 3, 4], first=3, cut=False
    )


@pytest.mark.parametrize(
    ("context", "ids", "first"),
    [(3, [1, 2, 3, 4], 2), (2, [2, 3, 4], 1), (1, [3, 4], 1)],  # so many tokens can be predicted
)
def test_a_long_stream_loses_its_beginning_and_keeps_what_is_scored(context, ids, first):
    assert probes.stream([9], [1, 2], [3, 4], context) == probes.Stream(ids, first, cut=True)


def test_the_first_token_of_all_is_not_scored():
    assert probes.stream([], [], [3, 4], context=4) == probes.Stream([3, 4], first=1, cut=False)
    for opening, given, scored in (([], [], [3]), ([9], [1], [])):
        with pytest.raises(ValueError, match="no token to score"):
            probes.stream(opening, given, scored, context=4)


def test_what_opens_a_stream(tokenizer, monkeypatch):
    assert probes.start("newline", tokenizer) == [tokenizer.newline]
    assert probes.start("none", tokenizer) == []
    assert [probes.start("The end.", tokenizer)] == tokenizer.encode(["The end."])
    monkeypatch.setattr(tokenizer, "newline", None)
    with pytest.raises(UserError, match="config.start: .*newline"):
        probes.start("newline", tokenizer)
