"""Test the record of what made a run."""

import subprocess
import sys

import pytest

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.inputs import check_fields
from gpt1_jax.runs import environment
from gpt1_jax.runs.lifecycle import REPEAT


def test_every_start_is_recorded(tmp_path):
    path = tmp_path / environment.FILE
    with environment.record_start(path, REPEAT):
        (first,) = storage.read_json(path)["starts"]
        assert first["end"] is None  # as a killed start leaves it
    with pytest.raises(KeyError), environment.record_start(path, REPEAT):
        raise KeyError
    content = storage.read_json(path)
    first, second = content["starts"]
    assert first["begin"] <= first["end"] <= second["begin"] <= second["end"]
    assert second["command"] == sys.argv and second["devices"]["count"] == 2
    assert {"python", "jax", "jaxlib", "numpy"} <= second["versions"].keys()
    check_fields(content, environment.FIELDS, "environment.json")
    assert environment.makers(path) == [f"{environment.summary()}, on 2 x cpu"]
    second["versions"]["jax"] = "0.0"
    storage.write_json(path, content)
    assert len(environment.makers(path)) == 2


def test_damaged_record_is_refused(tmp_path):
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(UserError, match="environment.json.*remove it"):
        with environment.record_start(tmp_path / "environment.json", REPEAT):
            pass


def test_commit_is_that_of_the_code():
    if not (environment.REPOSITORY / ".git").exists():
        assert environment.commit() == ""
        return
    head = subprocess.check_output(
        ["git", "-C", environment.REPOSITORY, "rev-parse", "HEAD"], text=True
    ).strip()
    assert environment.commit().partition("+")[0] == head
    assert f"commit {head[:10]}" in environment.summary()
