"""Novels: long text in which every told fact of the world can be learned."""

import random
from collections.abc import Iterator

from gpt1_jax.datasets.microworld.phrases import (
    ASKED,
    CLOSINGS,
    FAR,
    NEAR,
    OPENINGS,
    PLAIN,
    SPOTS,
    TIMES,
    capital,
    grammar,
    is_labelled,
)  # fmt: skip
from gpt1_jax.datasets.microworld.world import RELATIONS, World, free_traits

NOVEL_WORDS = 20_000
CAST = 8
ASKING = 0.4  # the fraction of sentences about tones that are questions with their answers
# How often each relation is spoken of: what the quickstart's tasks turn on is told most, so that a tiny model has it in minutes.
WEIGHTS = {
    "tones": 60, "kinds": 20, "traits": 5, "aliases": 10, "verbs": 8, "homes": 6, "jobs": 5, "tastes": 6, "causes": 10,
    "grammar": 10,
}  # fmt: skip


def novels(
    world: World,
    words: int,
    seed: int = 0,
    facts: float = 1.0,
    *,
    far: float = 0.1,
    weights: dict[str, float] = WEIGHTS,
) -> Iterator[str]:
    """Novels of about NOVEL_WORDS words, until there are `words` in all; one string each, a blank line after
    every paragraph.

    Args:
        facts: the fraction of every relation's facts that are told (World.told); the other words just occur.
        far: the fraction of the telling sentences whose telling word is five or more words from its subject.
        weights: how often each relation, and "grammar", is spoken of.

    A sentence that is_labelled is never written, so the tasks' sentences are held out.
    """
    author = Author(world, random.Random(f"novels/{world.seed}/{seed}"), facts, far, weights)
    people = author.rng.sample(list(world.homes), len(world.homes))
    number = 0
    while words > 0:
        # The cast moves through the people, so that a short corpus still meets everyone.
        cast = [people[(number * CAST + i) % len(people)] for i in range(min(CAST, len(people)))]
        text, count = author.novel(cast, min(words, NOVEL_WORDS))
        yield text
        words -= count
        number += 1


class Author:
    """Writes sentences of one world by one random generator."""

    def __init__(self, world: World, rng: random.Random, facts: float, far: float, weights: dict[str, float]):
        self.world, self.rng, self.far = world, rng, far
        self.told = {relation: world.told(relation, facts) for relation in RELATIONS}
        self.subjects = {relation: list(getattr(world, relation)) for relation in RELATIONS}
        self.things = self.subjects["kinds"]
        told = [word for word in world.tones if word in self.told["tones"]]
        self.company = {good: [word for word in told if world.tones[word] is good] for good in (True, False)}
        self.topics, self.weights = list(weights), list(weights.values())

    def novel(self, cast: list[str], words: int) -> tuple[str, int]:
        """Chapters about the cast until there are at least `words` words; the text and its number of words."""
        paragraphs, count, chapter = [], 0, 0
        while count < words:
            chapter += 1
            place = self.rng.choice(self.world.places)
            paragraphs.append(f"Chapter {chapter}. {place}.")
            for _ in range(self.rng.randint(8, 14)):
                paragraph = self.scene(cast, place)
                count += paragraph.count(" ") + 1
                paragraphs.append(paragraph)
        return "\n\n".join(paragraphs) + "\n", count

    def scene(self, cast: list[str], place: str) -> str:
        """One paragraph: two people, one spot, one thing and one event stay the same throughout."""
        rng = self.rng
        p, q = rng.sample(cast, 2)
        he, his = ("she", "her") if p.endswith("a") else ("he", "his")
        slots = dict(p=p, q=q, he=he, his=his, spot=rng.choice(SPOTS), place=place, time=rng.choice(TIMES))
        slots |= dict(thing=rng.choice(self.things), event=rng.choice(self.subjects["causes"]))
        lines = [self.say(lambda: rng.choice(OPENINGS), slots)]
        for topic in rng.choices(self.topics, self.weights, k=rng.randint(5, 9)):
            lines.append(self.say(lambda topic=topic: self.tell(topic, slots), slots))
        lines.append(self.say(lambda: rng.choice(CLOSINGS), slots))
        return " ".join(lines)

    def say(self, pattern, slots: dict) -> str:
        """Fill patterns until the sentence is one that novels may have."""
        for _ in range(1000):
            slots["time"] = self.rng.choice(TIMES)
            slots["spot"] = slots["spot"] if self.rng.random() < 0.8 else self.rng.choice(SPOTS)
            text = pattern().format_map(slots)
            if not is_labelled(text):
                return capital(text)
        raise RuntimeError("no sentence is left for the novels: the patterns are too few")

    def tell(self, topic: str, slots: dict) -> str:
        """A pattern for a fact of the topic, after putting its x, y, z into slots; a finished sentence for grammar."""
        if topic == "grammar":
            return grammar(self.rng, self.world, self.things, self.world.stuffs, good=True)
        x = slots["x"] = self.subject(topic, slots)
        slots["t"] = slots["thing"]
        if x not in self.told[topic] or (topic == "tones" and min(map(len, self.company.values())) < 2):
            return self.rng.choice(PLAIN[_CLASS.get(topic, topic)])
        if topic == "tones":
            self._tones(x, slots)
            if self.rng.random() < ASKING:
                return self.rng.choice(ASKED)
        elif topic == "traits":
            fixed = self.rng.random() < 0.7
            slots["y"] = self.rng.choice(self.world.traits[x] if fixed else free_traits(self.world, x))
        else:
            slots["y"] = getattr(self.world, topic)[x]
        if topic in ("kinds", "traits") and x in self.told["aliases"] and self.rng.random() < 0.3:
            slots["x"] = self.world.aliases[x]
        return self.rng.choice((FAR if self.rng.random() < self.far else NEAR)[topic])

    def subject(self, topic: str, slots: dict) -> str:
        """Who or what to speak of: the scene's own where it has one, mostly."""
        if topic in ("homes", "jobs", "tastes"):
            x, slots["o"] = self.rng.sample((slots["p"], slots["q"]), 2)
            return x
        own = {"kinds": "thing", "traits": "thing", "aliases": "thing", "causes": "event"}.get(topic)
        if own and self.rng.random() < 0.7:
            return slots[own]
        return self.rng.choice(self.subjects[topic])

    def _tones(self, x: str, slots: dict):
        good = self.world.tones[x]
        slots["y"] = next(word for word in self.rng.sample(self.company[good], 2) if word != x)
        slots["z"] = self.rng.choice(self.company[not good])
        slots["claim"], slots["answer"] = self.rng.choice((("positive", "yes" if good else "no"), ("negative", "no" if good else "yes")))
        slots["verdict"], slots["mood"] = ("positive", "glad") if good else ("negative", "sad")


# The kind of word that a relation is about, where PLAIN speaks of the kind and not of the relation.
_CLASS = {relation: "things" for relation in ("kinds", "traits", "aliases")} | {
    relation: "people" for relation in ("homes", "jobs", "tastes")
}
