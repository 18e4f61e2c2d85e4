"""Provide one world, its novels and its rows to the tests of the microworld."""

import pytest

from gpt1_jax.microworld.novels import generate_novels
from gpt1_jax.microworld.tasks import TASKS, make_rows
from gpt1_jax.microworld.world import draw


@pytest.fixture(scope="session")
def world():
    return draw(0)


@pytest.fixture(scope="session")
def book(world):
    return " ".join(generate_novels(world, 300_000))


@pytest.fixture(scope="session")
def labeled(world):
    counts = {"train": 120, "dev": 120, "test": 120}
    return {name: make_rows(world, name, counts) for name in TASKS}
