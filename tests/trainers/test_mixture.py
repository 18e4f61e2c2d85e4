"""Pretraining on a mixture, through the front door."""

import json
import shutil

import numpy as np
import pytest


@pytest.fixture
def mixture(pretraining, books, tmp_path) -> dict:
    """Settings of a run on a mixture of three books and, twice as heavy, a shorter corpus of rows."""
    rows = [json.dumps({"text": "the queen saw the sea " * 30}) + "\n" for _ in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    path = f"1*text:{books},2*text:{tmp_path}/rows.jsonl"
    return pretraining() | {"data.corpus": "mixture", "data.path": path, "data.validation": 0.3}


def test_a_run_on_a_mixture_reports_every_part_and_resumes_to_the_bit(gpt1, mixture, tmp_path):
    result = gpt1.result("pretrain.py:tiny", tmp_path / "run", mixture)
    parts = json.loads((tmp_path / "run/data.json").read_text())["parts"]
    assert {name: round(part["weight"], 6) for name, part in parts.items()} == {
        "text1": 0.333333,
        "text2": 0.666667,
    }
    losses = [result["validation_loss_text1"], result["validation_loss_text2"]]
    assert (
        result["validation_loss"] == pytest.approx(np.dot(losses, [1 / 3, 2 / 3]))
        and losses[0] > losses[1]
    )
    assert result["validation_perplexity"] == pytest.approx(np.exp(result["validation_loss"]))
    held_out = [part["splits"]["validation"] for part in parts.values()]
    density = np.dot([count["characters"] / count["tokens"] for count in held_out], [1 / 3, 2 / 3])
    assert result["validation_bits_per_character"] == pytest.approx(
        result["validation_loss"] / np.log(2) / density
    )
    log = (tmp_path / "run/log.txt").read_text()
    assert "text2, train: 4 documents" in log and "text1, tokenised: " in log and " MB/s" in log

    # The same run from its middle: the rows after it must be the same.
    other = tmp_path / "other"
    gpt1.result("pretrain.py:tiny", other, mixture)
    for gone in (other / "result.json", *(other / "checkpoints").glob("20*")):
        gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    assert (
        gpt1.result("pretrain.py:tiny", other, mixture)["params_sha256"] == result["params_sha256"]
    )
