"""What every task needs: the row, and the clerk who draws a split's own words and sentences that no novel says."""

import random
from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.microworld.phrases import HOPING, capital, is_labelled, tail
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World


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
        self.halves = {relation: world.half(relation, split) for relation in (*RELATIONS, "people")}

    def word(self, relation: str) -> str:
        return self.rng.choice(self.halves[relation])

    def pick(self, *options):
        return self.rng.choice(options)

    def claim(self, relation: str, answer: str) -> tuple[str, str]:
        """A subject of the half and a claim that gets the answer (World.claims); mostly the good claim, as in the novels."""
        claim = self._claim(relation)
        fitting = [
            word
            for word in self.halves[relation]
            if claim in self.world.claims(relation, word).get(answer, ())
        ]
        return self.rng.choice(fitting), claim

    def _claim(self, relation: str) -> str:
        good, bad = OBJECTS[relation][:2]
        return good if self.rng.random() < HOPING else bad

    def where(self) -> str:
        return tail(self.rng)

    def choice(self, relation: str, place: int, count: int) -> tuple[str, tuple[str, ...]]:
        """A claim and `count` subjects of which it is true of the one at `place` only."""
        claim = self._claim(relation)
        table = getattr(self.world, relation)
        right = [word for word in self.halves[relation] if table[word] == claim]
        wrong = [word for word in self.halves[relation] if table[word] not in (claim, "either")]
        choices = self.rng.sample(wrong, count - 1)
        return claim, (*choices[:place], self.rng.choice(right), *choices[place:])

    def say(self, draw: Callable[[], str]) -> str:
        """Draw until the sentence is one that no novel says."""
        for _ in range(1000):
            text = draw()
            if is_labelled(text):
                return capital(text)
        raise RuntimeError(
            "every drawing of this sentence may stand in the novels: it varies too little"
        )
