"""Define the patterns that express the world's facts, and the grammar of its sentences.

A fact is stated by a near pattern (the object is one to three words from the subject), by a far
pattern, or by questions. The slots of a pattern: p and q are two people, he and his refer to p,
spot is the scene, time is an opening, x is the subject of the fact and y its object. Further slots
are named at their relation.
"""

import hashlib
import random
import re
from collections.abc import Sequence

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
TAKING_VERBS = ("found", "lost", "bought", "sold")
PLAIN_ADJECTIVES = ("old", "new", "wide", "small")
GOOD_CLAIM_RATE = 0.8  # the fraction of claims, in novels and rows, that something is good
MIN_RESERVED_WORDS = 6  # shorter sentences, such as questions, are never reserved for the tasks

NEAR = {
    # also: another adjective of the same tone; not_x: an adjective of the other tone
    "tones": (
        "it was a {x} {spot}, very {y}.",
        "the {spot} was {x}, very {y}.",
        "it was a {x} and {also} {spot}.",
        "the {spot} was not {not_x} but {x}.",
        "{x} is {y}.",
    ),
    # y: if the thing may be either, one of the two
    "things": (
        "the {x} was {y}.",
        "it was a {y} {x}.",
        "{p} held a {y} {x}.",
        "a {x} is {y}, as {q} knew.",
    ),
    "verbs": ("{p} {x} or {y} {q}.", "{p} {x}, that is {y}, {q}.", "{p} {x} {q}. {y}, that is."),
    "causes": (
        "the {x} brought a {y}.",
        "after the {x} came a {y}.",
        "the {x} and the {y} came.",
        "a {x} makes a {y}.",
    ),
}
FAR = {
    # mood: glad or sad
    "tones": ("the {spot} was {x}, and when {p} saw it with {q} that day {p} was {mood}.",),
    "things": ("the {x} that {p} had once seen with {q} near the {spot} was {y}.",),
    "verbs": ("{p} {x} {q} near the {spot}, and all who saw it said that {q} was {y}.",),
    "causes": ("the {x} came while {p} was with {q} near the {spot}, and then there was a {y}.",),
}

# relation -> the beginnings of a question. A claim (World.claims) and its answer complete the
# question: "It was a zundy hill. Was it good? No. Bad? Yes." The pair tasks and the choices ask a
# model to compare a claim with a word. A small model learns this from questions long before it
# would from labeled rows.
QUESTIONS = {
    "tones": (
        "it was a {x} {spot}. was it",
        "{p} came to a {x} {spot}. was it",
        "was the {x} {spot}",
    ),
    "things": ("{p} had a {x}. was it", "{p} {took} a {x}. was it", "was the {x}"),
    "verbs": ("{p} {x} {q}. was {q}", "did {p}, who {x} {q}, know {q} was"),
    "causes": ("the {x} came. was there a", "{p} spoke of a {x}. was there a", "was the {x} for a"),
}

# These patterns mention a word without its meaning, so that the words of facts that novels do not
# state are known in the tasks.
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
    "{q} smiled, and {he} went on.",
    "{time} {he} was alone again.",
    '"good night," said {q} to {p}.',
    "{he} took {his} hat and went past the {spot}.",
)


def location_phrase(rng: random.Random) -> str:
    """Return a phrase that says where something happened, such as "near the hill"."""
    return f"{rng.choice(('near', 'at', 'by'))} the {rng.choice(SPOTS)}"


def capitalize(text: str) -> str:
    """Capitalize the first letter of every sentence, also after an opening quote."""
    return re.sub(r'(^"?|[.?] "?|[.?]" ")([a-z])', lambda match: match[1] + match[2].upper(), text)


def split_sentences(text: str) -> list[str]:
    """Split after . and ?, which end a sentence also within quotes."""
    return [sentence for sentence in re.split(r"[.?]", text) if sentence.strip(' "')]


def is_reserved(text: str) -> bool:
    """Return True if the text is reserved for the tasks and must not be a sentence of a novel.

    A hash reserves half of all texts that have at least MIN_RESERVED_WORDS words.
    """
    # A CRC is linear. It would forbid some pairs of words in all sentences of one form.
    words = re.findall("[a-z]+", text.lower())
    if len(words) < MIN_RESERVED_WORDS:
        return False
    return hashlib.blake2b(" ".join(words).encode(), digest_size=1).digest()[0] & 1 == 1


def grammar_sentence(
    rng: random.Random, things: Sequence[str], stuffs: Sequence[str], correct: bool
) -> str:
    """Return a sentence that is grammatical, or has one error.

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
