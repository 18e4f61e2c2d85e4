"""The updates of Figure 2 (right), scaled to any run."""

import itertools

import pytest

from gpt1_jax.analysis.report import milestones


def test_the_papers_run_has_the_papers_updates():
    assert milestones.grid(960_000) == milestones.PAPER


def test_a_short_run_has_the_same_fractions_of_it():
    assert milestones.grid(4_500) == (5, 9, 19, 38, 45, 90, 180, 360, 720, 1_440, 2_880, 4_500)


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 101, 4_499, 1_000_003])
def test_updates_are_distinct_and_end_with_the_run(steps):
    updates = milestones.grid(steps)
    assert all(0 < earlier < later for earlier, later in itertools.pairwise((0.5, *updates)))
    assert updates[-1] == steps and all(isinstance(update, int) for update in updates)
