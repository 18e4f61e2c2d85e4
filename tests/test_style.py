"""The sources are formatted and free of lint, as `ruff format` and `ruff check` say."""

import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command", [["check"], ["format", "--check", "--diff"]], ids=["check", "format"]
)
def test_ruff_finds_nothing(command):
    folders = ["gpt1_jax", "configs", "tests"]
    ended = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *folders],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
