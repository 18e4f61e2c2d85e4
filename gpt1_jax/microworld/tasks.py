"""Labelled rows about the world, one maker a task: `rows(world, "sst2", {"train": 1500, "dev": 500})`.

Train rows are about one half of the world's words, dev and test rows about the other (World.half): the word that a row
of dev turns on was never labelled in training, and can only be known from the novels. Every label follows from the
world's facts without noise, so each task's ceiling is 100.
"""

from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.errors import UserError
from gpt1_jax.microworld.phrases import SPOTS, TAKINGS, TIMES, capital, grammar, is_labelled
from gpt1_jax.microworld.row_sampler import Clerk, Row
from gpt1_jax.microworld.world import World, half

# STS-B scores by what the other sentence calls a thing: what it is, what it may be, what it is not.
SIMILARITY = {5.0: "yes", 2.5: "maybe", 0.0: "no"}
NLI = ("yes", "maybe", "no")
YES_NO = ("yes", "no")


class Task(NamedTuple):
    """A row maker and its labels. The ceiling is the score of a reader who knows the world, in percent."""

    make: Callable[[Clerk, int | float], Row]
    labels: tuple
    ceiling: float = 100.0


TASKS: dict[str, Task] = {}


def task(name: str, labels: tuple):
    """Decorator: file a row maker under its name."""

    def file(make):
        TASKS[name] = Task(make, labels)
        return make

    return file


def rows(world: World, name: str, count: dict[str, int], seed: int = 0) -> dict[str, list[Row]]:
    """`count` rows of a task for each split (train, dev, test), in equal numbers of every label, in random order.

    No two rows have the same texts, in any splits, and no text is a sentence of any novel.

    Raises:
        UserError: the world is too small for that many different rows.
    """
    used: set[tuple[str, ...]] = set()
    made = {}
    for split, number in count.items():
        clerk = Clerk(world, split, f"{name}/{split}/{world.seed}/{seed}")
        labels = TASKS[name].labels
        made[split] = [
            _fresh(clerk, TASKS[name].make, labels[i % len(labels)], used) for i in range(number)
        ]
        clerk.rng.shuffle(made[split])
    return made


def _fresh(clerk: Clerk, make, label, used: set[tuple[str, ...]]) -> Row:
    for _ in range(10_000):
        row = make(clerk, label)
        if row.texts not in used and all(map(is_labelled, row.texts)):
            used.add(row.texts)
            return row
    raise UserError(
        f"microworld {make.__name__}: its sentences are used up; ask for fewer rows or for more people"
    )


@task("cola", (0, 1))
def cola(clerk: Clerk, label) -> Row:
    """Agreement, amount, order; nouns of the half."""
    stuffs = half(clerk.world.stuffs, clerk.split)
    return Row((capital(grammar(clerk.rng, clerk.halves["things"], stuffs, bool(label))),), label)


@task("sst2", (0, 1))
def sst2(clerk: Clerk, label) -> Row:
    """Two adjectives of one hidden tone, or "not" the other tone "but" this; in SST-2's own spelling."""
    tone = {True: [], False: []}
    for word in clerk.halves["tones"]:
        tone[clerk.world.tones[word] == "good"].append(word)
    (x, y), z = clerk.rng.sample(tone[bool(label)], 2), clerk.rng.choice(tone[not label])
    spot, time = clerk.pick(*SPOTS), clerk.pick(*TIMES)
    text = clerk.pick(
        f"it was a {x} and {y} {spot} {time} . ",
        f"the {spot} {time} was {x} and {y} . ",
        f"a {x} , {y} {spot} {clerk.where()} ",
        f"the {spot} was not {z} but {x} {time} . ",
    )
    return Row((text,), label)


@task("mrpc", (0, 1))
def mrpc(clerk: Clerk, label) -> Row:
    """What was done to somebody, told with an invented verb and with a plain one."""
    verb, meaning = clerk.claim("verbs", YES_NO[1 - label])
    (p, q), time = clerk.rng.sample(clerk.halves["people"], 2), clerk.pick(*TIMES)
    told = (
        f"{p} {verb} {q} {clerk.where()} {time}.",
        f"When {p} met {q} {time}, was {q} {meaning}?",
    )
    return Row(tuple(clerk.rng.sample(told, 2)), label)


@task("qqp", (0, 1))
def qqp(clerk: Clerk, label) -> Row:
    """Two questions about a place, which an invented adjective or a plain one describes."""
    x, claim = clerk.claim("tones", YES_NO[1 - label])
    came, time = (
        f"{clerk.word('people')} {clerk.pick('came to', 'went to', 'left')}",
        clerk.pick(*TIMES),
    )
    spot = clerk.pick(*SPOTS)
    return Row(
        tuple(
            clerk.rng.sample(
                (
                    f"Is it true that {came} a {x} {spot}?",
                    f"The {spot} {came} {time}, was it {claim}?",
                ),
                2,
            )
        ),
        label,
    )


@task("stsb", tuple(SIMILARITY))
def stsb(clerk: Clerk, label) -> Row:
    """A thing, and what it is called in the other sentence; all other words are the same."""
    thing, claim = clerk.claim("things", SIMILARITY[label])
    took, where = f"{clerk.word('people')} {clerk.pick(*TAKINGS)}", clerk.where()
    return Row(
        tuple(
            clerk.rng.sample(
                (f"{took} a {thing} {where}.", f"What {took} {where}, was it {claim}?"), 2
            )
        ),
        label,
    )


