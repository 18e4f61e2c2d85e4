"""Generate novels: long texts from which the stated facts of the world can be learned."""

import functools
import random
from collections.abc import Callable, Iterator

from gpt1_jax.microworld.phrases import (
    CLOSINGS,
    FAR,
    GOOD_CLAIM_RATE,
    NEAR,
    NEUTRAL,
    OPENINGS,
    PAIRS,
    QUESTIONS,
    TIMES,
    capitalize,
    grammar_sentence,
    is_reserved,
    location_phrase,
    split_clauses,
)
from gpt1_jax.microworld.world import MOODS, OBJECTS, RELATIONS, SPOTS, TAKING_VERBS, World, answer

NOVEL_WORDS = 20_000
CAST_SIZE = 8
# topic -> its relative frequency
TOPICS = {"tones": 30, "things": 40, "verbs": 9, "causes": 9, "grammar": 12}
# topic -> the relative frequencies of plain statements, facts of pairs, and questions
KINDS = {"tones": (30, 65, 5), "things": (30, 50, 20), "verbs": (60, 0, 40), "causes": (60, 0, 40)}

ANSWERS = {MOODS["good"]: "yes", MOODS["bad"]: "no", MOODS["either"]: "maybe"}


def generate_novels(
    world: World, words: int, seed: int = 0, facts: float = 1.0, *, far: float = 0.1
) -> Iterator[str]:
    """Yield novels of about NOVEL_WORDS words until they have `words` words in total.

    A blank line follows every paragraph. A sentence that `is_reserved` is never written, so the
    sentences of the tasks are held out.

    Args:
        facts: the fraction of every relation's facts that the novels state (World.stated_subjects).
            The other words occur without their meaning.
        far: the fraction of statements whose object is five or more words from its subject.
    """
    author = Author(world, random.Random(f"novels/{world.seed}/{seed}"), facts, far)
    people = author.rng.sample(world.people, len(world.people))
    number = 0
    while words > 0:
        # The cast rotates through the people, so a short corpus mentions everybody.
        cast = [people[(number * CAST_SIZE + i) % len(people)] for i in range(CAST_SIZE)]
        text, count = author.write_novel(cast, min(words, NOVEL_WORDS))
        yield text
        words -= count
        number += 1


class Author:
    """Write texts about one world with one random generator."""

    def __init__(self, world: World, rng: random.Random, facts: float, far: float):
        self.world, self.rng, self.far = world, rng, far
        self.stated = {relation: world.stated_subjects(relation, facts) for relation in RELATIONS}
        self.subjects = {relation: list(getattr(world, relation)) for relation in RELATIONS}

    def write_novel(self, cast: list[str], words: int) -> tuple[str, int]:
        """Return chapters with at least `words` words in total, and their number of words."""
        paragraphs, count, chapter = [], 0, 0
        while count < words:
            chapter += 1
            paragraphs.append(f"Chapter {chapter}. {self.rng.choice(cast)}.")
            for _ in range(self.rng.randint(8, 14)):
                paragraph = self.write_scene(cast)
                count += paragraph.count(" ") + 1
                paragraphs.append(paragraph)
        return "\n\n".join(paragraphs) + "\n", count

    def write_scene(self, cast: list[str]) -> str:
        """Return one paragraph about two people."""
        rng = self.rng
        p, q = rng.sample(cast, 2)
        is_woman = p.endswith("a")
        slots = dict(p=p, q=q, he="she" if is_woman else "he", his="her" if is_woman else "his")
        lines = [self.fill_pattern(functools.partial(rng.choice, OPENINGS), slots)]
        for topic in rng.choices(list(TOPICS), list(TOPICS.values()), k=rng.randint(8, 14)):
            lines.append(
                self.fill_pattern(functools.partial(self.draw_pattern, topic, slots), slots)
            )
        lines.append(self.fill_pattern(functools.partial(rng.choice, CLOSINGS), slots))
        return " ".join(lines)

    def fill_pattern(self, draw_pattern: Callable[[], str], slots: dict[str, str]) -> str:
        """Draw and fill patterns until no sentence of the text is reserved for the tasks."""
        for _ in range(1000):
            slots["time"], slots["spot"] = self.rng.choice(TIMES), self.rng.choice(SPOTS)
            slots["took"], slots["where"] = self.rng.choice(TAKING_VERBS), location_phrase(self.rng)
            text = draw_pattern().format_map(slots)
            if not any(is_reserved(clause) for clause in split_clauses(text)):
                return capitalize(text)
        raise RuntimeError(
            "every drawn sentence is reserved for the tasks: the patterns are too few"
        )

    def draw_pattern(self, topic: str, slots: dict[str, str]) -> str:
        """Return a pattern about the topic and set its slots. For grammar, return a sentence."""
        rng, world = self.rng, self.world
        if topic == "grammar":
            return grammar_sentence(rng, self.subjects["things"], world.stuffs, correct=True)
        subject = slots["x"] = rng.choice(self.subjects[topic])
        if subject not in self.stated[topic]:
            return rng.choice(NEUTRAL[topic])
        (kind,) = rng.choices(("plain", "pair", "question"), KINDS[topic])
        fact = getattr(world, topic)[subject]
        if kind == "pair" and topic == "tones":
            slots["y"] = world.tone(subject, slots["spot"])
        elif kind == "pair":
            slots["y"] = world.mood(slots["took"], subject)
            slots["yes"] = ANSWERS[slots["y"]]
        elif kind == "question":
            fact = world.tone(subject, slots["spot"]) if topic == "tones" else fact
            claim = OBJECTS[topic][rng.random() >= GOOD_CLAIM_RATE]
            return f"{rng.choice(QUESTIONS[topic])} {claim}? {answer(fact, claim)}."
        else:
            slots["y"] = rng.choice(OBJECTS[topic][:2]) if fact == "either" else fact
            return rng.choice((FAR if rng.random() < self.far else NEAR)[topic])
        return rng.choice(PAIRS[topic])
