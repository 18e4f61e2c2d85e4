"""Pretrain on a mixture through the command line."""

import json
import shutil

import numpy as np
import pytest


@pytest.fixture
def mixture(pretraining, books, tmp_path) -> dict:
    """Return the settings of a run on books and, with twice the weight, on a few rows."""
    rows = [json.dumps({"text": "the queen saw the sea " * 30}) + "\n" for _ in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    path = f"1*text:{books},2*text:{tmp_path}/rows.jsonl"
    return pretraining() | {"data.corpus": "mixture", "data.path": path, "data.validation": 0.3}


def test_mixture_reports_every_part(gpt1, mixture, tmp_path):
    result = gpt1.result("pretrain.py:tiny", tmp_path / "run", mixture)
    parts = json.loads((tmp_path / "run/data.json").read_text())["parts"]
    weights = {name: round(part["weight"], 6) for name, part in parts.items()}
    assert weights == {"text1": 0.333333, "text2": 0.666667}
    losses = [result["validation_loss_text1"], result["validation_loss_text2"]]
    assert result["validation_loss"] == pytest.approx(np.dot(losses, [1 / 3, 2 / 3]))
    assert losses[0] > losses[1]
    assert result["validation_perplexity"] == pytest.approx(np.exp(result["validation_loss"]))
    counts = [part["splits"]["validation"] for part in parts.values()]
    ratios = [count["characters"] / count["tokens"] for count in counts]
    characters_per_token = np.dot(ratios, [1 / 3, 2 / 3])
    assert result["validation_bits_per_character"] == pytest.approx(
        result["validation_loss"] / np.log(2) / characters_per_token
    )
    log = (tmp_path / "run/log.txt").read_text()
    assert "text2, train: 4 documents" in log
    assert "text1, tokenized: " in log and " MB/s" in log


def test_resume_on_a_mixture_is_bit_exact(gpt1, mixture, tmp_path):
    result = gpt1.result("pretrain.py:tiny", tmp_path, mixture)
    (tmp_path / "result.json").unlink()
    shutil.rmtree(tmp_path / "checkpoints/20")
    assert (tmp_path / "checkpoints/10").is_dir()
    resumed = gpt1.result("pretrain.py:tiny", tmp_path, mixture)
    assert resumed["params_sha256"] == result["params_sha256"]
