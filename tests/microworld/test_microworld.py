"""The little world: labels follow from its facts, nothing leaks, bytes repeat, files look like the published ones."""

import collections
import csv
import dataclasses
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys

import pytest

from gpt1_jax.datasets.sources import load
from gpt1_jax.errors import UserError
from gpt1_jax.microworld import baselines, files
from gpt1_jax.microworld.novels import novels
from gpt1_jax.microworld.tasks import TASKS, rows
from gpt1_jax.microworld.world import OBJECTS, RELATIONS, draw
from gpt1_jax.registry import TASKS as REGISTERED

SMALL = dict(seed=3, words=3000, train=20, dev=8)


@pytest.fixture(scope="module")
def world():
    return draw(0)


@pytest.fixture(scope="module")
def book(world):
    return " ".join(novels(world, 300_000))


@pytest.fixture(scope="module")
def labelled(world):
    return {name: rows(world, name, {"train": 120, "dev": 120, "test": 120}) for name in TASKS}


def words(text):
    return re.findall("[a-z]+", text.lower())


def sentences(text):
    return [" ".join(words(sentence)) for sentence in re.split(r"[.?!]", text)]


def the(found):
    """The only one."""
    (one,) = found
    return one


# --- The world ---


def test_halves_share_no_word_and_see_every_object_equally_often(world):
    for relation in RELATIONS:
        table = getattr(world, relation)
        train, dev = world.half(relation, "train"), world.half(relation, "dev")
        assert set(train) | set(dev) == set(table) and not set(train) & set(dev)
        assert world.half(relation, "test") == dev
        assert sorted(table[word] for word in train) == sorted(table[word] for word in dev)


def test_smaller_fractions_of_facts_are_among_larger_ones(world):
    for relation in RELATIONS:
        told = [world.told(relation, fraction) for fraction in (0, 0.25, 0.5, 1)]
        assert all(a < b for a, b in itertools.pairwise(told))
        assert told[0] == set() and told[-1] == set(getattr(world, relation))


def test_seeds_are_different_worlds():
    assert draw(0) == draw(0)
    assert set(draw(0).tones) != set(draw(1).tones)


def test_levers_set_the_size():
    small = draw(0, tones=8, things=24, verbs=8, causes=16, people=16, stuffs=4)
    assert [len(getattr(small, relation)) for relation in (*RELATIONS, "people", "stuffs")] == [
        8,
        24,
        8,
        16,
        16,
        4,
    ]
    assert all(len(list(novels(small, 5000, facts=facts))) == 1 for facts in (0, 0.25, 1))
    for name in TASKS:
        assert len(rows(small, name, {"train": 60, "dev": 12})["train"]) == 60
    with pytest.raises(UserError, match="people=3"):
        draw(0, people=3)
    with pytest.raises(UserError, match="used up"):
        rows(small, "sst2", {"train": 10_000})


# --- The novels ---


def test_novels_have_the_length_asked_for(world, book):
    assert 300_000 <= len(book.split()) < 305_000
    assert len(list(novels(world, 45_000))) == 3


def test_novels_state_every_fact(world, book):
    said = [set(sentence.split()) for sentence in sentences(book)]
    for relation in RELATIONS:
        for subject, item in getattr(world, relation).items():
            both = [
                sum({subject.lower(), fact} <= sentence for sentence in said)
                for fact in OBJECTS[relation][:2]
            ]
            right = OBJECTS[relation].index(item)
            assert min(both[right : right + 1] or both) >= 20, (
                f"{relation}: {subject} is said to be {both}"
            )


def association(world, relation, text):
    """The share of subjects, of those with one, whose own object is nearer to them than the other: within three words, questions apart."""
    table = {
        subject.lower(): item
        for subject, item in getattr(world, relation).items()
        if item != "either"
    }
    objects = OBJECTS[relation][:2]
    told = words(" ".join(re.sub(r"[^.?]*[?]", "", text).split()))
    near = collections.Counter(
        (word, other)
        for i, word in enumerate(told)
        if word in table
        for other in told[max(0, i - 3) : i + 4]
    )
    return sum(table[x] == max(objects, key=lambda item: near[x, item]) for x in table) / len(table)


@pytest.mark.parametrize("relation", RELATIONS)
def test_short_links_alone_tell_the_facts(world, book, relation):
    assert association(world, relation, book) >= 0.9
    silent = (
        sum(
            association(draw(seed), relation, " ".join(novels(draw(seed), 50_000, facts=0.0)))
            for seed in range(3)
        )
        / 3
    )
    assert silent < 0.75


