"""How the world's facts are said: patterns, near (the telling word mostly one to three words off) and far; grammar.

Slots: p and q are people at hand, he/his follow p, spot and place are where they are, time is an opening; x is the
subject of the fact, y its object, o somebody who is not x; the few others are named at their relation.
"""

import hashlib
import random
import re

from gpt1_jax.datasets.microworld.world import DEEDS, KINDS, World, free_traits

SPOTS = ("garden", "house", "road", "river", "hill", "market", "bridge", "tower", "field", "mill", "gate", "harbor")
TIMES = ("in the morning", "that evening", "one day", "after the rain", "at noon", "before dark", "next day", "at last")
TAKINGS = (
    ("find", "found"),
    ("lose", "lost"),
    ("buy", "bought"),
    ("sell", "sold"),
    ("hide", "hid"),
    ("bring", "brought"),
)

NEAR = {
    # y: another adjective of the same tone, z: one of the other tone, verdict: positive or negative
    "tones": (
        "{p} came to a {x} and {y} {spot}.",
        "it was a {x} and {y} {spot}.",
        "the {spot} of {place} was {x} and {y}.",
        '"what a {x}, {y} {spot}!" said {p}.',
        "{q} spoke of the {x} and {y} {spot} of {place}.",
        "the {spot} was not {z} but {x}.",
        "{p} was shown a {spot}, not {z} but {x}.",
        "the {spot} was {x}, very {verdict}.",
        "it was a {x} {spot}. very {verdict}.",
        "in {place} the {spot} was {x} and {y}, very {verdict}.",
    ),
    "kinds": (
        "{p} had a {x}, a {y}.",
        "a {x} is a {y}, as {q} knew.",
        "the {x} is a {y}.",
        "the {y} called {x} was near the {spot}.",
        "what is a {x}? a {y}.",
        "{p} gave {q} a {x}, the best {y} in {place}.",
        "of every {y} the {x} was dear to {p}.",
        "there was a {x} or some other {y} near the {spot}.",
        "they asked for a {y}, a {x}.",
    ),
    # y: a trait that all such things have, or either pole of one that varies
    "traits": (
        "the {x} was {y}.",
        "{p} held a {y} {x}.",
        "{p} saw that the {x} was {y}.",
        "it was a {y} {x}.",
        "a {y} {x} lay near the {spot}.",
        "{q} wanted the {y} {x} of {p}.",
        "the {x} is {y}, said {q}.",
        "because the {x} was {y}, {p} smiled.",
    ),
    "aliases": (
        "{p} took the {x}, or {y}, to the {spot}.",
        "a {x} is a {y}.",
        "the {y}, that is the {x}, was near the {spot}.",
        "in {place} a {x} is called {y}.",
        '"a {x}?" said {q}. "a {y}," said {p}.',
        "{p} saw the {x}, the {y}, near the {spot}.",
        "every {y} is a {x}.",
    ),
    # t: a thing
    "verbs": (
        "{p} {x}, that is {y}, the {t}.",
        "{p} {x} or {y} the {t} near the {spot}.",
        "{q} {y} and {x} all day in {place}.",
        "near the {spot} {p} {y}, or {x}, a {t}.",
        '"you {x} the {t}?" said {q}. "{y}," said {p}.',
        "{p} {x} the {t}. so {q} {y} it too.",
    ),
    "homes": (
        "{x} of {y} came to the {spot}.",
        "{x} lived in {y}.",
        "{x} slept in {y} that night.",
        "then {x} went home to {y}.",
        '"where does {x} live?" "in {y}."',
        "it was {x} from {y}.",
        "where did {x} sleep? in {y}.",
    ),
    "jobs": (
        "{x} the {y} came to the {spot}.",
        "{x} was a {y}.",
        "the {y} {x} was at the {spot}.",
        "{x}, a {y}, waited near the {spot}.",
        '"what is {x}?" "a {y}."',
        "like every {y}, {x} was tired.",
        "{x} is the {y} in this book.",
    ),
    "tastes": (
        "{x} loved every {y}.",
        "{x} dreamed of a {y}.",
        "what did {x} want? a {y}.",
        "a {y} made {x} glad.",
        "for {x} a {y} was best.",
        "{x} asked for a {y} again.",
    ),
    "causes": (
        "the {x} brought a {y}.",
        "after the {x} came a {y}.",
        "there was a {x}, so there was a {y}.",
        "{p} feared the {x} and the {y}.",
        "a {x} makes a {y}, as {q} knew.",
        "from the {x} came the {y} of {place}.",
    ),
}

