"""Define the labeled row and the sampler of its words and sentences."""

import random
from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.microworld.phrases import GOOD_CLAIM_RATE, capitalize, is_reserved, location_phrase
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World


class TaskRow(NamedTuple):
    """Hold one labeled example of a task, independent of the columns of a file.

    Attributes:
        texts: one text or a pair; RACE's passage, Story Cloze's four sentences, or the sentence
            with a pronoun.
        label: the class as GLUE numbers it (mnli: entailment, neutral, contradiction; rte and qnli:
            entailment is 0), the score for stsb, or the index of the correct choice.
        choices: the answers, endings or candidates.
        question: RACE's question, or the pronoun.
    """

    texts: tuple[str, ...]
    label: int | float
    choices: tuple[str, ...] = ()
    question: str = ""


class RowSampler:
    """Sample the words of one split's half, and sentences that are in no novel."""

    def __init__(self, world: World, split: str, seed: str):
        self.world, self.split, self.rng = world, split, random.Random(seed)
        self.halves = {relation: world.half(relation, split) for relation in (*RELATIONS, "people")}

    def word(self, relation: str) -> str:
        """Sample a subject of the half."""
        return self.rng.choice(self.halves[relation])

    def pick(self, *options: str) -> str:
        """Sample one of the options."""
        return self.rng.choice(options)

    def location(self) -> str:
        """Sample a phrase that says where something happened."""
        return location_phrase(self.rng)

    def claim(self, relation: str, answer: str) -> tuple[str, str]:
        """Sample a subject of the half and a claim for which `answer` is correct (World.claims).

        The claim is mostly the good one, as in the novels.
        """
        claim = self._claim(relation)
        subjects = [
            word
            for word in self.halves[relation]
            if claim in self.world.claims(relation, word).get(answer, ())
        ]
        return self.rng.choice(subjects), claim

    def choices(self, relation: str, correct: int, count: int) -> tuple[str, tuple[str, ...]]:
        """Sample a claim and `count` subjects. The claim is true of subject `correct` only."""
        claim = self._claim(relation)
        facts = getattr(self.world, relation)
        true = [word for word in self.halves[relation] if facts[word] == claim]
        false = [word for word in self.halves[relation] if facts[word] not in (claim, "either")]
        others = self.rng.sample(false, count - 1)
        return claim, (*others[:correct], self.rng.choice(true), *others[correct:])

    def sentence(self, draw: Callable[[], str]) -> str:
        """Draw until a sentence is reserved for the tasks, and return the capitalized sentence."""
        for _ in range(1000):
            text = draw()
            if is_reserved(text):
                return capitalize(text)
        raise RuntimeError("no drawn sentence is reserved for the tasks: its pattern is too narrow")

    def _claim(self, relation: str) -> str:
        good, bad = OBJECTS[relation][:2]
        return good if self.rng.random() < GOOD_CLAIM_RATE else bad
