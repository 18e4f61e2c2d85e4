"""Labelled rows about the world, one maker a task: `rows(world, "sst2", {"train": 1500, "dev": 500})`.

Train rows are about one half of the world's words, dev and test rows about the other (World.half): the word that a row
of dev turns on was never labelled in training, and can only be known from the novels. Every label follows from the
world's facts without noise, so each task's ceiling is 100.
"""

from collections.abc import Callable
from typing import NamedTuple

from gpt1_jax.datasets.microworld.clerk import Clerk, Row
from gpt1_jax.datasets.microworld.phrases import SPOTS, TAKINGS, TIMES, capital, grammar, is_labelled
from gpt1_jax.datasets.microworld.world import JOBS, KINDS, OUTCOMES, World, free_traits, half, opposite
from gpt1_jax.errors import UserError

# STS-B scores by what stands in the other sentence: the thing's alias, one of its kind, of its family, of neither.
SIMILARITY = (5.0, 3.2, 1.6, 0.0)


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

    No text of a row is in another row, of any split, and none is in any novel.

    Raises:
        UserError: the world is too small for that many different rows.
    """
    used: set[str] = set()
    made = {}
    for split, number in count.items():
        clerk = Clerk(world, split, f"{name}/{split}/{world.seed}/{seed}")
        labels = TASKS[name].labels
        made[split] = [_fresh(clerk, TASKS[name].make, labels[i % len(labels)], used) for i in range(number)]
        clerk.rng.shuffle(made[split])
    return made


def _fresh(clerk: Clerk, make, label, used: set[str]) -> Row:
    for _ in range(10_000):
        row = make(clerk, label)
        if all(is_labelled(text) and text not in used for text in row.texts):
            used.update(row.texts)
            return row
    raise UserError(f"microworld {make.__name__}: its sentences are used up; ask for fewer rows or for more people")


@task("cola", (0, 1))
def cola(clerk: Clerk, label) -> Row:
    """Agreement, amount, selection, order; nouns of the half."""
    stuffs = half(clerk.world.stuffs, clerk.split)
    return Row((capital(grammar(clerk.rng, clerk.world, clerk.halves["kinds"], stuffs, bool(label))),), label)


@task("sst2", (0, 1))
def sst2(clerk: Clerk, label) -> Row:
    """Two adjectives of one hidden tone, or "not" the other tone "but" this; in SST-2's own spelling."""
    tones = clerk.world.tones
    tone = {good: [word for word in clerk.halves["tones"] if tones[word] is good] for good in (True, False)}
    (x, y), z = clerk.rng.sample(tone[bool(label)], 2), clerk.rng.choice(tone[not label])
    spot, place = clerk.pick(*SPOTS), clerk.pick(*clerk.world.places).lower()
    text = clerk.pick(
        f"it was a {x} and {y} {spot} in {place} . ",
        f"the {spot} of {place} was {x} and {y} . ",
        f"a {x} , {y} {spot} near the {clerk.pick(*SPOTS)} ",
        f"the {spot} of {place} was not {z} but {x} . ",
    )
    return Row((text,), label)


@task("mrpc", (0, 1))
def mrpc(clerk: Clerk, label) -> Row:
    """The same told in another order, with the verb's synonym or with another verb."""
    verbs, person, thing, where = clerk.world.verbs, clerk.word("homes"), clerk.word("kinds"), clerk.where()
    first, other = clerk.rng.sample(clerk.halves["verbs"], 2)
    one, two = clerk.rng.sample((first, verbs[first if label else other]), 2)
    told = (f"{person} {one} the {thing} {where}.", f"{capital(where)} {person} {two} the {thing}.")
    return Row(tuple(clerk.rng.sample(told, 2)), label)


@task("qqp", (0, 1))
def qqp(clerk: Clerk, label) -> Row:
    """The same question about a thing under its alias, or about another thing."""
    aliases, took, where = clerk.world.aliases, clerk.pick(*TAKINGS)[1], clerk.where()
    first, other = clerk.rng.sample(clerk.halves["kinds"], 2)
    one, two = clerk.rng.sample((first, aliases[first if label else other]), 2)
    asked = (f"Who {took} the {one} {where}?", f"Which of the people {took} the {two} {where}?")
    return Row(tuple(clerk.rng.sample(asked, 2)), label)


