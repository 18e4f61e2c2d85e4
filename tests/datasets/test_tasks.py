"""Test the tasks: complete, consistent with the other packages, and in the hub's label order."""

import pytest

from gpt1_jax.analysis.stats.metrics import METRICS
from gpt1_jax.datasets.tasks import probed_tasks
from gpt1_jax.registry import TASKS
from gpt1_jax.text.formats import FORMATS

GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli", "ax")
CHOICES = ("race", "race_middle", "race_high", "story_cloze_2016", "story_cloze_2018")
PAPER = (*GLUE, *CHOICES, "snli", "scitail", "dprd")


def test_tasks_are_those_of_the_paper():
    assert set(PAPER) == set(TASKS)


@pytest.mark.parametrize("name", PAPER)
def test_entry_is_consistent(name):
    task = TASKS[name]
    assert task.name == name
    assert task.format in FORMATS or (task.format == "substitution" and not task.validation)
    assert bool(task.labels) != bool(task.bins), "a task has either classes or a graded score"
    assert set(task.metrics) <= set(METRICS)
    assert len(set(task.labels)) == len(task.labels)
    assert len(set(task.splits)) == len(task.splits)
    assert set(task.sizes) == set(task.splits), "every split has its published size"
    assert set(task.submission) <= set(task.hidden) <= set(task.test)
    for layout in task.files:
        assert set(layout.splits) == set(task.splits)
    for place in (*task.files, task.hub, task.tfds):
        if place is not None:
            assert len(place.label_names) in (0, len(task.labels))
            assert set(place.splits) <= set(task.splits)


@pytest.mark.parametrize("name", PAPER)
def test_typical_words_include_answers_only_for_choices(name):
    words = TASKS[name].typical_words
    assert words.context > 0
    assert (words.answer > 0) == (TASKS[name].format == "choice")


def test_probed_tasks_are_in_the_papers_order():
    stories = ("story_cloze_2016", "story_cloze_2018")
    assert tuple(probed_tasks()) == ("cola", "sst2", "race", "dprd", *stories)


@pytest.mark.parametrize("name", probed_tasks())
def test_probe_is_consistent(name):
    task = TASKS[name]
    assert task.chance < task.probe.ceiling <= 1
    assert set(task.probe_splits) <= set(task.splits) - set(task.hidden)
    segments = ("it is so", "it", *"abcd")[: task.texts]
    pairs = task.probe.texts(segments, **task.probe.options)
    assert len(pairs) == (1 if task.probe.threshold else len(task.labels))


@pytest.mark.parametrize("name", GLUE)
def test_glue_server_takes_every_test_split(name):
    assert set(TASKS[name].submission) == set(TASKS[name].test)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cola", ("unacceptable", "acceptable")),
        ("sst2", ("negative", "positive")),
        ("mrpc", ("not_equivalent", "equivalent")),
        ("qqp", ("not_duplicate", "duplicate")),
        ("mnli", ("entailment", "neutral", "contradiction")),
        ("ax", ("entailment", "neutral", "contradiction")),
        ("snli", ("entailment", "neutral", "contradiction")),
        ("qnli", ("entailment", "not_entailment")),
        ("rte", ("entailment", "not_entailment")),
        ("wnli", ("not_entailment", "entailment")),
        ("scitail", ("entails", "neutral")),
        ("race", ("A", "B", "C", "D")),
    ],
)
def test_class_ids_equal_those_of_the_hub(name, labels):
    assert TASKS[name].labels == labels
    assert TASKS[name].outputs == len(labels)


def test_stsb_has_six_bins():
    stsb = TASKS["stsb"]
    assert (stsb.labels, stsb.outputs, stsb.format) == ((), 6, "similarity")


def test_formats_are_those_of_the_paper():
    # Figure 1: similarity has both orders of the texts; questions and stories are choices.
    names = {
        form: {name for name in TASKS if TASKS[name].format == form}
        for form in ("single", "similarity", "choice")
    }
    assert names == {
        "single": {"cola", "sst2"},
        "similarity": {"mrpc", "stsb", "qqp"},
        "choice": set(CHOICES),
    }
    assert [TASKS[name].texts for name in ("race", "story_cloze_2016", "dprd", "snli")] == [
        6,
        3,
        4,
        2,
    ]


def test_paper_metric_comes_first():
    first = {name: TASKS[name].metrics[0] for name in PAPER}
    assert first.pop("cola") == first.pop("ax") == "matthews"
    assert (first.pop("mrpc"), first.pop("qqp")) == ("f1", "f1")
    assert first.pop("stsb") == "pearson"
    assert set(first.values()) == {"accuracy"}


def test_mnli_has_two_evaluation_splits_and_predicts_the_diagnostic():
    mnli, ax = TASKS["mnli"], TASKS["ax"]
    assert mnli.splits == (
        "train",
        "validation",
        "validation_mismatched",
        "test",
        "test_mismatched",
    )
    assert mnli.diagnostics == ("ax",)
    assert (ax.splits, ax.labels) == (("test",), mnli.labels)