def test_far_facts_are_told_over_five_words_or_more(world):
    near = {}
    for far in (0.0, 1.0):
        told = words(re.sub(r"[^.?]*[?]", "", " ".join(novels(world, 100_000, far=far))))
        near[far] = sum(
            world.causes[word] in told[i + 1 : i + 5]
            for i, word in enumerate(told)
            if word in world.causes
        )
    assert near[1.0] == 0 < near[0.0]


def test_claims_in_the_novels_get_the_answers_of_the_world(world, book):
    answers = collections.Counter()
    exchange = r"(\w+)(?: (\w+))?(?:\. was (?:it|there a|\w+)| for a)? (\w+)\? (yes|no|maybe)\."
    for first, second, claim, answer in re.findall(exchange, book.lower()):
        for relation, subject in itertools.product(RELATIONS, (first, second)):
            if subject in getattr(world, relation) and claim in OBJECTS[relation]:
                assert claim in world.claims(relation, subject)[answer]
                answers[relation, answer] += 1
    # In nobody's favour: of each relation, the world has as many good as bad.
    for relation in RELATIONS:
        assert (
            0.8 < answers[relation, "yes"] / answers[relation, "no"] < 1.25
            and answers[relation, "yes"] > 200
        )
    assert answers["things", "maybe"] > 200


def test_adjectives_keep_company_of_their_own_tone(world, book):
    pairs = re.findall(r"(\w+) and (\w+)", book.lower())
    known = [(a, b) for a, b in pairs if a in world.tones and b in world.tones]
    assert len(known) > 300
    assert all(world.tones[a] is world.tones[b] for a, b in known)


def test_grammar_of_novels_is_that_of_the_tasks(world, book):
    forms = {thing: thing + "s" for thing in world.things}
    assert len(re.findall(rf"\bmany ({'|'.join(forms.values())})\b", book)) > 200
    assert not re.findall(
        rf"\b(this|much) ({'|'.join(forms.values())})\b|\b(these|many) ({'|'.join(forms)})\b", book
    )


@pytest.mark.parametrize("facts", [0.0, 0.5])
def test_novels_keep_silent_about_facts_that_are_not_told(world, facts):
    text = " ".join(novels(world, 150_000, facts=facts))
    said = [set(sentence.split()) for sentence in sentences(text)]
    for relation in ("causes", "verbs"):
        for subject in set(getattr(world, relation)) - world.told(relation, facts):
            mine = [sentence for sentence in said if subject in sentence]
            assert mine, f"{subject} must be there, if only without its meaning"
            assert not any(set(OBJECTS[relation]) & sentence for sentence in mine)


def test_labelled_sentences_are_not_in_the_novels(book, labelled):
    told = " " + " | ".join(sentences(book)) + " "
    for splits in labelled.values():
        for row in itertools.chain(*splits.values()):
            assert not [
                one for text in row.texts for one in sentences(text) if one and f" {one} " in told
            ]


# --- The tasks ---


@pytest.mark.parametrize("name", TASKS)
def test_rows_are_balanced_and_all_different(labelled, name):
    texts = [row.texts for made in labelled[name].values() for row in made]
    assert len(set(texts)) == len(texts)
    for made in labelled[name].values():
        labels = [row.label for row in made]
        assert {labels.count(label) for label in TASKS[name].labels} == {
            len(made) / len(TASKS[name].labels)
        }


@pytest.mark.parametrize("name", TASKS)
def test_test_words_are_never_labelled_in_training(world, labelled, name):
    seen = set(
        words(
            " ".join(text for row in labelled[name]["train"] for text in (*row.texts, *row.choices))
        )
    )
    for relation, split in itertools.product(RELATIONS, ("dev", "test")):
        assert not seen & {word.lower() for word in world.half(relation, split)}


@pytest.mark.parametrize("name", TASKS)
def test_whoever_knows_the_world_answers_everything(world, labelled, name):
    for row in itertools.chain(*labelled[name].values()):
        assert ORACLES[name](Reader(world), row) == row.label, row


@pytest.mark.parametrize("name", TASKS)
def test_counting_words_stays_near_chance(world, name):
    # Three and a half standard errors of 1500 rows: 4.5 points for two classes, 9 for a correlation.
    assert baselines.floor(world, name) < baselines.CHANCE[name] + (9 if name == "stsb" else 4.5)