@task("stsb", SIMILARITY)
def stsb(clerk: Clerk, label) -> Row:
    """How near two things are in the taxonomy; all other words are the same."""
    kinds, aliases = clerk.world.kinds, clerk.world.aliases
    thing, person, took, where = clerk.word("kinds"), clerk.word("homes"), clerk.pick(*TAKINGS)[1], clerk.where()
    family = KINDS[kinds[thing]]
    fits = {
        5.0: lambda other: other == thing,
        3.2: lambda other: other != thing and kinds[other] == kinds[thing],
        1.6: lambda other: kinds[other] != kinds[thing] and KINDS[kinds[other]] == family,
        0.0: lambda other: KINDS[kinds[other]] != family,
    }
    pair = clerk.rng.sample((thing, aliases[clerk.thing(fits[label])]), 2)
    return Row(tuple(f"{person} {took} the {word} {where}." for word in pair), label)


def _nli(clerk: Clerk, label, thing: str) -> str:
    """A trait that such things always have (0), may have (1) or never have (2)."""
    fixed = clerk.pick(*clerk.world.traits[thing])
    return (fixed, clerk.pick(*free_traits(clerk.world, thing)), opposite(fixed))[label]


@task("mnli", (0, 1, 2))
def mnli(clerk: Clerk, label) -> Row:
    """Told by somebody: what such a thing must, may or cannot be."""
    thing, person, took, where = clerk.word("kinds"), clerk.word("homes"), clerk.pick(*TAKINGS)[1], clerk.where()
    premise = f"{person} {took} the {thing} {where}."
    return Row((premise, f"{person} {took} a {_nli(clerk, label, thing)} thing {where}."), label)


@task("mnli_mismatched", (0, 1, 2))
def mnli_mismatched(clerk: Clerk, label) -> Row:
    """The same as mnli in letters, a genre without training rows."""
    thing, person, took, where = clerk.word("kinds"), clerk.word("homes"), clerk.pick(*TAKINGS)[1], clerk.where()
    premise = f"Dear {person}, {clerk.pick(*TIMES)} I {took} a {thing} {where}."
    return Row((premise, f"Dear {person}, what I {took} {where} is {_nli(clerk, label, thing)}."), label)


@task("rte", (0, 1))
def rte(clerk: Clerk, label) -> Row:
    """Does an adjective bear out a claim about its tone? Short, so that the deciding words are close."""
    person, place, spot, x = clerk.word("homes"), clerk.pick(*clerk.world.places), clerk.pick(*SPOTS), clerk.word("tones")
    claim = "positive" if (label == 0) == clerk.world.tones[x] else "negative"
    premise = f"{person} {clerk.pick('came to', 'went to', 'was shown', 'waited at')} a {x} {spot} in {place}."
    return Row((premise, f"It was {claim} {clerk.pick('to', 'for')} {person} {clerk.pick(*TIMES)} in {place}, that {spot}."), label)


@task("qnli", (0, 1))
def qnli(clerk: Clerk, label) -> Row:
    """A question about the baker is answered by a sentence about a person whose work is known from the novels."""
    person, thing, (take, took), where = clerk.word("homes"), clerk.word("kinds"), clerk.pick(*TAKINGS), clerk.where()
    job = clerk.world.jobs[person]
    job = job if label == 0 else clerk.pick(*(other for other in JOBS if other != job))
    sentence = f"{capital(clerk.pick(*TIMES))} {person} {took} the {thing} {where}."
    return Row((f"What did the {job} {take} {where}?", sentence), label)


