"""Define the patterns that express the world's facts, and the grammar of its sentences.

A fact is stated by a near pattern, by a far pattern, or by a question. In a near pattern the object
is one or two words from its subject: a small model learns such a fact in a few hundred steps, and
after it the facts of pairs and the comparison with a claim. The slots of a pattern: p and q are two
people, he and his refer to p, spot is the scene, where is a phrase with another spot, time is an
opening, took is what p does with a thing, x is the subject of the fact and y its object. Further
slots are named at their relation.
"""

import hashlib
import random
import re
from collections.abc import Sequence

from gpt1_jax.microworld.world import SPOTS

TIMES = (
    "in the morning",
    "that evening",
    "one day",
    "after the rain",
    "at noon",
    "before dark",
    "next day",
    "at last",
)
PLAIN_ADJECTIVES = ("old", "new", "wide", "small")
GOOD_CLAIM_RATE = 0.7  # the fraction of claims, in novels and rows, that something is good
MIN_RESERVED_WORDS = 6  # shorter sentences, such as questions, are never reserved for the tasks

NEAR = {
    "tones": ("to be {x} is {y}.",),
    # y: if the thing may be either, one of the two
    "things": (
        "the {x} was {y}.",
        "it was a {y} {x}.",
        "{where} how was the {x}? what {p} {took} there was {y}.",
    ),
    "verbs": ("who is {x} is {y}.", "{p} {x} {q}. so {q} was {y}."),
    "causes": ("a {x} brings a {y}.", "the {x} brought a {y}."),
}
# Questions about the mood of a person, also those of RTE. A small model loses what it has learned
# if finetuning begins with sentences that it finds improbable.
GLAD = ("so was {p} glad of it?", "was {p} glad of it then?", "was {p} then glad of it?")
# Phrases about the tone of a spot, also those of SST-2.
SCENES = (
    "{time} it was a {x} {spot}",
    "{time} the {spot} was {x}",
    "{time} {p} saw a {x} {spot}",
    "{time} {p} and {q} saw a {x} {spot}",
    "{p} said {time} that the {spot} was {x}",
)
# Facts of pairs. y: the tone of the adjective at the spot, or the mood of who took the thing; yes:
# whether that mood is a glad one.
PAIRS = {
    "tones": (
        "the {spot} was {x}, very {y}.",
        "it was a {x} {spot}, very {y}.",
        *(f"{phrase}, very {{y}}." for phrase in SCENES),
    ),
    "things": (
        "{p} {took} the {x} {y}.",
        *(f"{{p}} {{took}} the {{x}} {{where}}. {question} {{yes}}." for question in GLAD),
    ),
}
FAR = {
    "tones": ("to be {x}, as {p} and {q} had once said to all near the {spot}, is {y}.",),
    "things": ("the {x} that {p} had once seen with {q} near the {spot} was {y}.",),
    "verbs": ("{p} {x} {q} near the {spot}, and all who saw it said that {q} was {y}.",),
    "causes": ("the {x} came while {p} was with {q} near the {spot}, and then there was a {y}.",),
}

# relation -> the beginnings of a question. A claim (World.claims) and its answer complete the
# question: "Was the lezul good? No." The claim is about the spot's tone for tones.
QUESTIONS = {
    "tones": ("was the {x} {spot}",),
    "things": ("was the {x}",),
    "verbs": ("{p} {x} {q}. was {q}",),
    "causes": ("does a {x} bring a",),
}

# relation -> patterns that mention a word without its meaning. They put words into the novels whose
# facts the novels do not state, so that the tasks contain no new word.
NEUTRAL = {
    "tones": ("{p} said {x}.", "{q} wrote the word {x} in a letter.", "the {spot} was {x}."),
    "things": (
        "{p} passed the {x} near the {spot}.",
        "the {x} was there.",
        "{q} thought of a {x}.",
    ),
    "verbs": ("{p} {x} {q} near the {spot}.", "{q} {x} {p} all day."),
    "causes": ("{p} heard of a {x}.", "the {x} came.", "{q} spoke of the {x}."),
}

OPENINGS = (
    "{time} {p} came to the {spot} with {q}.",
    "{time} {p} and {q} met near the {spot}.",
    "{p} waited near the {spot}. {time} {q} came.",
    '"come to the {spot}," said {q}. so {time} {p} came there.',
)
CLOSINGS = (
    "then {p} left the {spot}, and {q} stayed.",
    "{q} smiled, glad of such a day, and {he} went on.",
    "{time} {he} was alone again.",
    '"what is it?" said {q} to {p}.',
    '"good night," said {q} to {p}.',
    "{he} took {his} hat and went past the {spot}.",
)


def location_phrase(rng: random.Random) -> str:
    """Return a phrase that says where something happened, such as "near the hill"."""
    return f"{rng.choice(('near', 'at', 'by'))} the {rng.choice(SPOTS)}"


def capitalize(text: str) -> str:
    """Capitalize the first letter of every sentence, also after an opening quote."""
    return re.sub(r'(^"?|[.?] "?|[.?]" ")([a-z])', lambda match: match[1] + match[2].upper(), text)


def split_clauses(text: str) -> list[str]:
    """Split at commas and after . and ?, which end a sentence also within quotes."""
    return [clause for clause in re.split(r"[.?,]", text) if clause.strip(' "')]


def is_reserved(text: str) -> bool:
    """Return True if the text is reserved for the tasks and must not be a sentence of a novel.

    A hash reserves half of all texts that have at least MIN_RESERVED_WORDS words.
    """
    # Not a CRC: it is linear, so it would reserve some pairs of words in all sentences of one form.
    words = re.findall("[a-z]+", text.lower())
    if len(words) < MIN_RESERVED_WORDS:
        return False
    return hashlib.blake2b(" ".join(words).encode(), digest_size=1).digest()[0] & 1 == 1


def grammar_sentence(
    rng: random.Random, things: Sequence[str], stuffs: Sequence[str], correct: bool
) -> str:
    """Return a sentence that is grammatical if `correct`, and otherwise has one error.

    Each word is equally frequent in both cases. There are three rules. "This", "these", "is" and
    "are" agree with the noun. "Much" goes with stuffs and "many" with things. An adjective precedes
    its noun.
    """
    thing, where = rng.choice(things), location_phrase(rng)
    adjective = rng.choice(PLAIN_ADJECTIVES)
    rule = rng.choice((_determiner, _verb, _amount, _order))
    return rule(rng, thing, adjective, stuffs, correct) + f" {where}."


def _determiner(rng, thing, adjective, stuffs, correct):
    plural = rng.random() < 0.5
    optional = rng.choice(("", adjective + " "))
    noun = thing + "s" if plural == correct else thing
    return f"there we saw {'these' if plural else 'this'} {optional}{noun}"


def _verb(rng, thing, adjective, stuffs, correct):
    plural = rng.random() < 0.5
    noun = thing + "s" if plural == correct else thing
    return f"the {noun} {'are' if plural else 'is'} {adjective}"


def _amount(rng, thing, adjective, stuffs, correct):
    much = rng.random() < 0.5
    noun = rng.choice(stuffs) if much == correct else thing + "s"
    return f"there was so {'much' if much else 'many'} {noun}"


def _order(rng, thing, adjective, stuffs, correct):
    return f"we saw a {adjective} {thing}" if correct else f"we saw a {thing} {adjective}"
