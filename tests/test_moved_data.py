"""Test that what a run reads may move between two starts, and that its content may not change."""

import json
import os
import shutil

import pytest

CONFIGS = {
    "pretrain": "pretrain.py:tiny",
    "finetune": "finetune.py:rte",
    "zero_shot": "zero_shot.py",
}
EVERY_TRAINER = pytest.mark.parametrize("trainer", CONFIGS)


@pytest.fixture
def started(gpt1, books, glue, probed, pretrained, pretraining, finetuning, probing, tmp_path):
    """Return a function: trainer -> (settings, result) of a finished run in tmp_path/run.

    It has read copies: tmp_path/data, and tmp_path/pretrained or tmp_path/cache.
    """

    def start(trainer):
        data, settings = {
            "pretrain": (books, pretraining),
            "finetune": (glue, finetuning),
            "zero_shot": (probed, probing),
        }[trainer]
        settings = settings() | {"data.path": shutil.copytree(data, tmp_path / "data")}
        if trainer == "pretrain":
            settings |= {"data.cache": tmp_path / "cache"}
        else:
            settings |= {"init.path": shutil.copytree(pretrained(), tmp_path / "pretrained")}
        if trainer == "zero_shot":
            settings |= {"tasks": "('cola',)", "batch_size": 4}
        return settings, gpt1.result(CONFIGS[trainer], tmp_path / "run", settings)

    return start


def moved(settings, tmp_path) -> dict:
    """Rename, link and replace the places in the settings; return the new settings."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    changes = {"data.path": f"{tmp_path}/moved/"}
    if "init.path" in settings:
        changes["init.path"] = f"{tmp_path}/link/pretrained"
    else:
        changes["data.cache"] = f"{tmp_path}/another_cache"
    return settings | changes


@EVERY_TRAINER
@pytest.mark.parametrize("finished", [True, False])
def test_moved_data_is_the_same_data(finished, trainer, started, gpt1, tmp_path):
    settings, expected = started(trainer)
    if not finished:
        (tmp_path / "run/result.json").unlink()
    (tmp_path / "run").rename(tmp_path / "moved_run")
    result = gpt1.result(CONFIGS[trainer], tmp_path / "moved_run", moved(settings, tmp_path))
    for each in (result, expected):
        each.pop("seconds")
        each.get("init", {}).pop("path", None)
    assert result == expected


CHANGES = {
    ("pretrain", "text, tokenizer"): lambda data: (data / "book_0.txt").write_text(
        "the king " * 99
    ),
    ("finetune", "train"): lambda data: swap_rows(data / "RTE/train.tsv"),
    ("zero_shot", "cola/validation"): lambda data: swap_rows(data / "CoLA/dev.tsv"),
}


def swap_rows(file) -> None:
    """Exchange the last two rows; their labels differ."""
    *lines, one, other = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines, other, one]))


@pytest.mark.parametrize(("trainer", "names"), CHANGES)
@pytest.mark.parametrize("finished", [True, False])
def test_other_data_in_another_place_is_refused(finished, trainer, names, started, gpt1, tmp_path):
    settings, _ = started(trainer)
    if not finished:
        (tmp_path / "run/result.json").unlink()
    records = [tmp_path / "run" / name for name in ("config.json", "data.json")]
    before = [record.read_bytes() for record in records]
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    CHANGES[trainer, names](tmp_path / "other")
    command = gpt1.command(
        CONFIGS[trainer], tmp_path / "run", settings | {"data.path": tmp_path / "other"}
    )
    for _ in range(2):
        completed = gpt1.run(*command)
        assert completed.code == 2
        assert f"run/data.json: {names} changed since this run began" in completed.err
    assert [record.read_bytes() for record in records] == before


@pytest.mark.parametrize("finished", [True, False])
def test_weights_of_a_mixture_are_no_place(finished, gpt1, pretraining, books, tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"text": "the queen saw the sea " * 200}) + "\n"
    )
    (tmp_path / "link").symlink_to(tmp_path)
    settings = pretraining() | {"data.corpus": "mixture", "data.validation": 0.0}

    def command(first, second, folder):
        path = f"{first}*text:{books},{second}*text:{tmp_path}/{folder}rows.jsonl"
        return gpt1.command("pretrain.py:tiny", tmp_path / "run", settings | {"data.path": path})

    assert gpt1.run(*command(1, 2, "")).code == 0
    if not finished:
        os.remove(tmp_path / "run/result.json")
    assert gpt1.run(*command(2, 4, "link/")).code == 0  # the same shares
    if not finished:
        os.remove(tmp_path / "run/result.json")
    completed = gpt1.run(*command(2, 1, ""))
    assert completed.code == 2 and "data.json: mixture changed since" in completed.err
