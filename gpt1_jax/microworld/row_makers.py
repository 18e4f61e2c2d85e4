"""Define for each task the function that makes one row with a given label."""

from gpt1_jax.microworld.phrases import GLAD, SCENES, TIMES, capitalize, grammar_sentence
from gpt1_jax.microworld.row_sampler import RowSampler, TaskRow
from gpt1_jax.microworld.world import TAKING_VERBS, opposite, words

# STS-B score -> the answer to the claim that the other sentence makes about the thing.
SIMILARITY = {5.0: "yes", 2.5: "maybe", 0.0: "no"}
NLI = ("yes", "maybe", "no")
YES_NO = ("yes", "no")


def cola(sampler: RowSampler, label: int) -> TaskRow:
    """Make a sentence that is grammatical (1) or not (0), with nouns of the split."""
    stuffs = words(sampler.world.stuffs, sampler.split)
    text = grammar_sentence(sampler.rng, sampler.words["things"], stuffs, bool(label))
    return TaskRow((capitalize(text),), label)


def sst2(sampler: RowSampler, label: int) -> TaskRow:
    """Make a phrase with an adjective and a spot: good (1) or bad (0). The spelling is SST-2's.

    One spot in four is contrary: there the label follows from the pair of words. A zero-shot probe
    appends ", very" and a tone.
    """
    spot, tone, time = sampler.word("spots"), ("bad", "good")[label], sampler.pick(*TIMES)
    x = sampler.adjective(spot, tone)
    p, q = map(str.lower, sampler.rng.sample(sampler.words["people"], 2))
    phrase = sampler.pick(*SCENES).format(p=p, q=q, time=time, spot=spot, x=x)
    return TaskRow((phrase + " ",), label)


def mrpc(sampler: RowSampler, label: int) -> TaskRow:
    """Make a statement with an invented verb, and a question about it with a plain verb."""
    verb, meaning = sampler.claim("verbs", YES_NO[1 - label])
    (p, q), time = sampler.rng.sample(sampler.words["people"], 2), sampler.pick(*TIMES)
    statement = f"{p} {verb} {q} {sampler.location()} {time}."
    question = f"When {p} met {q} {time}, was {q} {meaning}?"
    return TaskRow(tuple(sampler.rng.sample((statement, question), 2)), label)


def qqp(sampler: RowSampler, label: int) -> TaskRow:
    """Make two questions about a spot: one with an invented adjective, one with a plain one."""
    spot, claim = sampler.word("spots"), sampler.plain_claim("tones")
    x = sampler.adjective(spot, claim if label else opposite(claim))
    came = f"{sampler.word('people')} {sampler.pick('came to', 'went to', 'left')}"
    time = sampler.pick(*TIMES)
    questions = (
        f"Is it true that {came} a {x} {spot}?",
        f"The {spot} {came} {time}, was it {claim}?",
    )
    return TaskRow(tuple(sampler.rng.sample(questions, 2)), label)


def stsb(sampler: RowSampler, label: float) -> TaskRow:
    """Make a sentence with a thing, and a question with a claim and otherwise the same words."""
    thing, claim = sampler.claim("things", SIMILARITY[label])
    took = f"{sampler.word('people')} {sampler.pick(*TAKING_VERBS)}"
    where = sampler.location()
    texts = (f"{took} a {thing} {where}.", f"What {took} {where}, was it {claim}?")
    return TaskRow(tuple(sampler.rng.sample(texts, 2)), label)


def mnli(sampler: RowSampler, label: int) -> TaskRow:
    """Make a statement about a thing, and ask whether the thing is good or bad."""
    thing, claim = sampler.claim("things", NLI[label])
    person, took, where = (
        sampler.word("people"),
        sampler.pick(*TAKING_VERBS),
        sampler.location(),
    )
    return TaskRow(
        (f"{person} {took} a {thing} {where}.", f"What {person} {took} {where}, was it {claim}?"),
        label,
    )


def mnli_mismatched(sampler: RowSampler, label: int) -> TaskRow:
    """Make a row like that of mnli as a letter, a genre without train rows."""
    thing, claim = sampler.claim("things", NLI[label])
    person, took = sampler.word("people"), sampler.pick(*TAKING_VERBS)
    time, where = sampler.pick(*TIMES), sampler.location()
    return TaskRow(
        (
            f"Dear {person}, {time} I {took} a {thing} {where}.",
            f"Dear {person}, what I {took} {where}, was it {claim}?",
        ),
        label,
    )


