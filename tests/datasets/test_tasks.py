"""The tasks' page: complete, consistent with the other rooms, and in the hub's label order."""

import pytest

from gpt1_jax.analysis.metrics import METRICS
from gpt1_jax.registry import TASKS

GLUE = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")


def test_page_holds_glue():
    assert set(GLUE) <= set(TASKS)


@pytest.mark.parametrize("name", GLUE)
def test_entry_is_consistent(name):
    task = TASKS[name]
    assert task.name == name
    assert bool(task.labels) != bool(task.bins), "a task has either classes or a graded score"
    assert set(task.metrics) <= set(METRICS)
    assert len(set(task.labels)) == len(task.labels)
    assert len(set(task.splits)) == len(task.splits)
    for layout in task.files:
        assert set(layout.splits) == set(task.splits)
        assert len(layout.written) in (0, len(task.labels))
        assert len(layout.segments) == (1 if task.format == "single" else 2)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cola", ("unacceptable", "acceptable")),
        ("sst2", ("negative", "positive")),
        ("mrpc", ("not_equivalent", "equivalent")),
        ("qqp", ("not_duplicate", "duplicate")),
        ("mnli", ("entailment", "neutral", "contradiction")),
        ("qnli", ("entailment", "not_entailment")),
        ("rte", ("entailment", "not_entailment")),
        ("wnli", ("not_entailment", "entailment")),
    ],
)
def test_class_ids_are_the_hubs(name, labels):
    assert TASKS[name].labels == labels
    assert (TASKS[name].outputs, TASKS[name].loss) == (len(labels), "classes")


def test_stsb_is_six_bins():
    stsb = TASKS["stsb"]
    assert (stsb.labels, stsb.outputs, stsb.loss, stsb.format) == ((), 6, "soft_bins", "similarity")


def test_paper_metric_comes_first():
    first = {name: TASKS[name].metrics[0] for name in GLUE}
    assert first["cola"] == "matthews"
    assert (first["mrpc"], first["qqp"]) == ("f1", "f1")
    assert first["stsb"] == "pearson"
    assert {first[name] for name in ("sst2", "mnli", "qnli", "rte", "wnli")} == {"accuracy"}


def test_mnli_has_two_of_each():
    mnli = TASKS["mnli"]
    assert mnli.splits == ("train", "validation", "validation_mismatched", "test", "test_mismatched")
