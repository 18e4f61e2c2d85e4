"""Test what the report says about differences: one verdict, and the runs that learned nothing."""

import pathlib
import re

import finished_runs

from gpt1_jax import storage
from gpt1_jax.analysis.report import differences, paper, results
from gpt1_jax.analysis.report.scores import Scores


def markdown_rows(path: pathlib.Path) -> list[list[str]]:
    """Return the cells of a Markdown table, small print included; the header is the first row."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def test_star_interval_and_p_are_one_verdict(workdir):
    stars = []
    for path in (workdir / "tables").glob("*_differences.md"):
        for cell in (cell for row in markdown_rows(path)[1:] for cell in row[1:] if cell != "–"):
            star, low, high, relation, p = re.match(
                r"[+−]?[\d.]+(\*?) \[(.*), (.*)\], p ([=<]) ([\d.]+), δ ([\d.]+|over \d+)", cell
            ).groups()[:5]
            low, high = (float(bound.replace("−", "-")) for bound in (low, high))
            stars.append(bool(star))
            assert stars[-1] == (relation == "<" or float(p) < 0.05), cell
            assert stars[-1] == (not low <= 0 <= high), cell
    assert set(stars) == {True, False}


def test_cells_count_the_runs_that_learned_nothing(workdir, page):
    status = {row[0]: row[1] for row in page.tables["Finetuning runs"][1:]}
    rows = {row[0]: row for row in markdown_rows(workdir / "tables/table5.md")}
    compared = {row[0]: row for row in markdown_rows(workdir / "tables/table5_differences.md")}
    column, counts = rows["method"].index("CoLA mc"), {}
    for variant in finished_runs.SKILL:
        name = paper.variant_of(variant).name
        counts[variant] = sum(", " in status[f"cola_{variant}_{seed}"] for seed in (0, 1))
        assert (f"{counts[variant]}/2 failed" in rows[name][column]) == (counts[variant] > 0)
    assert counts["no_pretraining"] > 0 == counts["full"]
    assert f"{counts['no_pretraining']}/4 failed" in compared["w/o pre-training"][column]


def test_table_says_where_the_variation_between_seeds_is_unknown(workdir):
    for name in ("data_size", "table5"):  # one seed everywhere, and in some cells
        text = (workdir / f"tables/{name}_differences.md").read_text()
        assert "With one seed, the standard deviation between seeds is unknown." in text


def test_average_over_one_column_is_the_difference_in_it(tmp_path):
    """Give one variant no second task: the only shared column must not be tested twice."""
    cells = {("full", "rte"): 0.9, ("full", "wnli"): 0.9, ("lstm", "rte"): 0.7}
    cells |= {("lstm", "wnli"): 0.6, ("no_aux_lm", "rte"): 0.75}
    points = []
    for (variant, task), skill in cells.items():
        for seed in (0, 1):
            cell = f"{task}_{variant}_{seed}"
            finished_runs.write_finetuning_run(tmp_path / cell, task, seed, skill)
            points.append(finished_runs.point(variant, task, None, seed, cell))
    experiments = {"new": {"setting": "", "points": points}}
    storage.write_json(tmp_path / "cells.json", {"experiments": experiments})
    (experiment,) = results.read(tmp_path).experiments
    found = differences.compare(Scores(experiment))
    assert [column.task for column in found.shared] == ["rte"] and len(found.single) == 3
    for pair, average in found.average.items():
        assert average == found.single[*pair, found.shared[0]]
