"""Check the zip file for the GLUE server: names, headers, rows and the spelling of labels."""

import json
import subprocess
import sys
import zipfile

import pytest

from gpt1_jax.analysis import glue_submission
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
# The sizes of the test sets are those of the GLUE benchmark's web pages.
ROWS = {
    "CoLA": 1063,
    "SST-2": 1821,
    "MRPC": 1725,
    "STS-B": 1379,
    "QQP": 390965,
    "MNLI-m": 9796,
    "MNLI-mm": 9847,
    "QNLI": 5463,
    "RTE": 3000,
    "WNLI": 146,
    "AX": 1104,
}


def write_run(folder, name: str, sizes: dict[str, int] | None = None):
    """Write the folder of a finished finetuning run that predicts every label in turn."""
    task = TASKS[name]
    (folder / "predictions").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"trainer": "finetune", "task": name}))
    if sizes is None:
        sizes = {split: task.sizes[split] for split in task.test}
        sizes |= {other: TASKS[other].sizes["test"] for other in task.diagnostics}
    for split, count in sizes.items():
        rows = []
        for index in range(count):
            label = f"{index % 51 / 10:.4f}" if task.bins else task.labels[index % len(task.labels)]
            rows.append(f"{index}\t{label}\t")
        # Data sources such as TFDS have another order than the published test set.
        lines = ["index\tprediction\tlabel", *rows[1::2], *rows[::2]]
        (folder / "predictions" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [write_run(root / name, name) for name in GLUE]


def test_zip_has_all_files_rows_and_labels(runs, tmp_path):
    output = tmp_path / "new" / "all.zip"
    assert set(glue_submission.write(output, runs)) == {f"{name}.tsv" for name in ROWS}
    with zipfile.ZipFile(output) as archive:
        files = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert {name: len(lines) - 1 for name, lines in files.items()} == {
        f"{name}.tsv": rows for name, rows in ROWS.items()
    }
    assert {lines[0] for lines in files.values()} == {"index\tprediction"}
    for lines in files.values():
        assert [line.split("\t")[0] for line in lines[1:4]] == ["0", "1", "2"]
    labels = {
        name.removesuffix(".tsv"): {line.split("\t")[1] for line in lines[1:]}
        for name, lines in files.items()
    }
    for name in ("CoLA", "SST-2", "MRPC", "QQP", "WNLI"):
        assert labels[name] == {"0", "1"}
    for name in ("QNLI", "RTE"):
        assert labels[name] == {"entailment", "not_entailment"}
    for name in ("MNLI-m", "MNLI-mm", "AX"):
        assert labels[name] == {"entailment", "neutral", "contradiction"}
    assert {"0.000", "3.100", "5.000"} < labels["STS-B"]
    assert files["WNLI.tsv"][1:3] == ["0\t0", "1\t1"], "0 is not_entailment in WNLI"


def test_missing_tasks_need_partial(runs, tmp_path):
    output = tmp_path / "some.zip"
    message = r"some\.zip: no run gives CoLA, .*; finetune on those tasks too, or set --partial"
    with pytest.raises(UserError, match=message):
        glue_submission.write(output, runs[1:2])
    assert glue_submission.write(output, runs[1:2], partial=True) == ["SST-2.tsv"]
    with pytest.raises(UserError, match="no run is named"):
        glue_submission.write(output, [], partial=True)


@pytest.mark.parametrize(
    ("task", "sizes", "message"),
    [
        ("rte", {"test": 3}, r"test\.tsv: 3 rows, but GLUE's test set of rte has 3000"),
        (
            "mnli",
            {"test": 9796},
            r"test_mismatched\.tsv: no such file; .* has the split test_mismatched of mnli",
        ),
        ("snli", None, "its task snli is not a GLUE task"),
        ("", None, "result.json: no such file; name the folder of a finished"),
    ],
    ids=["too few rows", "missing split", "other task", "no run"],
)
def test_unsuitable_run_is_refused(task, sizes, message, tmp_path):
    folder = tmp_path / "run"
    if task:
        write_run(folder, task, sizes)
    with pytest.raises(UserError, match=message):
        glue_submission.write(tmp_path / "output.zip", [folder], partial=True)
    assert not (tmp_path / "output.zip").exists()


def test_indices_must_be_the_published_ones(tmp_path):
    run = write_run(tmp_path / "wnli", "wnli")
    table = run / "predictions/test.tsv"
    table.write_text(table.read_text().replace("\n7\t", "\n8\t"))
    with pytest.raises(UserError, match=r"test\.tsv: the indices are not 0 to 145, each once"):
        glue_submission.write(tmp_path / "output.zip", [run], partial=True)


def test_two_runs_of_one_task_are_refused(runs, tmp_path):
    message = r"gives WNLI\.tsv, but .* gives it, too; name one run for each task"
    with pytest.raises(UserError, match=message):
        glue_submission.write(tmp_path / "twice.zip", [runs[-1], runs[-1]], partial=True)


def test_command_writes_the_zip_file(runs, tmp_path):
    output = tmp_path / "one.zip"
    command = [sys.executable, "-m", "gpt1_jax.main", "submit", f"--output={output}", str(runs[0])]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no run gives SST-2" in refused.stderr
    accepted = subprocess.run([*command, "--partial"], capture_output=True, text=True)
    assert (accepted.returncode, accepted.stdout) == (0, f"{output}: CoLA.tsv\n")
