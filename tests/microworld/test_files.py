"""Test that the written bytes repeat, and that the files look like the published ones."""

import csv
import hashlib
import json
import os
import subprocess
import sys

import pytest

from gpt1_jax.datasets.sources import load
from gpt1_jax.errors import UserError
from gpt1_jax.microworld import files, task_files
from gpt1_jax.microworld.tasks import TASKS, make_rows
from gpt1_jax.microworld.world import draw
from gpt1_jax.registry import TASKS as REGISTERED

COUNTS = {"train": 20, "dev": 8, "test": 8}
SMALL = dict(seed=3, words=3000, train=20, dev=8)
DIGEST = "0c408c903185c24d7e2c9e677414208e0a9b6d23335e8949d0b649b38956c787"


def digest(folder):
    """Return the hash of the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def test_bytes_repeat_in_another_process(tmp_path):
    files.write(tmp_path / "here", **SMALL)
    command = [sys.executable, "-m", "gpt1_jax.main", "microworld"]
    command += [f"--directory={tmp_path / 'there'}"]
    command += [f"--{name}={value}" for name, value in SMALL.items()]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert digest(tmp_path / "here") == digest(tmp_path / "there")
    assert digest(tmp_path / "here") == DIGEST, (
        "the bytes have changed: if this is intended, increase files.VERSION and update DIGEST"
    )


def test_same_parameters_keep_the_folder_and_others_replace_it(tmp_path):
    target = tmp_path / "a" / "world"
    files.write(target, **SMALL)
    before, stamp = digest(target), (target / "manifest.json").stat().st_mtime_ns
    files.write(target, **SMALL)
    assert (target / "manifest.json").stat().st_mtime_ns == stamp
    files.write(target, **SMALL | {"seed": 4})
    assert digest(target) != before
    assert [path.name for path in target.parent.iterdir()] == ["world"]


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "my app"}')
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not a microworld; name a new or an empty folder"):
        files.write(tmp_path, **SMALL)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_failed_write_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(task_files, "_write_pronouns", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write(tmp_path / "world", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_invalid_arguments_are_one_line_errors(tmp_path):
    (tmp_path / "mine.txt").write_text("do not touch")
    for directory, invalid in (
        (tmp_path, {}),
        (tmp_path / "w", {"facts": 1.5}),
        (tmp_path / "w", {"words": 0}),
    ):
        with pytest.raises(UserError) as error:
            files.write(directory, **SMALL | invalid)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot write the microworld"):
        files.write(tmp_path / "mine.txt" / "world", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_columns_are_the_published_ones(tmp_path, real_data):
    files.write(tmp_path / "w", **SMALL)
    published = real_data / "originals"
    for path in [*(tmp_path / "w").rglob("*.tsv"), *(tmp_path / "w").rglob("snli_1.0_*.txt")]:
        model = published / path.relative_to(tmp_path / "w")
        if "MRPC" in path.parts:
            if path.stem == "test":  # only the original file without splits is available
                continue
            model = real_data / "glue_data" / "MRPC" / path.name
        lines, model_lines = (
            file.read_text(encoding="utf-8-sig").splitlines() for file in (path, model)
        )
        no_header = "SciTailV1.1" in path.parts or ("CoLA" in path.parts and path.stem != "test")
        # GLUE hides the labels of its test rows. The microworld writes them in a further column.
        labels = 1 if path.stem.startswith(("test", "ax")) else 0
        columns = model_lines[0].split("\t")
        assert no_header or lines[0].split("\t")[: len(columns)] == columns, path
        assert {line.count("\t") + 1 for line in lines} == {len(columns) + labels}, path
    for name in task_files.STORY_CLOZE.values():
        lines, model_lines = (
            list(csv.reader((root / "StoryCloze" / name).open()))
            for root in (tmp_path / "w", published)
        )
        assert lines[0] == model_lines[0] and {len(line) for line in lines} == {len(model_lines[0])}
    race = json.loads((published / "RACE/dev/middle/34.txt").read_text())
    for path in (tmp_path / "w/RACE").rglob("*.txt"):
        passage = json.loads(path.read_text())
        assert passage.keys() == race.keys() and len(passage["options"][0]) == 4
        assert passage["id"] == path.parent.name + path.name
    for name in ("train.c.txt", "test.c.txt"):
        text = (tmp_path / "w/definite_pronoun_resolution" / name).read_text()
        for block in text.strip().split("\n\n"):
            sentence, pronoun, candidates, answer = block.splitlines()
            assert f" {pronoun} " in sentence and answer in candidates.split(",")
            assert all(candidate in sentence for candidate in candidates.split(","))


def test_files_contain_the_rows(tmp_path):
    files.write(tmp_path / "w", **SMALL)
    dev = make_rows(draw(3), "rte", COUNTS, 3)["dev"]
    lines = [line.split("\t") for line in (tmp_path / "w/RTE/dev.tsv").read_text().splitlines()[1:]]
    assert [(a, b) for _, a, b, _ in lines] == [row.texts for row in dev]
    labels = ("entailment", "not_entailment")
    assert [label for *_, label in lines] == [labels[row.label] for row in dev]
    truth = json.loads((tmp_path / "w/world.json").read_text())
    assert truth["world"]["things"] == draw(3).things
    assert truth["told"]["things"] == sorted(draw(3).things)


# Microworld task -> (the task that reads its files, the splits to compare). MNLI's mismatched rows
# have only a test split of their own size. Story Cloze's reader cuts the train file. The pronouns
# have no dev split.
READ_AS = {
    "mnli_mismatched": ("mnli", {"test": "test_mismatched"}),
    "story_cloze": ("story_cloze_2016", {"test": "test"}),
    "dpr": ("dprd", {"train": "train", "test": "test"}),
}
SPLITS = {"train": "train", "dev": "validation", "test": "test"}


@pytest.mark.parametrize("name", TASKS)
def test_readers_return_the_rows(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "read"
    files.write(folder, **SMALL)
    task_name, splits = READ_AS.get(name, (name, SPLITS))
    task = REGISTERED[task_name]
    without = {"dpr": "dev", "mnli_mismatched": "train"}.get(name)
    rows = make_rows(draw(3), name, {k: v for k, v in COUNTS.items() if k != without}, 3)
    for split, read_split in splits.items():
        examples = load(task, read_split, source="files", path=str(folder)).examples
        assert [example.label for example in examples] == [row.label for row in rows[split]]
        assert [example.segments[0] for example in examples] == [
            " ".join(row.texts) if row.choices else row.texts[0] for row in rows[split]
        ]
