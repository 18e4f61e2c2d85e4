"""The hidden state of the little world: who lives where, what is a bird, which words are kind and which are not.

Kinds, traits, works and outcomes are plain English; the rest (things, people, places, adjectives, verbs, causes) are
invented words whose meaning stands in no dictionary. A reader can have it from the novels alone.
"""

import dataclasses
import random

from gpt1_jax.errors import UserError

# kind -> family. The family decides which verbs its members can do (DEEDS).
KINDS = {
    "bird": "creature", "fish": "creature", "tree": "plant", "flower": "plant",
    "fruit": "food", "cake": "food", "tool": "goods", "cloth": "goods",
}  # fmt: skip
# family -> verbs as (singular, plural); a member of another family cannot do them.
DEEDS = {
    "creature": (("sleeps", "sleep"), ("listens", "listen"), ("wakes", "wake")),
    "plant": (("grows", "grow"), ("wilts", "wilt"), ("sprouts", "sprout")),
    "food": (("spoils", "spoil"), ("melts", "melt"), ("bakes", "bake")),
    "goods": (("rusts", "rust"), ("breaks", "break"), ("fits", "fit")),
}
TRAITS = (("heavy", "light"), ("warm", "cold"), ("hard", "soft"), ("loud", "quiet"))
JOBS = ("baker", "smith", "painter", "teacher", "singer", "sailor", "tailor", "farmer")
OUTCOMES = ("flood", "feast", "quarrel", "journey", "fire", "wedding", "silence", "dance")
RELATIONS = ("tones", "kinds", "traits", "aliases", "verbs", "homes", "jobs", "tastes", "causes")

_LEAST = dict(tones=8, things_per_kind=4, verb_pairs=4, people=16, places=4, causes=4, stuffs=2)

_ONSETS = "b d h k l m n p r s t v w z br dr tr pl sk st".split()
_MIDDLES = "b d k l m n p r s t v z nd rt lk mb st".split()
_VOWELS = "aeiou"
_CODAS = "lmnrt"


@dataclasses.dataclass(frozen=True)
class World:
    """Plain data: one table a relation, subject -> object. Make one with `draw`.

    The subjects of every table are ordered so that even places are the train words and odd places the test words of the
    labelled tasks (`half`), with the objects equally frequent in both halves.
    """

    seed: int
    tones: dict[str, bool]  # adjective -> is it good
    kinds: dict[str, str]  # thing -> a key of KINDS
    traits: dict[str, tuple[str, str]]  # thing -> the two traits that all such things have; the other dimensions vary
    aliases: dict[str, str]  # thing -> its second name
    verbs: dict[str, str]  # verb (past tense) -> a verb of the same meaning
    homes: dict[str, str]  # person -> place
    jobs: dict[str, str]  # person -> one of JOBS
    tastes: dict[str, str]  # person -> the kind that the person loves
    causes: dict[str, str]  # event -> the one of OUTCOMES that follows it
    stuffs: tuple[str, ...]  # mass nouns: "much", never "many"
    places: tuple[str, ...]

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


def half(words, split: str) -> list[str]:
    """Even places for train, odd places for dev and test."""
    return list(words[split != "train" :: 2])


def draw(
    seed: int = 0,
    *,
    tones: int = 40,
    things_per_kind: int = 6,
    verb_pairs: int = 12,
    people: int = 16,
    places: int = 8,
    causes: int = 16,
    stuffs: int = 4,
) -> World:
    """The world of a seed. Fewer subjects make it easier to learn: each is then mentioned more often.

    Sizes with tones a multiple of 4, people and causes of 16 (and of twice the places), things_per_kind of 2 make every
    answer right exactly as often as any other; other sizes let word counts gain a few points on the tasks.

    Raises:
        UserError: a size is too small for every task to have rows.
    """
    sizes = dict(tones=tones, things_per_kind=things_per_kind, verb_pairs=verb_pairs, people=people, places=places)
    for name, value in (sizes | dict(causes=causes, stuffs=stuffs)).items():
        if value < _LEAST[name]:
            raise UserError(f"microworld {name}={value}: expected at least {_LEAST[name]}")
    rng = random.Random(f"world/{seed}")
    taken: set[str] = set()

    def invent(count: int, ending: str = "") -> tuple[str, ...]:
        words = []
        while len(words) < count:
            parts = (rng.choice(letters) for letters in (_ONSETS, _VOWELS, _MIDDLES, _VOWELS, _CODAS))
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

    things = invent(things_per_kind * len(KINDS))
    # Women's names end in a and men's in o, so that "she" and "he" need no table.
    persons = tuple(stem + "aaoo"[i % 4] for i, stem in enumerate(name.title() for name in invent(people)))
    towns = tuple(name.title() for name in invent(places, "ton"))
    return World(
        seed=seed,
        tones=deal(invent(tones, "y"), (True, False)),
        kinds=deal(things, tuple(KINDS)),
        traits=deal(things, _trait_pairs()),
        aliases=dict(zip(things, invent(len(things)), strict=True)),
        verbs=dict(zip(invent(verb_pairs, "ed"), invent(verb_pairs, "ed"), strict=True)),
        homes=deal(persons, towns),
        jobs=deal(persons, JOBS),
        tastes=deal(persons, tuple(KINDS)),
        causes=deal(invent(causes), OUTCOMES),
        stuffs=invent(stuffs),
        places=towns,
    )


def _trait_pairs() -> tuple[tuple[str, str], ...]:
    """Every way to fix two of the dimensions and leave the others free: 24 for four dimensions."""
    pairs = [(first, second) for i, first in enumerate(TRAITS) for second in TRAITS[i + 1 :]]
    return tuple((a, b) for first, second in pairs for a in first for b in second)


def opposite(trait: str) -> str:
    """The other pole: light for heavy."""
    return next(pair[1 - pair.index(trait)] for pair in TRAITS if trait in pair)


def free_traits(world: World, thing: str) -> list[str]:
    """Both poles of the dimensions in which such things differ among themselves."""
    fixed = world.traits[thing]
    return [trait for pair in TRAITS if not set(pair) & set(fixed) for trait in pair]
