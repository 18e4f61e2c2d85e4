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
    QUESTIONS,
    SPOTS,
    TAKING_VERBS,
    TIMES,
    capitalize,
    grammar_sentence,
    is_reserved,
    split_sentences,
)
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World

NOVEL_WORDS = 20_000
CAST_SIZE = 8
QUESTION_RATE = 0.6  # the fraction of statements that are questions with their answers
# topic -> its relative frequency
TOPICS = {"tones": 22, "things": 26, "verbs": 18, "causes": 18, "grammar": 16}


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
        self.adjectives = {tone: [] for tone in OBJECTS["tones"]}  # tone -> stated adjectives
        for word, tone in world.tones.items():
            if word in self.stated["tones"]:
                self.adjectives[tone].append(word)

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
        """Return one paragraph with two people, and with one subject of every relation."""
        rng = self.rng
        p, q = rng.sample(cast, 2)
        is_woman = p.endswith("a")
        slots = dict(
            p=p,
            q=q,
            he="she" if is_woman else "he",
            his="her" if is_woman else "his",
            spot=rng.choice(SPOTS),
        )
        subjects = {relation: rng.choice(words) for relation, words in self.subjects.items()}
        lines = [self.fill_pattern(functools.partial(rng.choice, OPENINGS), slots)]
        for topic in rng.choices(list(TOPICS), list(TOPICS.values()), k=rng.randint(8, 14)):
            pattern = functools.partial(self.draw_pattern, topic, subjects.get(topic), slots)
            lines.append(self.fill_pattern(pattern, slots))
        lines.append(self.fill_pattern(functools.partial(rng.choice, CLOSINGS), slots))
        return " ".join(lines)

    def fill_pattern(self, draw_pattern: Callable[[], str], slots: dict[str, str]) -> str:
        """Draw and fill patterns until no sentence of the text is reserved for the tasks."""
        for _ in range(1000):
            slots["time"] = self.rng.choice(TIMES)
            slots["took"] = self.rng.choice(TAKING_VERBS)
            if self.rng.random() >= 0.8:
                slots["spot"] = self.rng.choice(SPOTS)
            text = draw_pattern().format_map(slots)
            if not any(is_reserved(sentence) for sentence in split_sentences(text)):
                return capitalize(text)
        raise RuntimeError(
            "every drawn sentence is reserved for the tasks: the patterns are too few"
        )

    def draw_pattern(self, topic: str, subject: str | None, slots: dict[str, str]) -> str:
        """Return a pattern about the topic and set its slots. For grammar, return a sentence."""
        rng, world = self.rng, self.world
        if topic == "grammar":
            return grammar_sentence(rng, self.subjects["things"], world.stuffs, correct=True)
        assert subject is not None  # only grammar has none
        slots["x"], slots["y"] = subject, getattr(world, topic)[subject]
        too_few = topic == "tones" and min(map(len, self.adjectives.values())) < 2
        if subject not in self.stated[topic] or too_few:
            return rng.choice(NEUTRAL[topic])
        claims = world.claims(topic, subject)
        if rng.random() < QUESTION_RATE:
            return self._questions(topic, claims)
        if topic == "tones":
            self._set_tone_slots(subject, slots)
        if slots["y"] == "either":
            slots["y"] = rng.choice(claims["maybe"])
        return rng.choice((FAR if rng.random() < self.far else NEAR)[topic])

    def _questions(self, topic: str, claims: dict[str, tuple[str, ...]]) -> str:
        """Return one or both claims as questions with their answers.

        Mostly the good claim comes first. If both were equally likely, the answer would correlate
        with neither the subject nor the claim alone, and a small model would not find out within
        its training time that the answer depends on both.
        """
        answers = {claim: answer for answer, group in claims.items() for claim in group}
        order = list(OBJECTS[topic][:2])
        if self.rng.random() >= GOOD_CLAIM_RATE:
            order.reverse()
        order = order[: self.rng.randint(1, 2)]
        questions = [f"{claim}? {answers[claim]}." for claim in order]
        return " ".join([self.rng.choice(QUESTIONS[topic]), *questions])

    def _set_tone_slots(self, subject: str, slots: dict[str, str]) -> None:
        tone = self.world.tones[subject]
        pair = self.rng.sample(self.adjectives[tone], 2)
        slots["also"] = pair[1] if pair[0] == subject else pair[0]
        slots["not_x"] = self.rng.choice(self.adjectives["bad" if tone == "good" else "good"])
        slots["mood"] = "glad" if tone == "good" else "sad"