def snli(sampler: RowSampler, label: int) -> TaskRow:
    """Make a row like that of mnli as captions of pictures."""
    thing, claim = sampler.claim("things", NLI[label])
    who = sampler.pick("woman", "man", "girl", "boy")
    doing = sampler.pick("walks", "waits", "sits", "stands")
    where = sampler.location()
    return TaskRow(
        (
            f"A {who} with a {thing} {doing} {where}.",
            f"What the {who} has {where}, was it {claim}?",
        ),
        label,
    )


def scitail(sampler: RowSampler, label: int) -> TaskRow:
    """Make a statement about an event, and ask for its consequence."""
    cause, claim = sampler.claim("causes", YES_NO[label])
    person, where, time = sampler.word("people"), sampler.location(), sampler.pick(*TIMES)
    return TaskRow(
        (
            f"{capitalize(time)} {person} saw a {cause} {where}.",
            f"When {person} saw it {where}, was there a {claim}?",
        ),
        label,
    )


def rte(sampler: RowSampler, label: int) -> TaskRow:
    """Make a statement that a person gained or lost a thing, and ask if the person was glad.

    One person in four lost the thing: then the label follows from the pair of verb and thing.
    """
    took, person, where = sampler.pick(*TAKING_VERBS), sampler.word("people"), sampler.location()
    mood = ("gladly", "sadly")[label]
    things = [x for x in sampler.words["things"] if sampler.world.mood(took, x) == mood]
    premise = f"{person} {took} the {sampler.pick(*things)} {where}."
    question = capitalize(sampler.pick(*GLAD).format(p=person))
    return TaskRow((premise, question), label)


def qnli(sampler: RowSampler, label: int) -> TaskRow:
    """Make a question about a thing, and a sentence that may say what is true of the thing."""
    thing, claim = sampler.claim("things", YES_NO[label])
    person, took, where = sampler.word("people"), sampler.pick(*TAKING_VERBS), sampler.location()
    question = capitalize(f"{where} how was the {thing}?")
    return TaskRow((question, f"What {person} {took} there was {claim}."), label)


def story_cloze(sampler: RowSampler, label: int) -> TaskRow:
    """Make a story with two endings: two events, of which one has the stated consequence."""
    claim, choices = sampler.choices("causes", label, 2)
    (p, q), thing = sampler.rng.sample(sampler.words["people"], 2), sampler.word("things")

    def meeting():
        return f"{p} met {q} {sampler.location()}."

    def taking():
        return f"{sampler.pick(*TIMES)} {q} {sampler.pick(*TAKING_VERBS)} a {thing}."

    def waiting():
        waited = sampler.pick("waited", "stayed", "was")
        return f"{q} {waited} {sampler.location()} {sampler.pick(*TIMES)}."

    def hearing():
        return f"{sampler.pick(*TIMES)} {p} heard of something {sampler.location()}."

    texts = tuple(map(sampler.sentence, (meeting, taking, waiting, hearing)))
    return TaskRow(texts, label, tuple(f"The {choice} brought a {claim}." for choice in choices))


def dpr(sampler: RowSampler, label: int) -> TaskRow:
    """Make a sentence whose pronoun refers to the one of two things that is good or bad."""
    claim, choices = sampler.choices("things", label, 2)
    x, y = (f"the {choice}" for choice in choices)
    took, lost = sampler.rng.sample(TAKING_VERBS, 2)
    person, where = sampler.word("people"), sampler.location()
    text = f"{person} {took} {x} and {lost} {y} {where} because it was {claim}."
    return TaskRow((text,), label, (x, y), "it")


def race_middle(sampler: RowSampler, label: int) -> TaskRow:
    """Make a short passage, which does not help, and four claims about things: one is true."""
    claim, choices = sampler.choices("things", label, 4)

    def taking():
        time, person, took = (
            sampler.pick(*TIMES),
            sampler.word("people"),
            sampler.pick(*TAKING_VERBS),
        )
        return f"{time} {person} {took} something {sampler.location()}."

    answers = tuple(f"The {choice} was {claim}." for choice in choices)
    return TaskRow((sampler.sentence(taking),), label, answers, "What was so?")


def race_high(sampler: RowSampler, label: int) -> TaskRow:
    """Make a row like that of race_middle about events and their consequences."""
    claim, choices = sampler.choices("causes", label, 4)

    def waiting():
        time, person = sampler.pick(*TIMES), sampler.word("people")
        return f"{time} {person} {sampler.pick('waited', 'stayed', 'was')} {sampler.location()}."

    answers = tuple(f"The {choice} brought a {claim}." for choice in choices)
    return TaskRow((sampler.sentence(waiting),), label, answers, "What was so?")
