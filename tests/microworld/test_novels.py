"""Test that the novels state the facts that they should state, and no others."""

import collections
import itertools
import re

import pytest

from gpt1_jax.microworld.novels import generate_novels
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, draw


def words(text):
    return re.findall("[a-z]+", text.lower())


def sentences(text):
    return [" ".join(words(sentence)) for sentence in re.split(r"[.?!]", text)]


def without_questions(text):
    return re.sub(r"[^.?]*[?]", "", text)


def test_length_is_as_requested(world, book):
    assert 300_000 <= len(book.split()) < 305_000
    assert len(list(generate_novels(world, 45_000))) == 3


@pytest.mark.parametrize("facts", [0, 0.01, 0.25, 1])
def test_any_fraction_of_facts_gives_a_novel(world, facts):
    assert len(list(generate_novels(world, 5000, facts=facts))) == 1


def test_every_fact_is_stated(world, book):
    word_sets = [set(sentence.split()) for sentence in sentences(book)]
    for relation in RELATIONS:
        for subject, item in getattr(world, relation).items():
            counts = {
                claim: sum({subject.lower(), claim} <= sentence for sentence in word_sets)
                for claim in OBJECTS[relation][:2]
            }
            claims = counts if item == "either" else (item,)
            assert min(counts[claim] for claim in claims) >= 15, f"{relation}: {subject}: {counts}"


def test_facts_of_pairs_are_stated(world, book):
    text = " ".join(book.lower().split())
    at_spots = re.findall(r"(?:was|a) (\w+)(?: (\w+))?, very (good|bad)\.", text)
    spots = re.findall(r"the (\w+) was (\w+), very (good|bad)\.", text)
    assert len(at_spots) > 2000 and len(spots) > 1000
    assert all(world.tone(adjective, spot) == tone for spot, adjective, tone in spots)
    moods = re.findall(r"(\w+) the (\w+) (gladly|sadly|calmly)\.", text)
    assert len(moods) > 1000 and all(world.mood(verb, x) == mood for verb, x, mood in moods)
    question = r"(?:so )?was \w+ (?:then )?glad of it(?: then)?\?"
    glad = re.findall(rf"(\w+) the (\w+) \w+ the \w+\. {question} (yes|no|maybe)\.", text)
    answers = {"gladly": "yes", "sadly": "no", "calmly": "maybe"}
    assert len(glad) > 500
    assert all(answers[world.mood(verb, x)] == answer for verb, x, answer in glad)


def association(world, relation, text):
    """Return the share of subjects with one object whose own object is nearer than the other one.

    Near means within three words. Questions do not count.
    """
    facts = {
        subject.lower(): item
        for subject, item in getattr(world, relation).items()
        if item != "either"
    }
    text_words = words(" ".join(without_questions(text).split()))
    near = collections.Counter(
        (word, other)
        for i, word in enumerate(text_words)
        if word in facts
        for other in text_words[max(0, i - 3) : i + 4]
    )
    nearest = {x: max(OBJECTS[relation][:2], key=lambda item: near[x, item]) for x in facts}
    return sum(facts[x] == nearest[x] for x in facts) / len(facts)


@pytest.mark.parametrize("relation", RELATIONS)
def test_word_pairs_within_three_words_reveal_the_facts(world, book, relation):
    assert association(world, relation, book) >= 0.9
    silent = []
    for seed in range(3):
        other = draw(seed)
        text = " ".join(generate_novels(other, 50_000, facts=0.0))
        silent.append(association(other, relation, text))
    assert sum(silent) / len(silent) < 0.75


def test_far_objects_are_five_or_more_words_away(world):
    near = {}
    for far in (0.0, 1.0):
        text = words(without_questions(" ".join(generate_novels(world, 100_000, far=far))))
        near[far] = sum(
            world.causes[word] in text[i + 1 : i + 5]
            for i, word in enumerate(text)
            if word in world.causes
        )
    assert near[1.0] == 0 < near[0.0]


def test_answers_follow_from_the_world(world, book):
    answers = collections.Counter()
    exchange = r"(\w+)(?: (\w+))?(?:\. was \w+| bring a)? (\w+)\? (yes|no|maybe)\."
    for first, second, claim, answer in re.findall(exchange, " ".join(book.lower().split())):
        for relation in RELATIONS:
            facts = getattr(world, relation)
            subject = first if first in facts else second
            if subject in facts and claim in OBJECTS[relation]:
                fact = world.tone(subject, second) if relation == "tones" else facts[subject]
                expected = "maybe" if fact == "either" else "yes" if claim == fact else "no"
                assert answer == expected
                answers[relation, answer] += 1
    for relation in RELATIONS:
        assert answers[relation, "yes"] > 200 and answers[relation, "no"] > 200
    assert answers["things", "maybe"] > 200


def test_grammar_is_that_of_the_tasks(world, book):
    singulars, plurals = "|".join(world.things), "|".join(thing + "s" for thing in world.things)
    assert len(re.findall(rf"\bmany ({plurals})\b", book)) > 200
    errors = rf"\b(this|much) ({plurals})\b|\b(these|many) ({singulars})\b"
    assert not re.findall(errors, book)


@pytest.mark.parametrize("facts", [0.0, 0.5])
def test_other_facts_are_not_stated(world, facts):
    text = " ".join(generate_novels(world, 150_000, facts=facts))
    word_sets = [set(sentence.split()) for sentence in sentences(text)]
    for relation in ("causes", "verbs"):
        for subject in set(getattr(world, relation)) - world.stated_subjects(relation, facts):
            mentions = [sentence for sentence in word_sets if subject in sentence]
            assert mentions, f"{subject} must occur without its meaning"
            assert not any(set(OBJECTS[relation]) & sentence for sentence in mentions)


def test_sentences_of_the_tasks_are_held_out(book, labeled):
    all_sentences = " " + " | ".join(sentences(book)) + " "
    for splits in labeled.values():
        for row in itertools.chain(*splits.values()):
            row_sentences = [one for text in row.texts for one in sentences(text) if one]
            assert not [one for one in row_sentences if f" {one} " in all_sentences]
