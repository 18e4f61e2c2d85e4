"""Test that labels follow from the world's facts and from nothing else."""

import dataclasses
import itertools
import re

import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.microworld import baselines
from gpt1_jax.microworld.tasks import TASKS, make_rows
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, World


def words(text):
    return re.findall("[a-z]+", text.lower())


def only(items):
    (item,) = items
    return item


@pytest.mark.parametrize("name", TASKS)
def test_rows_are_balanced_and_unique(labeled, name):
    texts = [row.texts for rows in labeled[name].values() for row in rows]
    assert len(set(texts)) == len(texts)
    for rows in labeled[name].values():
        labels = [row.label for row in rows]
        counts = {labels.count(label) for label in TASKS[name].labels}
        assert counts == {len(rows) / len(TASKS[name].labels)}


def test_too_many_rows_are_refused(world):
    few = {"good": [], "bad": []}
    for split in ("train", "held_out"):
        for tone in few:
            half = [word for word in world.words("tones", split) if world.tones[word] == tone]
            few[tone].append(half[:2])
    train, dev = (few["good"][i] + few["bad"][i] for i in (0, 1))
    tones = {word: world.tones[word] for pair in zip(train, dev, strict=True) for word in pair}
    small = dataclasses.replace(world, tones=tones)
    assert len(make_rows(small, "sst2", {"train": 60, "dev": 12})["train"]) == 60
    with pytest.raises(UserError, match=r"microworld sst2: found only \d+ different rows"):
        make_rows(small, "sst2", {"train": 10_000})


@pytest.mark.parametrize("name", TASKS)
def test_half_of_the_words_are_in_no_train_row(world, labeled, name):
    found = {
        split: {word for row in rows for text in row.texts + row.choices for word in words(text)}
        for split, rows in labeled[name].items()
    }
    held_out = set()
    for relation in (*RELATIONS, "people"):
        held_out |= {word.lower() for word in world.words(relation, "held_out")}
    assert not found["train"] & held_out and found["dev"] & held_out and found["test"] & held_out


@pytest.mark.parametrize("name", TASKS)
def test_the_facts_determine_every_label(world, labeled, name):
    for row in itertools.chain(*labeled[name].values()):
        assert ORACLES[name](Oracle(world), row) == row.label, row


@pytest.mark.parametrize("name", TASKS)
def test_baseline_is_near_chance(world, name):
    # 3.5 standard errors of 1500 rows are 4.5 points for two classes, 9 for a correlation.
    tolerance = 9 if name == "stsb" else 4.5
    assert baselines.baseline(world, name) < baselines.CHANCE[name] + tolerance


@dataclasses.dataclass
class Oracle:
    """Predict labels from the facts of the world, independently of how rows are made."""

    world: World

    def answer(self, relation, row):
        """Return the answer to the claim in one text about the subject that either text names."""
        facts = getattr(self.world, relation)
        names = re.findall(r"\w+", " ".join(row.texts))
        fact = facts[only({word for word in names if word in facts})]
        claim = only({word for word in names if word in OBJECTS[relation]})
        if relation == "tones":
            fact = self.tone(row)
        if fact == "either":
            return "maybe"
        return "yes" if claim == fact else "no"

    def tone(self, row):
        """Return the tone of the only adjective at the only spot."""
        names = set(words(" ".join(row.texts)))
        tone = self.world.tones[only(names & set(self.world.tones))]
        if only(names & set(self.world.spots)) in self.world.contrary:
            return "bad" if tone == "good" else "good"
        return tone

    def is_sad(self, row):
        verb, _, thing = words(row.texts[0])[1:4]
        return int(self.world.things[thing] != ("bad" if verb == "lost" else "good"))

    def acceptable(self, row):
        text = row.texts[0].lower()
        one = "|".join(self.world.things)
        many = "|".join(thing + "s" for thing in self.world.things)
        stuff, look = "|".join(self.world.stuffs), "old|new|wide|small"
        good = [
            rf"saw (this (({look}) )?({one})|these (({look}) )?({many})) ",
            rf"the (({one}) is|({many}) are) ({look}) ",
            rf"so (much ({stuff})|many ({many})) ",
            rf"saw a ({look}) ({one}) ",
        ]
        return int(any(re.search(pattern, text) for pattern in good))

    def pronoun(self, row):
        claim = row.texts[0].split()[-1].rstrip(".")
        facts = {f"the {thing}": fact for thing, fact in self.world.things.items()}
        return only(i for i, choice in enumerate(row.choices) if facts[choice] == claim)

    def choice(self, row):
        """Return the only choice whose last word is the object of its subject."""
        facts = self.world.things | self.world.causes
        return only(
            i
            for i, choice in enumerate(row.choices)
            if words(choice)[-1] in {facts.get(word) for word in words(choice)}
        )


def answer_index(relation, *answers):
    return lambda oracle, row: answers.index(oracle.answer(relation, row))


ORACLES = {
    "cola": Oracle.acceptable,
    "sst2": lambda oracle, row: ("bad", "good").index(oracle.tone(row)),
    "mrpc": answer_index("verbs", "no", "yes"),
    "qqp": answer_index("tones", "no", "yes"),
    "stsb": lambda oracle, row: 2.5 * ("no", "maybe", "yes").index(oracle.answer("things", row)),
    "mnli": answer_index("things", "yes", "maybe", "no"),
    "mnli_mismatched": answer_index("things", "yes", "maybe", "no"),
    "snli": answer_index("things", "yes", "maybe", "no"),
    "scitail": answer_index("causes", "yes", "no"),
    "rte": Oracle.is_sad,
    "qnli": answer_index("things", "yes", "no"),
    "story_cloze": Oracle.choice,
    "dpr": Oracle.pronoun,
    "race_middle": Oracle.choice,
    "race_high": Oracle.choice,
}