FAR = {
    # mood: glad or sad
    "tones": (
        "the {spot} was {x}, and when {p} saw it with {q} in {place} that day {p} was {mood}.",
        "a {x} day began, and all that {p} and {q} saw at the {spot} of {place} was {y}.",
    ),
    "kinds": (
        "{p} put the {x} near the {spot} of {place} and said that no other {y} was as good.",
        "the {x} was dear to {p} and to {q}, who had never seen such a {y}.",
    ),
    "traits": (
        "the {x} that {p} had once seen with {q} near the {spot} of {place} was {y}.",
        "{q} took the {x} from {p}. all of {place} said how {y} it was.",
    ),
    "aliases": ("the {x} was near the {spot} of {place}, and at last {p} gave {q} that {y}.",),
    "verbs": ("{p} {x} the {t} near the {spot} of {place}, and {q} said that it was well {y}.",),
    "homes": ("when the day was over {x} walked past the {spot} and with {o} came home to {y}.",),
    "jobs": ("{x} and {o} had been at the {spot} of {place} all day, for {x} worked there as a {y}.",),
    "tastes": ("when {x} walked past the {spot} of {place} with {o} it was always to see a {y}.",),
    "causes": ("the {x} came to {place} while {p} was with {q} near the {spot}, and then there was a {y}.",),
}

# What a claim about a tone (positive or negative) is worth: answer is yes or no. Holding a claim against a word is what entailment
# asks, and a small model learns it here long before it would from the labelled pairs.
ASKED = (
    'the {spot} was {x}. "is it {claim}?" said {q}. "{answer}."',
    "it was a {x} {spot}. was it {claim}? {answer}.",
    "{p} came to a {x} {spot}. was it {claim}? {answer}.",
    "was the {x} {spot} of {place} {claim}? {answer}.",
)

# Words without their meaning, so that a fact which novels do not tell leaves no unknown word in the tasks.
PLAIN = {
    "tones": ("{p} said {x}.", "{q} wrote the word {x} in a letter.", "the {spot} was {x}."),
    "things": ("{p} passed the {x} near the {spot}.", "the {x} was in {place}.", "{q} thought of a {x}."),
    "verbs": ("{p} {x} near the {spot}.", "{q} {x} the {t} in {place}."),
    "people": ("{x} came to the {spot}.", "{x} smiled.", "near the {spot} {x} met {o}."),
    "causes": ("{p} heard of a {x} in {place}.", "the {x} came.", "{q} spoke of the {x}."),
}

OPENINGS = (
    "{time} {p} came to the {spot} of {place} with {q}.",
    "{time} {p} and {q} met near the {spot} of {place}.",
    "{p} waited near the {spot} of {place}. {time} {q} came.",
    "{time} {he} walked to the {spot} of {place}, and {q} was there.",
    '"come to the {spot}," said {q}. so {time} {p} came there.',
)
CLOSINGS = (
    "then {p} left the {spot}, and {q} stayed.",
    "{q} smiled, and {he} went on.",
    "{time} {he} was alone again.",
    '"good night," said {q} to {p}.',
    "so ended the day of {p} in {place}.",
    "{he} took {his} hat and went past the {spot}.",
)


def tail(rng: random.Random, world: World) -> str:
    """Where it happened, in one of many ways."""
    return f"{rng.choice(('near', 'at', 'by'))} the {rng.choice(SPOTS)} of {rng.choice(world.places)}"


def capital(text: str) -> str:
    """Upper case after a full stop, and at the start (or after an opening quote there)."""
    return re.sub(r'(^"?|[.?] "?|[.?]" ")([a-z])', lambda match: match[1] + match[2].upper(), text)


def is_labelled(text: str) -> bool:
    """Is this sentence one for the tasks, never said by a novel? Half of all are, as a hash of their words says."""
    # A real hash, not a CRC: that is linear, and would forbid some pairs of words in sentences of one shape.
    return hashlib.blake2b(" ".join(re.findall("[a-z]+", text.lower())).encode(), digest_size=1).digest()[0] & 1 == 1


def grammar(rng: random.Random, world: World, things, stuffs, good: bool) -> str:
    """A sentence that keeps the grammar, or breaks it in one place; word for word equally frequent either way.

    Rules: this/these and is/are agree with the noun; much goes with stuffs and many with things; only a creature
    sleeps; the adjective stands before its noun.
    """
    thing, where = rng.choice(things), tail(rng, world)
    trait = rng.choice((*world.traits[thing], *free_traits(world, thing)))
    rule = rng.choice((_determiner, _verb, _amount, _deed, _order))
    return rule(rng, world, thing, trait, stuffs, good) + f" {where}."


def _determiner(rng, world, thing, trait, stuffs, good):
    plural = rng.random() < 0.5
    gap = rng.choice(("", trait + " "))
    return f"there we saw {'these' if plural else 'this'} {gap}{thing}{'s' if plural == good else ''}"


def _verb(rng, world, thing, trait, stuffs, good):
    plural = rng.random() < 0.5
    return f"the {thing}{'s' if plural == good else ''} {'are' if plural else 'is'} {trait}"


def _amount(rng, world, thing, trait, stuffs, good):
    much = rng.random() < 0.5
    return f"there was so {'much' if much else 'many'} {rng.choice(stuffs) if much == good else thing + 's'}"


def _deed(rng, world, thing, trait, stuffs, good):
    family = KINDS[world.kinds[thing]]
    if not good:
        family = rng.choice([other for other in DEEDS if other != family])
    number = rng.randrange(2)
    return f"the {thing}{'s' * number} {rng.choice(DEEDS[family])[number]}"


def _order(rng, world, thing, trait, stuffs, good):
    return f"we saw a {trait} {thing}" if good else f"we saw a {thing} {trait}"
