"""Novels: long text in which every told fact of the world can be learned."""

import random
from collections.abc import Iterator

from gpt1_jax.microworld.phrases import (
    ASKED,
    CLOSINGS,
    FAR,
    HOPING,
    NEAR,
    OPENINGS,
    PLAIN,
    SPOTS,
    TAKINGS,
    TIMES,
    capital,
    grammar,
    is_labelled,
    sentences,
)  # fmt: skip
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World

NOVEL_WORDS = 20_000
CAST = 8
ASKING = 0.6  # the fraction of telling sentences that are questions with their answers
# How often each relation is spoken of.
WEIGHTS = {"tones": 22, "things": 26, "verbs": 18, "causes": 18, "grammar": 16}


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
    people = author.rng.sample(list(world.people), len(world.people))
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

    def __init__(
        self, world: World, rng: random.Random, facts: float, far: float, weights: dict[str, float]
    ):
        self.world, self.rng, self.far = world, rng, far
        self.told = {relation: world.told(relation, facts) for relation in RELATIONS}
        self.subjects = {relation: list(getattr(world, relation)) for relation in RELATIONS}
        self.things = self.subjects["things"]
        told = [word for word in world.tones if word in self.told["tones"]]
        self.company = {
            tone: [word for word in told if world.tones[word] == tone] for tone in OBJECTS["tones"]
        }
        self.topics, self.weights = list(weights), list(weights.values())

    def novel(self, cast: list[str], words: int) -> tuple[str, int]:
        """Chapters about the cast until there are at least `words` words; the text and its number of words."""
        paragraphs, count, chapter = [], 0, 0
        while count < words:
            chapter += 1
            paragraphs.append(f"Chapter {chapter}. {self.rng.choice(cast)}.")
            for _ in range(self.rng.randint(8, 14)):
                paragraph = self.scene(cast)
                count += paragraph.count(" ") + 1
                paragraphs.append(paragraph)
        return "\n\n".join(paragraphs) + "\n", count

    def scene(self, cast: list[str]) -> str:
        """One paragraph: two people, one spot and one subject of every relation stay the same throughout."""
        rng = self.rng
        p, q = rng.sample(cast, 2)
        slots = dict(
            p=p, q=q, he=_he(p), his="her" if _he(p) == "she" else "his", spot=rng.choice(SPOTS)
        )
        subjects = {topic: rng.choice(words) for topic, words in self.subjects.items()}
        slots["t"] = subjects["things"]
        lines = [self.say(lambda: rng.choice(OPENINGS), slots)]
        for topic in rng.choices(self.topics, self.weights, k=rng.randint(8, 14)):
            lines.append(
                self.say(lambda topic=topic: self.tell(topic, subjects.get(topic), slots), slots)
            )
        lines.append(self.say(lambda: rng.choice(CLOSINGS), slots))
        return " ".join(lines)

    def say(self, pattern, slots: dict) -> str:
        """Fill patterns until no sentence is one that novels may not have."""
        for _ in range(1000):
            slots |= dict(time=self.rng.choice(TIMES), took=self.rng.choice(TAKINGS))
            slots["spot"] = slots["spot"] if self.rng.random() < 0.8 else self.rng.choice(SPOTS)
            text = pattern().format_map(slots)
            if not any(map(is_labelled, sentences(text))):
                return capital(text)
        raise RuntimeError("no sentence is left for the novels: the patterns are too few")

    def tell(self, topic: str, x: str | None, slots: dict) -> str:
        """A pattern for a fact of the topic, after putting what it names into slots; a finished sentence for grammar."""
        rng, world = self.rng, self.world
        if topic == "grammar":
            return grammar(rng, self.things, world.stuffs, good=True)
        slots |= dict(x=x, y=getattr(world, topic)[x])
        if x not in self.told[topic] or (
            topic == "tones" and min(map(len, self.company.values())) < 2
        ):
            return rng.choice(PLAIN[topic])
        claims = world.claims(topic, x)
        if rng.random() < ASKING:
            return self.ask(topic, claims)
        if topic == "tones":
            self._keep_company(x, slots)
        if slots["y"] == "either":
            slots["y"] = rng.choice(claims["maybe"])
        return rng.choice((FAR if rng.random() < self.far else NEAR)[topic])

    def ask(self, topic: str, claims: dict[str, tuple[str, ...]]) -> str:
        """One or both claims and their answers. Mostly the first is the good one: were both as likely, the answer would go with neither
        the subject nor the claim alone, and a small model would not find out in its time that it goes with the two together.
        """
        leads, form = ASKED[topic]
        asked = sorted(
            (OBJECTS[topic].index(claim), claim, answer)
            for answer, fitting in claims.items()
            for claim in fitting
        )
        asked = asked[:: 1 if self.rng.random() < HOPING else -1][: self.rng.randint(1, 2)]
        return " ".join(
            [
                self.rng.choice(leads),
                *(f"{form.format(claim=claim)}? {answer}." for _, claim, answer in asked),
            ]
        )

    def _keep_company(self, x: str, slots: dict):
        tone = self.world.tones[x]
        slots["also"] = next(word for word in self.rng.sample(self.company[tone], 2) if word != x)
        slots["not_x"] = self.rng.choice(self.company["bad" if tone == "good" else "good"])
        slots["mood"] = "glad" if tone == "good" else "sad"


def _he(person: str) -> str:
    return "she" if person.endswith("a") else "he"
