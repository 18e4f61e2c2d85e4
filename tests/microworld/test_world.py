"""Test the facts of the world."""

import itertools

from gpt1_jax.microworld.world import RELATIONS, draw


def test_halves_are_disjoint_and_have_the_same_objects(world):
    for relation in RELATIONS:
        facts = getattr(world, relation)
        train, dev = world.half(relation, "train"), world.half(relation, "dev")
        assert set(train) | set(dev) == set(facts) and not set(train) & set(dev)
        assert world.half(relation, "test") == dev
        assert sorted(facts[word] for word in train) == sorted(facts[word] for word in dev)


def test_subjects_of_a_smaller_fraction_are_a_subset(world):
    for relation in RELATIONS:
        stated = [world.stated_subjects(relation, fraction) for fraction in (0, 0.25, 0.5, 1)]
        assert all(a < b for a, b in itertools.pairwise(stated))
        assert stated[0] == set() and stated[-1] == set(getattr(world, relation))


def test_seeds_are_different_worlds():
    assert draw(0) == draw(0)
    assert set(draw(0).tones) != set(draw(1).tones)