@dataclasses.dataclass
class Reader:
    """Answers rows from the tables of the world and the words of the row, independently of how rows are made."""

    world: object

    def answer_to(self, relation, row):
        """What the world answers to the claim of one text, of the subject that either names."""
        names = re.findall(r"\w+", " ".join(row.texts))
        fact = getattr(self.world, relation)[
            the({word for word in names if word in getattr(self.world, relation)})
        ]
        said = the({word for word in names if word in OBJECTS[relation]})
        return "maybe" if fact == "either" else "yes" if said == fact else "no"

    def tone(self, row):
        text = re.sub(r"not \w+ but", "", row.texts[0])
        return int(
            the({self.world.tones[word] for word in words(text) if word in self.world.tones})
            == "good"
        )

    def acceptable(self, row):
        text = row.texts[0].lower()
        one, many = (
            "|".join(self.world.things),
            "|".join(thing + "s" for thing in self.world.things),
        )
        stuff, look = "|".join(self.world.stuffs), "old|new|wide|small"
        good = [
            rf"saw (this (({look}) )?({one})|these (({look}) )?({many})) ",
            rf"the (({one}) is|({many}) are) ({look}) ",
            rf"so (much ({stuff})|many ({many})) ",
            rf"saw a ({look}) ({one}) ",
        ]
        return int(any(re.search(pattern, text) for pattern in good))

    def pronoun(self, row):
        told = row.texts[0].split()[-1].rstrip(".")
        facts = {f"the {thing}": fact for thing, fact in self.world.things.items()}
        return the(i for i, choice in enumerate(row.choices) if facts[choice] == told)

    def answer(self, row):
        """The one choice whose last word fits the subject that it names."""
        facts = self.world.things | self.world.causes
        return the(
            i
            for i, choice in enumerate(row.choices)
            if words(choice)[-1] in {facts.get(word) for word in words(choice)}
        )


ORACLES = {
    "cola": Reader.acceptable,
    "sst2": Reader.tone,
    "mrpc": lambda reader, row: int(reader.answer_to("verbs", row) == "yes"),
    "qqp": lambda reader, row: int(reader.answer_to("tones", row) == "yes"),
    "stsb": lambda reader, row: {"yes": 5.0, "maybe": 2.5, "no": 0.0}[
        reader.answer_to("things", row)
    ],
    "mnli": lambda reader, row: ("yes", "maybe", "no").index(reader.answer_to("things", row)),
    "mnli_mismatched": lambda reader, row: ("yes", "maybe", "no").index(
        reader.answer_to("things", row)
    ),
    "snli": lambda reader, row: ("yes", "maybe", "no").index(reader.answer_to("things", row)),
    "scitail": lambda reader, row: ("yes", "no").index(reader.answer_to("causes", row)),
    "rte": lambda reader, row: ("yes", "no").index(reader.answer_to("tones", row)),
    "qnli": lambda reader, row: ("yes", "no").index(reader.answer_to("things", row)),
    "story_cloze": Reader.answer,
    "dpr": Reader.pronoun,
    "race_middle": Reader.answer,
    "race_high": Reader.answer,
}


# --- The files ---


