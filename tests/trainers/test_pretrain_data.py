"""Test what a pretraining run reports about its corpus and its cache."""

import json
import shutil

import pytest


@pytest.fixture
def settings(pretraining, books, tmp_path) -> dict:
    """Return the settings of a run of two steps on copies of the books, with an own cache."""
    shutil.copytree(books, tmp_path / "books")
    changes = {"data.path": tmp_path / "books", "data.cache": tmp_path / "cache", "steps": 2}
    return pretraining() | changes


def test_log_and_record_name_what_is_left_out(gpt1, settings, tmp_path):
    (tmp_path / "books/more.txt.gz").touch()
    (tmp_path / "books/.cache").mkdir()
    (tmp_path / "books/rows.jsonl").write_text('{"text": null}\n{"text": "the old king"}\n')
    (tmp_path / "books/letters.txt").write_text("king" * 500)
    for name in ("first", "second"):  # the second run reads the cache
        gpt1.result("pretrain.py:tiny", tmp_path / name, settings)
        log = (tmp_path / name / "log.txt").read_text()
        assert "left out: 1 .gz, 1 documents without text, 1 hidden\n" in log
        assert "words of more than 1000 characters were cut 1 times\n" in log
        record = json.loads((tmp_path / name / "data.json").read_text())
        assert (record["left_out"], record["blank_documents"]) == ({".gz": 1, "hidden": 1}, 1)


@pytest.mark.parametrize("damage", ["missing", "other", "cut"])
@pytest.mark.parametrize("suffix", [".json", ".about.json"])
def test_damaged_tokenizer_of_the_cache_is_learned_again(gpt1, settings, tmp_path, suffix, damage):
    gpt1.result("pretrain.py:tiny", tmp_path / "first", settings)
    about = next((tmp_path / "cache/tokenizers").glob("*.about.json"))
    tokenizer = about.with_name(about.name.replace(".about", ""))
    file = tokenizer if suffix == ".json" else about
    content = file.read_text()
    if damage == "missing":
        file.unlink()
    else:
        changed = content.replace('"th</w>"', '"ht</w>"').replace('": "', '": "0')
        file.write_text(content[:-10] if damage == "cut" else changed)
    gpt1.result("pretrain.py:tiny", tmp_path / "second", settings)
    assert file.read_text() == content
    expected = (tmp_path / "first/tokenizer.json").read_text()
    assert (tmp_path / "second/tokenizer.json").read_text() == expected
    log = (tmp_path / "second/log.txt").read_text()
    if (suffix, damage) != (".json", "missing"):
        assert f"{tokenizer}: " in log and "; the tokenizer is learned again\n" in log
