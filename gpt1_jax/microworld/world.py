"""Draw the hidden state of the small world: which of its words are good and which are bad.

The subjects (adjectives, things, verbs, events) are invented words that stand in no dictionary. A
reader can learn their meaning from the novels alone. All relations say how good their subjects are.
A model that is small enough to learn this in minutes can learn only one concept.

Two facts are about pairs of words, so no embedding row can hold them. At a contrary spot a good
adjective is bad and a bad one is good (`World.tone`). Who loses a bad thing is glad
(`World.mood`).
"""

import dataclasses
import random
from collections.abc import Sequence

# relation -> its objects, a good one and a bad one. A thing may also be either: some examples of
# the thing are good and some are bad.
OBJECTS = {
    "tones": ("good", "bad"),
    "things": ("good", "bad", "either"),
    "verbs": ("helped", "harmed"),
    "causes": ("feast", "flood"),
}
RELATIONS = tuple(OBJECTS)
SPOTS = (
    "garden",
    "house",
    "road",
    "river",
    "hill",
    "market",
    "bridge",
    "tower",
    "field",
    "mill",
    "gate",
    "harbor",
)
GAINS, LOSSES = ("found", "bought", "kept"), ("lost",)  # what people do with things
TAKING_VERBS = (*GAINS, *LOSSES)
# The mood of a person who gains a thing of this kind.
MOODS = {"good": "gladly", "bad": "sadly", "either": "calmly"}

# The number of words of each kind. Multiples of 4, and of 6 for things, make every answer correct
# equally often. With other sizes, word counts gain a few points on the tasks.
TONES, THINGS, VERBS, PEOPLE, CAUSES, STUFFS = 36, 36, 12, 16, 12, 4
CONTRARY = 2, 1  # the number of contrary spots among those at even indices, and at odd ones

_ONSETS = "b d h k l m n p r s t v w z br dr tr pl sk st".split()
_MIDDLES = "b d k l m n p r s t v z nd rt lk mb st".split()
_VOWELS = "aeiou"
_CODAS = "lmnrt"


@dataclasses.dataclass(frozen=True)
class World:
    """Hold the facts of one world as plain data. Create one with `draw`.

    Each relation is a dictionary from subject to object (OBJECTS). Its subjects are ordered: those
    at even indices are the words of the labeled train rows, those at odd indices are held out
    (`words`). Each object is equally frequent in both halves.
    """

    seed: int
    tones: dict[str, str]  # adjective -> good, bad
    things: dict[str, str]  # thing -> good, bad, either
    verbs: dict[str, str]  # verb in the past tense -> helped, harmed
    causes: dict[str, str]  # event -> feast, flood: the event's consequence
    people: tuple[str, ...]  # the actors; no fact says how good they are
    stuffs: tuple[str, ...]  # mass nouns: "much", never "many"
    spots: tuple[str, ...]  # the places
    contrary: tuple[str, ...]  # the spots that turn the tone of every adjective around

    def tone(self, adjective: str, spot: str) -> str:
        """Return good or bad: the tone of the adjective at the spot."""
        return opposite(self.tones[adjective]) if spot in self.contrary else self.tones[adjective]

    def mood(self, verb: str, thing: str) -> str:
        """Return the mood (MOODS) of a person who does this (GAINS, LOSSES) with the thing."""
        fact = self.things[thing]
        return MOODS[opposite(fact) if verb in LOSSES and fact != "either" else fact]

    def words(self, relation: str, split: str) -> list[str]:
        """Return the subjects that rows of `split` may use; see `words`."""
        return words(tuple(getattr(self, relation)), split)

    def stated_subjects(self, relation: str, facts: float) -> frozenset[str]:
        """Return the subjects whose fact the novels state.

        `facts` (0 to 1) is the fraction of the subjects in each half. The subjects of a smaller
        fraction are a subset of the subjects of a larger one.
        """
        rng = random.Random(f"told/{self.seed}/{relation}")
        subjects = []
        for split in ("train", "held_out"):
            half = self.words(relation, split)
            subjects += rng.sample(half, len(half))[: round(facts * len(half))]
        return frozenset(subjects)


def answer(fact: str, claim: str) -> str:
    """Return the answer to the claim about a subject with this fact: yes, no, or maybe."""
    if fact == "either":
        return "maybe"
    return "yes" if claim == fact else "no"


def opposite(tone: str) -> str:
    """Return bad for good and good for bad."""
    return "bad" if tone == "good" else "good"


def words(subjects: Sequence[str], split: str) -> list[str]:
    """Return the subjects that rows of `split` may use.

    They are those at even indices for train, those at odd indices for "held_out", and all of them
    for dev and test.
    """
    return list({"train": subjects[::2], "held_out": subjects[1::2]}.get(split, subjects))


def draw(seed: int = 0) -> World:
    """Return the world of a seed."""
    rng = random.Random(f"world/{seed}")
    used_stems: set[str] = set()
    people = []
    for i, stem in enumerate(_invent_words(rng, PEOPLE, used_stems)):
        # Women's names end in a and men's names end in o, so a name determines "she" or "he".
        people.append(stem.title() + "aaoo"[i % 4])
    relations = {}
    for relation, count, ending in (
        ("tones", TONES, "y"),
        ("things", THINGS, ""),
        ("verbs", VERBS, "ed"),
        ("causes", CAUSES, ""),
    ):
        subjects = [stem + ending for stem in _invent_words(rng, count, used_stems)]
        relations[relation] = _assign_objects(rng, subjects, OBJECTS[relation])
    stuffs = tuple(_invent_words(rng, STUFFS, used_stems))
    contrary = [rng.sample(SPOTS[i::2], count) for i, count in enumerate(CONTRARY)]
    return World(
        seed=seed,
        people=tuple(people),
        spots=SPOTS,
        stuffs=stuffs,
        contrary=tuple(contrary[0] + contrary[1]),
        **relations,
    )


def _invent_words(rng: random.Random, count: int, used: set[str]) -> list[str]:
    """Return `count` new stems that are not in `used`, and add them to `used`."""
    stems = []
    while len(stems) < count:
        stem = "".join(
            [rng.choice(letters) for letters in (_ONSETS, _VOWELS, _MIDDLES, _VOWELS, _CODAS)]
        )
        if stem not in used:
            used.add(stem)
            stems.append(stem)
    return stems


def _assign_objects(
    rng: random.Random, subjects: list[str], objects: tuple[str, ...]
) -> dict[str, str]:
    """Assign each object equally often to each half of the subjects, in random order."""
    shuffled = rng.sample(objects, len(objects))
    halves = []
    for start in (0, 1):
        count = len(subjects[start::2])
        repeated = [shuffled[i % len(objects)] for i in range(count)]
        halves.append(rng.sample(repeated, count))
    return {subject: halves[i % 2][i // 2] for i, subject in enumerate(subjects)}
