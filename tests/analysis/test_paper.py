"""Test the paper's numbers, and the steps of Figure 2 (right) scaled to any run."""

import itertools

import pytest

from gpt1_jax.analysis.report import paper


def test_zero_shot_steps_of_a_full_run_equal_those_of_figure_2():
    assert paper.zero_shot_steps(960_000) == paper.ZERO_SHOT_STEPS


def test_zero_shot_steps_scale_with_the_run():
    expected = (5, 9, 19, 38, 45, 90, 180, 360, 720, 1_440, 2_880, 4_500)
    assert paper.zero_shot_steps(4_500) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 101, 4_499, 1_000_003])
def test_zero_shot_steps_are_distinct_and_end_with_the_run(steps):
    found = paper.zero_shot_steps(steps)
    assert all(0 < earlier < later for earlier, later in itertools.pairwise((0.5, *found)))
    assert found[-1] == steps and all(isinstance(step, int) for step in found)
