"""Test the program that measures on an accelerator: at a tiny size, on the CPU."""

import importlib.util
import json
import subprocess
import sys

import pytest
from cli_fixtures import REPOSITORY

PROGRAM = REPOSITORY / "tests" / "benchmarks" / "accelerator.py"


@pytest.fixture(scope="module")
def program():
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("accelerator", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_tiny_run_prints_every_measurement_and_then_all(tmp_path):
    flags = ["--size=tiny", "--parts=training,generation", f"--output={tmp_path}/all.json"]
    ended = subprocess.run(
        [sys.executable, PROGRAM, *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *rows, everything = map(json.loads, ended.stdout.splitlines())
    assert not [row for row in rows if "error" in row]
    assert [row["name"] for row in rows] == [
        "transformer bfloat16 fused",
        "lstm bfloat16",
        "batch 1",
        "batch 2",
    ]
    assert all(row["tokens_per_s"] > 0 for row in rows)
    assert [row for row in everything["rows"] if "name" in row] == rows
    assert json.loads((tmp_path / "all.json").read_text()) == everything


def test_goals_compare_the_best_measurements(program):
    rows = [
        {"part": "training", "name": "transformer bfloat16 fused", "tokens_per_s": 300, "mfu": 0.5},
        {"part": "training", "name": "transformer bfloat16 plain", "tokens_per_s": 200, "mfu": 0.3},
        {"part": "training", "name": "transformer float32 fused", "error": "RuntimeError: x"},
        {"part": "transformers", "name": "training eager", "tokens_per_s": 150},
        {"part": "transformers", "name": "training eager torch.compile", "tokens_per_s": 240},
        {"part": "transformers", "name": "generation batch 1", "tokens_per_s": 10},
        {"part": "transformers", "error": "stopped after 110 s"},
        {"part": "generation", "name": "batch 1", "tokens_per_s": 60},
        {"part": "generation", "name": "batch 64", "tokens_per_s": 900},
    ]
    assert program.goals(rows) == {
        "mfu": {"value": 0.5, "goal": 0.4, "reached": True},
        "training": {"value": 1.25, "goal": 1.5, "reached": False},
        "generation batch 1": {"value": 6.0, "goal": 5.0, "reached": True},
        "generation batch 64": {"value": None, "goal": 5.0, "reached": None},
    }