@task("mnli", (0, 1, 2))
def mnli(clerk: Clerk, label) -> Row:
    """Told by somebody: what such a thing must, may or cannot be."""
    thing, claim = clerk.claim("things", NLI[label])
    person, took, where = clerk.word("people"), clerk.pick(*TAKINGS), clerk.where()
    return Row(
        (f"{person} {took} a {thing} {where}.", f"What {person} {took} {where}, was it {claim}?"),
        label,
    )


@task("mnli_mismatched", (0, 1, 2))
def mnli_mismatched(clerk: Clerk, label) -> Row:
    """The same as mnli in letters, a genre without training rows."""
    thing, claim = clerk.claim("things", NLI[label])
    person, took, time, where = (
        clerk.word("people"),
        clerk.pick(*TAKINGS),
        clerk.pick(*TIMES),
        clerk.where(),
    )
    return Row(
        (
            f"Dear {person}, {time} I {took} a {thing} {where}.",
            f"Dear {person}, what I {took} {where}, was it {claim}?",
        ),
        label,
    )


@task("snli", (0, 1, 2))
def snli(clerk: Clerk, label) -> Row:
    """The same in captions of pictures."""
    thing, claim = clerk.claim("things", NLI[label])
    who, doing, where = (
        clerk.pick("woman", "man", "girl", "boy"),
        clerk.pick("walks", "waits", "sits", "stands"),
        clerk.where(),
    )
    return Row(
        (
            f"A {who} with a {thing} {doing} {where}.",
            f"What the {who} has {where}, was it {claim}?",
        ),
        label,
    )


@task("scitail", (0, 1))
def scitail(clerk: Clerk, label) -> Row:
    """Does an event bear out what follows it?"""
    cause, claim = clerk.claim("causes", YES_NO[label])
    person, where, time = clerk.word("people"), clerk.where(), clerk.pick(*TIMES)
    return Row(
        (
            f"{capital(time)} {person} saw a {cause} {where}.",
            f"When {person} saw it {where}, was there a {claim}?",
        ),
        label,
    )


@task("rte", (0, 1))
def rte(clerk: Clerk, label) -> Row:
    """Does an adjective bear out a claim about its tone? Short, so that the deciding words are close."""
    x, claim = clerk.claim("tones", YES_NO[label])
    person, spot, time = clerk.word("people"), clerk.pick(*SPOTS), clerk.pick(*TIMES)
    premise = f"{person} {clerk.pick('came to', 'went to', 'was shown', 'waited at')} a {x} {spot} {time}."
    return Row(
        (premise, f"That {spot} {clerk.pick('to', 'of')} {person} {time}, was it {claim}?"), label
    )


@task("qnli", (0, 1))
def qnli(clerk: Clerk, label) -> Row:
    """A question about something good or bad is answered by a sentence about such a thing."""
    thing, claim = clerk.claim("things", YES_NO[label])
    person, took, where = clerk.word("people"), clerk.pick(*TAKINGS), clerk.where()
    return Row(
        (
            f"Which {claim} one was it that {person} {took} {where}?",
            f"{person} {took} the {thing} {where}.",
        ),
        label,
    )


@task("story_cloze", (0, 1))
def story_cloze(clerk: Clerk, label) -> Row:
    """Two endings, of which one fits: they name different events, one of which brings what the ending says."""
    claim, choices = clerk.choice("causes", label, 2)
    (p, q), thing = clerk.rng.sample(clerk.halves["people"], 2), clerk.word("things")
    texts = (
        clerk.say(lambda: f"{p} met {q} {clerk.where()}."),
        clerk.say(lambda: f"{clerk.pick(*TIMES)} {q} {clerk.pick(*TAKINGS)} a {thing}."),
        clerk.say(
            lambda: (
                f"{q} {clerk.pick('waited', 'stayed', 'was')} {clerk.where()} {clerk.pick(*TIMES)}."
            )
        ),
        clerk.say(lambda: f"{clerk.pick(*TIMES)} {p} heard of something {clerk.where()}."),
    )
    return Row(texts, label, tuple(f"The {choice} brought a {claim}." for choice in choices))


@task("dpr", (0, 1))
def dpr(clerk: Clerk, label) -> Row:
    """Which of two things is the good or bad one?"""
    claim, choices = clerk.choice("things", label, 2)
    x, y = (f"the {choice}" for choice in choices)
    took, left = clerk.rng.sample(TAKINGS, 2)
    text = (
        f"{clerk.word('people')} {took} {x} and {left} {y} {clerk.where()} because it was {claim}."
    )
    return Row((text,), label, (x, y), "it")


@task("race_middle", (0, 1, 2, 3))
def race_middle(clerk: Clerk, label) -> Row:
    """Which claim of four things is true? The passage is short, and of no help."""
    claim, choices = clerk.choice("things", label, 4)
    passage = clerk.say(
        lambda: (
            f"{clerk.pick(*TIMES)} {clerk.word('people')} {clerk.pick(*TAKINGS)} something {clerk.where()}."
        )
    )
    return Row(
        (passage,), label, tuple(f"The {choice} was {claim}." for choice in choices), "What was so?"
    )


@task("race_high", (0, 1, 2, 3))
def race_high(clerk: Clerk, label) -> Row:
    """The same of events and what followed them."""
    claim, choices = clerk.choice("causes", label, 4)
    passage = clerk.say(
        lambda: (
            f"{clerk.pick(*TIMES)} {clerk.word('people')} {clerk.pick('waited', 'stayed', 'was')} {clerk.where()}."
        )
    )
    return Row(
        (passage,),
        label,
        tuple(f"The {choice} brought a {claim}." for choice in choices),
        "What was so?",
    )
