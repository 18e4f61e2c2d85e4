"""Test the facts of the world."""

import itertools

from gpt1_jax.microworld.world import GAINS, LOSSES, OBJECTS, RELATIONS, draw


def test_halves_are_disjoint_and_have_the_same_objects(world):
    for relation in RELATIONS:
        facts = getattr(world, relation)
        train, held_out = (world.words(relation, split) for split in ("train", "held_out"))
        assert set(train) | set(held_out) == set(facts) and not set(train) & set(held_out)
        assert world.words(relation, "dev") == world.words(relation, "test") == list(facts)
        assert sorted(facts[word] for word in train) == sorted(facts[word] for word in held_out)


def test_facts_of_pairs_follow_from_no_single_word(world):
    tones = [[world.tone(x, spot) for spot in world.spots] for x in world.tones]
    assert {column.count("good") for column in zip(*tones, strict=True)} == {len(tones) / 2}
    assert {row.count("good") for row in tones} == {3, 9}
    for split in ("train", "held_out"):
        assert set(world.contrary) & set(world.words("spots", split))
    moods = {(took, fact): set() for took in (*GAINS, *LOSSES) for fact in OBJECTS["things"]}
    for (took, fact), found in moods.items():
        found |= {world.mood(took, x) for x, other in world.things.items() if other == fact}
    assert moods["kept", "good"] == moods["lost", "bad"] == {"gladly"}
    assert moods["kept", "bad"] == moods["lost", "good"] == {"sadly"}
    assert moods["kept", "either"] == moods["lost", "either"] == {"calmly"}


def test_subjects_of_a_smaller_fraction_are_a_subset(world):
    for relation in RELATIONS:
        stated = [world.stated_subjects(relation, fraction) for fraction in (0, 0.25, 0.5, 1)]
        assert all(a < b for a, b in itertools.pairwise(stated))
        assert stated[0] == set() and stated[-1] == set(getattr(world, relation))


def test_seeds_are_different_worlds():
    assert draw(0) == draw(0)
    assert set(draw(0).tones) != set(draw(1).tones)
