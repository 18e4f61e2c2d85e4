"""Define the labeled row and the sampler of its words and sentences."""

import random
from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.microworld.phrases import GOOD_CLAIM_RATE, capitalize, is_reserved, location_phrase
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World, answer


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
    """Sample the words that rows of one split may use, and sentences that are in no novel."""

    def __init__(self, world: World, split: str, seed: str):
        self.world, self.split, self.rng = world, split, random.Random(seed)
        names = (*RELATIONS, "people", "spots")
        self.words = {name: world.words(name, split) for name in names}

    def word(self, relation: str) -> str:
        """Sample a subject."""
        return self.rng.choice(self.words[relation])

    def pick(self, *options: str) -> str:
        """Sample one of the options."""
        return self.rng.choice(options)

    def location(self) -> str:
        """Sample a phrase that says where something happened."""
        return location_phrase(self.rng)

    def claim(self, relation: str, correct: str) -> tuple[str, str]:
        """Sample a subject and a claim to which the answer `correct` is right (world.answer)."""
        claim, facts = self.plain_claim(relation), getattr(self.world, relation)
        subjects = [word for word in self.words[relation] if answer(facts[word], claim) == correct]
        return self.rng.choice(subjects), claim

    def adjective(self, spot: str, tone: str) -> str:
        """Sample an adjective that has this tone at the spot."""
        return self.pick(*(x for x in self.words["tones"] if self.world.tone(x, spot) == tone))

    def choices(self, relation: str, correct: int, count: int) -> tuple[str, tuple[str, ...]]:
        """Sample a claim and `count` subjects. The claim is true of subject `correct` only."""
        claim = self.plain_claim(relation)
        facts = getattr(self.world, relation)
        true = [word for word in self.words[relation] if facts[word] == claim]
        false = [word for word in self.words[relation] if facts[word] not in (claim, "either")]
        others = self.rng.sample(false, count - 1)
        return claim, (*others[:correct], self.rng.choice(true), *others[correct:])

    def sentence(self, draw: Callable[[], str]) -> str:
        """Draw until a sentence is reserved for the tasks, and return the capitalized sentence."""
        for _ in range(1000):
            text = draw()
            if is_reserved(text):
                return capitalize(text)
        raise RuntimeError("no drawn sentence is reserved for the tasks: its pattern is too narrow")

    def plain_claim(self, relation: str) -> str:
        """Sample a claim, most often the good one: a model then sees early what decides a row."""
        good, bad = OBJECTS[relation][:2]
        return good if self.rng.random() < GOOD_CLAIM_RATE else bad