def digest(folder):
    """Of the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    files.write(tmp_path / "here", **SMALL)
    command = [
        sys.executable,
        "-m",
        "gpt1_jax.main",
        "microworld",
        f"--directory={tmp_path / 'there'}",
    ]
    command += [f"--{name}={value}" for name, value in SMALL.items()]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert digest(tmp_path / "here") == digest(tmp_path / "there")
    assert (
        digest(tmp_path / "here")
        == "1459926607836988d385603a29971b0782fbcd37a5eb9899c3ae7b398fd1d5f6"
    ), (
        "the written files have changed: if that was meant, raise files.VERSION and put the new digest here"
    )


def test_an_identical_folder_is_left_alone_and_another_is_replaced(tmp_path):
    target = tmp_path / "a" / "world"
    files.write(target, **SMALL)
    before, stamp = digest(target), (target / "manifest.json").stat().st_mtime_ns
    files.write(target, **SMALL)
    assert (target / "manifest.json").stat().st_mtime_ns == stamp
    files.write(target, **SMALL | {"seed": 4})
    assert digest(target) != before
    assert [path.name for path in target.parent.iterdir()] == ["world"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "my app"}')
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds something else than a microworld"):
        files.write(tmp_path, **SMALL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_write_pronouns", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write(tmp_path / "world", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_told_in_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("do not touch")
    for directory, bad in (
        (tmp_path, {}),
        (tmp_path / "w", {"facts": 1.5}),
        (tmp_path / "w", {"words": 0}),
    ):
        with pytest.raises(UserError) as error:
            files.write(directory, **SMALL | bad)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot be written"):
        files.write(tmp_path / "mine.txt" / "world", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_files_have_the_published_columns(tmp_path, real_data):
    files.write(tmp_path / "w", **SMALL)
    published = real_data / "originals"
    for path in [*(tmp_path / "w").rglob("*.tsv"), *(tmp_path / "w").rglob("snli_1.0_*.txt")]:
        model = published / path.relative_to(tmp_path / "w")
        if "MRPC" in path.parts:
            if path.stem == "test":  # only the original, unsplit file is at hand
                continue
            model = real_data / "glue_data" / "MRPC" / path.name
        ours, theirs = (file.read_text(encoding="utf-8-sig").splitlines() for file in (path, model))
        is_headless = "SciTailV1.1" in path.parts or ("CoLA" in path.parts and path.stem != "test")
        assert is_headless or ours[0] == theirs[0], path
        assert {line.count("\t") for line in ours} == {theirs[0].count("\t")}, path
    for name in files.STORY_CLOZE.values():
        ours, theirs = (
            list(csv.reader((root / "StoryCloze" / name).open()))
            for root in (tmp_path / "w", published)
        )
        assert ours[0] == theirs[0] and {len(line) for line in ours} == {len(theirs[0])}
    race = json.loads((published / "RACE/dev/middle/34.txt").read_text())
    for path in (tmp_path / "w/RACE").rglob("*.txt"):
        ours = json.loads(path.read_text())
        assert ours.keys() == race.keys() and len(ours["options"][0]) == 4
        assert ours["id"] == path.parent.name + path.name
    for name in ("train.c.txt", "test.c.txt"):
        blocks = (
            (tmp_path / "w/definite_pronoun_resolution" / name).read_text().strip().split("\n\n")
        )
        for sentence, pronoun, candidates, answer in (block.splitlines() for block in blocks):
            assert f" {pronoun} " in sentence and answer in candidates.split(",")
            assert all(candidate in sentence for candidate in candidates.split(","))


def test_files_hold_the_rows(tmp_path):
    files.write(tmp_path / "w", **SMALL)
    made = rows(draw(3), "rte", {"train": 20, "dev": 8, "test": 8}, 3)
    lines = [line.split("\t") for line in (tmp_path / "w/RTE/dev.tsv").read_text().splitlines()[1:]]
    assert [(a, b) for _, a, b, _ in lines] == [row.texts for row in made["dev"]]
    assert [label for *_, label in lines] == [
        ("entailment", "not_entailment")[row.label] for row in made["dev"]
    ]
    truth = json.loads((tmp_path / "w/world.json").read_text())
    assert truth["world"]["things"] == draw(3).things and truth["told"]["things"] == sorted(
        draw(3).things
    )


# Of the writer's names -> of the page's; files that are published together are written together.
READ_AS = {"story_cloze": "story_cloze_2016", "dpr": "dprd", "mnli_mismatched": "mnli"}


@pytest.mark.parametrize("name", TASKS)
def test_the_real_readers_read_it(tmp_path_factory, name):
    """Every set goes through the reader of its published layout, and has the labels that the rows were made with."""
    folder = tmp_path_factory.getbasetemp() / "read"
    files.write(folder, **SMALL)
    task = REGISTERED[READ_AS.get(name, name)]
    counts = {"train": 20, "dev": 8, "test": 8}
    if name in (
        "story_cloze",
        "dpr",
        "mnli_mismatched",
    ):  # cut by the reader; without a dev split; without a train split
        counts = {
            split: count
            for split, count in counts.items()
            if split == "test" or (name == "dpr" and split == "train")
        }
    made = (
        rows(draw(3), name, {"train": 20, "dev": 8, "test": 8} if name != "dpr" else counts, 3)
        if name != "mnli_mismatched"
        else None
    )
    for split, count in counts.items():
        read = (
            "test_mismatched"
            if name == "mnli_mismatched"
            else {"dev": "validation"}.get(split, split)
        )
        found = load(task, read, source="files", path=str(folder)).examples
        assert len(found) == count
        if made is not None:
            expected = [None if read in task.hidden else row.label for row in made[split]]
            assert [example.label for example in found] == expected
            assert [example.segments[0] for example in found] == [
                " ".join(row.texts) if row.choices else row.texts[0] for row in made[split]
            ]
