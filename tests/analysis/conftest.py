"""Provide the report of a finished ablation, which the tests of the report read."""

import pathlib

import finished_runs
import pytest
from html_page import HTMLPage

from gpt1_jax.analysis.report import page as report_page


@pytest.fixture(scope="session")
def workdir(tmp_path_factory) -> pathlib.Path:
    """Return the folder of an ablation with its report."""
    folder = finished_runs.write_ablations(tmp_path_factory.mktemp("runs") / "exp_ablations")
    assert report_page.write(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="session")
def page(workdir) -> HTMLPage:
    """Return the page of the report."""
    return HTMLPage((workdir / "report.html").read_text())
