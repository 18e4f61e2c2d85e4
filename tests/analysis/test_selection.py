"""Test the table of a selection: development scores choose, test scores are reported."""

import statistics

import finished_runs
import pytest

from gpt1_jax import storage
from gpt1_jax.analysis.report import results, selection
from gpt1_jax.analysis.report.scores import Condition, Scores


@pytest.fixture
def experiment(tmp_path):
    """Return an experiment in which the learning rate 0.002 is the best one."""
    points = []
    for task in ("snli", "rte"):  # the labels of the test split of RTE are hidden
        for rate, skill in ((0.001, 0.4), (0.002, 0.8)):
            for seed in range(3):
                cell = f"{task}_{rate}_{seed}"
                finished_runs.write_finetuning_run(tmp_path / cell, task, seed, skill)
                points.append(finished_runs.point("full", task, rate, seed, cell))
    experiments = {"selection": {"setting": "optim.lr", "points": points}}
    storage.write_json(tmp_path / "cells.json", {"experiments": experiments})
    return results.read(tmp_path).experiments[0]


def test_development_scores_choose_and_test_scores_are_reported(experiment):
    table = selection.table("selection", "Title", experiment)
    assert table.columns[0] == "chosen\nlearning rate"
    rows = {row.name: [cell.number for cell in row.cells] for row in table.rows}
    assert rows.keys() == {"SNLI", "RTE"} and rows["RTE"][4:] == [None] * 3
    chosen = Condition("full", 0.002)
    for task, columns in (("RTE", 4), ("SNLI", 7)):
        assert rows[task][0] == 0.002 and all(map(bool, rows[task][:columns]))
    development, test = Scores(experiment), Scores(experiment, {"snli": ("test",)})
    (column,) = (column for column in development.columns if column.task == "snli")
    dev = development.seed_scores(column, chosen)
    (column,) = (column for column in test.columns if column.task == "snli")
    scores = test.seed_scores(column, chosen)
    best = max(dev, key=dev.get)
    expected = [
        statistics.mean(dev.values()),
        statistics.median(dev.values()),
        dev[best],
        statistics.mean(scores.values()),
        statistics.median(scores.values()),
        scores[best],
    ]
    assert rows["SNLI"][1:] == pytest.approx([100 * score for score in expected])


def test_experiment_without_scores_has_no_table(experiment):
    assert selection.table("selection", "Title", experiment._replace(points=())) is None