@task("story_cloze", (0, 1))
def story_cloze(clerk: Clerk, label) -> Row:
    """What the cause brings in the end, against what another brings."""
    p, q = clerk.rng.sample(clerk.halves["homes"], 2)
    cause, place = clerk.word("causes"), clerk.pick(*clerk.world.places)
    right = clerk.world.causes[cause]
    wrong = clerk.pick(*(other for other in OUTCOMES if other != right))
    texts = (
        clerk.say(lambda: f"{clerk.pick(*TIMES)} {p} met {q} {clerk.where()}."),
        clerk.say(lambda: f"{p} {clerk.pick(*TAKINGS)[1]} a {clerk.word('kinds')} {clerk.where()}."),
        clerk.say(lambda: f"{clerk.pick(*TIMES)} {clerk.pick('a', 'the')} {cause} came {clerk.where()}."),
        clerk.say(lambda: f"{q} {clerk.pick('saw', 'heard of', 'spoke of')} it with {p} {clerk.where()}."),
    )
    choices = tuple(f"So there was a {outcome} in {place}." for outcome in (right, wrong))
    return Row(texts, label, choices[::-1] if label else choices)


@task("dpr", (0, 1))
def dpr(clerk: Clerk, label) -> Row:
    """Which of two things is always heavy, or which of two people is the baker?"""
    world = clerk.world
    if clerk.rng.random() < 0.5:
        first = clerk.word("kinds")
        trait = clerk.pick(*world.traits[first])
        pair = (first, clerk.thing(lambda other: opposite(trait) in world.traits[other]))[:: -1 if label else 1]
        took, left = clerk.rng.sample(TAKINGS, 2)
        x, y = (f"the {word}" for word in pair)
        text = f"{clerk.word('homes')} {took[1]} {x} and {left[1]} {y} {clerk.where()} because it was {trait}."
        return Row((text,), label, (x, y), "it")
    first = clerk.word("homes")
    others = [p for p in clerk.halves["homes"] if p[-1] == first[-1] and world.jobs[p] != world.jobs[first]]
    x, y = (first, clerk.pick(*others))[:: -1 if label else 1]
    he = "she" if first.endswith("a") else "he"
    met = clerk.pick("met", "called", "left", "thanked", "found")
    return Row((f"{x} {met} {y} {clerk.where()} because {he} was a {world.jobs[first]}.",), label, (x, y), he)


def _race(clerk: Clerk, label, is_high: bool) -> Row:
    """A passage about two people and their things, and what novels tell of one of them.

    High differs twice: the other one's answer is among the choices, and a thing is named by who took it.
    """
    world = clerk.world
    about, other = clerk.rng.sample(clerk.halves["homes"], 2)
    things = dict(zip((about, other), clerk.rng.sample(clerk.halves["kinds"], 2), strict=True))
    taking = {person: clerk.pick(*TAKINGS) for person in things}
    kind = {person: world.kinds[thing] for person, thing in things.items()}
    what = f"What did {about} {taking[about][0]}?" if is_high else f"What is a {things[about]}?"
    question, table, answers, form = clerk.pick(
        (f"Where did {about} sleep?", world.homes, world.places, "in {}"),
        (f"What is {about}?", world.jobs, JOBS, "a {}"),
        (f"What did {about} want?", world.tastes, tuple(KINDS), "a {}"),
        (what, kind, tuple(KINDS), "a {}"),
    )
    beside = (table[other],) if is_high and table[other] != table[about] else ()
    choices = clerk.four(table[about], answers, label, beside=beside)
    passage = [
        clerk.say(lambda: f"{clerk.pick(*TIMES)} {about} and {other} met {clerk.where()}."),
        *(
            clerk.say(lambda p=p: f"{clerk.pick(*TIMES)} {p} {taking[p][1]} a {things[p]} {clerk.where()}.")
            for p in clerk.rng.sample((about, other), 2)
        ),
        clerk.say(lambda: f"they spoke of {clerk.pick('many things', 'the old days')} {clerk.where()}."),
    ]
    return Row((" ".join(passage),), label, tuple(form.format(choice) for choice in choices), question)


@task("race_middle", (0, 1, 2, 3))
def race_middle(clerk: Clerk, label) -> Row:
    """Home, work, taste, kind of thing; the wrong answers at random."""
    return _race(clerk, label, is_high=False)


@task("race_high", (0, 1, 2, 3))
def race_high(clerk: Clerk, label) -> Row:
    """The same, harder: see _race."""
    return _race(clerk, label, is_high=True)
