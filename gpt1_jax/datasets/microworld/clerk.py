"""What every task needs: the row, and the clerk who draws a split's own words and sentences that no novel says."""

import random
from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.datasets.microworld.phrases import capital, is_labelled, tail
from gpt1_jax.datasets.microworld.world import RELATIONS, World
from gpt1_jax.errors import UserError


class Row(NamedTuple):
    """One labelled example, still without a file's columns.

    texts: one text or a pair; RACE's passage, Story Cloze's four sentences, the sentence with a pronoun.
    label: the class as GLUE numbers it (mnli: entailment, neutral, contradiction; rte and qnli: entailment is 0), a
        score for stsb, the place of the right choice where there are choices.
    choices: the answers, endings or candidates. question: RACE's question; the pronoun.
    """

    texts: tuple[str, ...]
    label: int | float
    choices: tuple[str, ...] = ()
    question: str = ""


class Clerk:
    """Draws words of a split's half, and sentences that no novel says."""

    def __init__(self, world: World, split: str, seed: str):
        self.world, self.split, self.rng = world, split, random.Random(seed)
        self.halves = {relation: world.half(relation, split) for relation in RELATIONS}

    def word(self, relation: str) -> str:
        return self.rng.choice(self.halves[relation])

    def thing(self, is_fit) -> str:
        """One of the half's things that fits; UserError if the world is too small to have one."""
        fitting = [thing for thing in self.halves["kinds"] if is_fit(thing)]
        if not fitting:
            raise UserError("microworld: no thing of this seed fits a row; raise things_per_kind or take another seed")
        return self.rng.choice(fitting)

    def pick(self, *options):
        return self.rng.choice(options)

    def where(self) -> str:
        return tail(self.rng, self.world)

    def four(self, right: str, options, place: int, *, beside=()) -> tuple[str, ...]:
        """Four of the options in random order: the right one at `place`, those `beside` it always among them."""
        others = [option for option in options if option not in (right, *beside)]
        wrong = [*beside, *self.rng.sample(others, 3 - len(beside))]
        self.rng.shuffle(wrong)
        return (*wrong[:place], right, *wrong[place:])

    def say(self, draw: Callable[[], str]) -> str:
        """Draw until the sentence is one that no novel says."""
        for _ in range(1000):
            text = draw()
            if is_labelled(text):
                return capital(text)
        raise RuntimeError("every drawing of this sentence may stand in the novels: it varies too little")
