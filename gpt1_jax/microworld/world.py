"""The hidden state of the little world: which of its words are good and which are bad.

The subjects (adjectives, things, verbs, events) are invented words whose meaning stands in no dictionary. A reader can have it
from the novels alone. All relations say how good their subjects are: so small a model as learns this in minutes learns one thing.
"""

import dataclasses
import random

from gpt1_jax.errors import UserError

# relation -> its objects, a good one and a bad one; things may also be either, some good and some bad.
OBJECTS = {
    "tones": ("good", "bad"),
    "things": ("good", "bad", "either"),
    "verbs": ("helped", "harmed"),
    "causes": ("feast", "flood"),
}
RELATIONS = tuple(OBJECTS)

_LEAST = dict(tones=8, things=18, verbs=4, people=8, causes=12, stuffs=2)

_ONSETS = "b d h k l m n p r s t v w z br dr tr pl sk st".split()
_MIDDLES = "b d k l m n p r s t v z nd rt lk mb st".split()
_VOWELS = "aeiou"
_CODAS = "lmnrt"


@dataclasses.dataclass(frozen=True)
class World:
    """Plain data: one table a relation, subject -> object (OBJECTS). Make one with `draw`.

    The subjects of every table are ordered so that even places are the train words and odd places the test words of the
    labelled tasks (`half`), with the objects equally frequent in both halves.
    """

    seed: int
    tones: dict[str, str]  # adjective -> good, bad
    things: dict[str, str]  # thing -> good, bad, either
    verbs: dict[str, str]  # verb (past tense) -> helped, harmed
    causes: dict[str, str]  # event -> feast, flood: what follows it
    people: tuple[str, ...]  # who does it all; how good they are is not told
    stuffs: tuple[str, ...]  # mass nouns: "much", never "many"

    def half(self, relation: str, split: str) -> list[str]:
        """The subjects that rows of `split` may be about: one half for train, the other for dev and test."""
        return half(tuple(getattr(self, relation)), split)

    def told(self, relation: str, facts: float) -> frozenset[str]:
        """The subjects whose fact novels state when they state a fraction `facts` (0 to 1) of every relation.

        The same fraction of both halves; a smaller fraction's subjects are among a larger one's.
        """
        rng = random.Random(f"told/{self.seed}/{relation}")
        halves = [self.half(relation, split) for split in ("train", "dev")]
        shuffled = (rng.sample(words, len(words)) for words in halves)
        return frozenset(word for words in shuffled for word in words[: round(facts * len(words))])

    def claims(self, relation: str, subject: str) -> dict[str, tuple[str, ...]]:
        """Answer -> the claims of the subject that get it: yes or no; of things that may be either, only "maybe"."""
        good, bad = OBJECTS[relation][:2]
        fact = getattr(self, relation)[subject]
        if fact == "either":
            return {"maybe": (good, bad)}
        return {"yes": (fact,), "no": (bad if fact == good else good,)}


def half(words, split: str) -> list[str]:
    """Even places for train, odd places for dev and test."""
    return list(words[split != "train" :: 2])


def draw(
    seed: int = 0,
    *,
    tones: int = 24,
    things: int = 24,
    verbs: int = 12,
    people: int = 16,
    causes: int = 12,
    stuffs: int = 4,
) -> World:
    """The world of a seed. Fewer subjects make it easier to learn: each is then mentioned more often.

    Multiples of 4, of 6 for things, make every answer right exactly as often as any other; other sizes let word counts gain a few
    points on the tasks.

    Raises:
        UserError: a size is too small for every task to have rows.
    """
    sizes = dict(
        tones=tones, things=things, verbs=verbs, people=people, causes=causes, stuffs=stuffs
    )
    for name, value in sizes.items():
        if value < _LEAST[name]:
            raise UserError(f"microworld {name}={value}: expected at least {_LEAST[name]}")
    rng = random.Random(f"world/{seed}")
    taken: set[str] = set()

    def invent(count: int, ending: str = "") -> tuple[str, ...]:
        words = []
        while len(words) < count:
            parts = (
                rng.choice(letters) for letters in (_ONSETS, _VOWELS, _MIDDLES, _VOWELS, _CODAS)
            )
            stem = "".join(parts)
            if stem not in taken:
                taken.add(stem)
                words.append(stem + ending)
        return tuple(words)

    def deal(subjects, values) -> dict:
        """Give each half of the subjects every value equally often, in random order."""
        shuffled = rng.sample(values, len(values))
        hands = []
        for start in (0, 1):
            hand = [shuffled[i % len(values)] for i in range(len(subjects[start::2]))]
            hands.append(rng.sample(hand, len(hand)))
        return {subject: hands[i % 2][i // 2] for i, subject in enumerate(subjects)}

    # Women's names end in a and men's in o, so that "she" and "he" need no table.
    persons = [
        stem + "aaoo"[i % 4] for i, stem in enumerate(name.title() for name in invent(people))
    ]
    return World(
        seed=seed,
        tones=deal(invent(tones, "y"), OBJECTS["tones"]),
        things=deal(invent(things), OBJECTS["things"]),
        verbs=deal(invent(verbs, "ed"), OBJECTS["verbs"]),
        causes=deal(invent(causes), OBJECTS["causes"]),
        people=tuple(persons),
        stuffs=invent(stuffs),
    )
