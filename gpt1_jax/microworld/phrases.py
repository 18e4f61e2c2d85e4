"""How the world's facts are said: patterns, near (the telling word one to three words off), far, and asked; grammar.

Slots: p and q are people at hand, he/his follow p, spot is where they are, time is an opening, t a thing at hand; x is the subject of the
fact and y its object; the few others are named at their relation.
"""

import hashlib
import random
import re

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
TAKINGS = ("found", "lost", "bought", "sold")
LOOKS = ("old", "new", "wide", "small")
HOPING = 0.8  # the fraction of claims, in novels and rows, that something is good
LABELLED_WORDS = 6  # shorter sentences, such as questions, are in novels only

NEAR = {
    # also: another adjective of the same tone, not_x: one of the other tone
    "tones": (
        "it was a {x} {spot}, very {y}.",
        "the {spot} was {x}, very {y}.",
        "it was a {x} and {also} {spot}.",
        "the {spot} was not {not_x} but {x}.",
        "{x} is {y}.",
    ),
    # y: of a thing that may be either, one of the two
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

# Lead, and form of a claim: "It was a zundy hill. Was it good? No. Bad? Yes." (World.claims). Holding a claim against a word is what the
# pair tasks and the choices ask, and a small model learns it here long before it would from labelled rows.
ASKED = {
    "tones": (
        ("it was a {x} {spot}. was it", "{p} came to a {x} {spot}. was it", "was the {x} {spot}"),
        "{claim}",
    ),
    "things": (("{p} had a {x}. was it", "{p} {took} a {x}. was it", "was the {x}"), "{claim}"),
    "verbs": (("{p} {x} {q}. was {q}", "did {p}, who {x} {q}, know {q} was"), "{claim}"),
    "causes": (
        ("the {x} came. was there a", "{p} spoke of a {x}. was there a", "was the {x} for a"),
        "{claim}",
    ),
}

# Words without their meaning, so that a fact which novels do not tell leaves no unknown word in the tasks.
PLAIN = {
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


def tail(rng: random.Random) -> str:
    """Where it happened, in one of many ways."""
    return f"{rng.choice(('near', 'at', 'by'))} the {rng.choice(SPOTS)}"


def capital(text: str) -> str:
    """Upper case after a full stop, and at the start (or after an opening quote there)."""
    return re.sub(r'(^"?|[.?] "?|[.?]" ")([a-z])', lambda match: match[1] + match[2].upper(), text)


def sentences(text: str) -> list[str]:
    """Split after . and ?, which end a sentence also within quotes."""
    return [sentence for sentence in re.split(r"[.?]", text) if sentence.strip(' "')]


def is_labelled(text: str) -> bool:
    """Is this text one for the tasks, never a sentence of a novel? Half of all with LABELLED_WORDS words are, as a hash of them says."""
    # A real hash, not a CRC: that is linear, and would forbid some pairs of words in sentences of one shape.
    words = re.findall("[a-z]+", text.lower())
    return (
        len(words) >= LABELLED_WORDS
        and hashlib.blake2b(" ".join(words).encode(), digest_size=1).digest()[0] & 1 == 1
    )


def grammar(rng: random.Random, things, stuffs, good: bool) -> str:
    """A sentence that keeps the grammar, or breaks it in one place; word for word equally frequent either way.

    Rules: this/these and is/are agree with the noun; much goes with stuffs and many with things; the adjective stands before its noun.
    """
    thing, where = rng.choice(things), tail(rng)
    look = rng.choice(LOOKS)
    rule = rng.choice((_determiner, _verb, _amount, _order))
    return rule(rng, thing, look, stuffs, good) + f" {where}."


def _determiner(rng, thing, look, stuffs, good):
    plural = rng.random() < 0.5
    gap = rng.choice(("", look + " "))
    return (
        f"there we saw {'these' if plural else 'this'} {gap}{thing}{'s' if plural == good else ''}"
    )


def _verb(rng, thing, look, stuffs, good):
    plural = rng.random() < 0.5
    return f"the {thing}{'s' if plural == good else ''} {'are' if plural else 'is'} {look}"


def _amount(rng, thing, look, stuffs, good):
    much = rng.random() < 0.5
    return f"there was so {'much' if much else 'many'} {rng.choice(stuffs) if much == good else thing + 's'}"


def _order(rng, thing, look, stuffs, good):
    return f"we saw a {look} {thing}" if good else f"we saw a {thing} {look}"
