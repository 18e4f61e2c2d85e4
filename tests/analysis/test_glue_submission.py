"""The zip that the GLUE server takes: names, header, rows, spelling of the labels."""

import json
import subprocess
import sys
import zipfile

import pytest

from gpt1_jax.analysis import glue_submission
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
# As the GLUE benchmark's pages give the sizes of its test sets.
ROWS = {
    "CoLA": 1063, "SST-2": 1821, "MRPC": 1725, "STS-B": 1379, "QQP": 390965, "MNLI-m": 9796, "MNLI-mm": 9847, "QNLI": 5463,
    "RTE": 3000, "WNLI": 146, "AX": 1104,
}  # fmt: skip


def run(folder, name: str, rows: dict[str, int] | None = None):
    """The folder of a finished run of a task, as finetuning leaves it, answering with every label in turn."""
    task = TASKS[name]
    (folder / "predictions").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"trainer": "finetune", "task": name}))
    splits = {split: task.sizes[split] for split in task.test} | {
        other: TASKS[other].sizes["test"] for other in task.diagnostics
    }
    for split, count in (rows or splits).items():
        answers = [
            f"{number % 51 / 10:.4f}" if task.bins else task.labels[number % len(task.labels)]
            for number in range(count)
        ]
        rows = [f"{number}\t{answer}\t" for number, answer in enumerate(answers)]
        lines = [
            "index\tprediction\tlabel",
            *rows[1::2],
            *rows[::2],
        ]  # in an order of the source's own, as TFDS's is
        (folder / "predictions" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [run(root / name, name) for name in GLUE]


def test_the_whole_zip(runs, tmp_path):
    output = tmp_path / "new" / "all.zip"
    assert set(glue_submission.write(output, runs)) == {f"{name}.tsv" for name in ROWS}
    with zipfile.ZipFile(output) as archive:
        tables = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert {name: len(lines) - 1 for name, lines in tables.items()} == {
        f"{name}.tsv": rows for name, rows in ROWS.items()
    }
    assert {lines[0] for lines in tables.values()} == {"index\tprediction"}
    for lines in tables.values():
        assert [line.split("\t")[0] for line in lines[1:4]] == ["0", "1", "2"]
    answers = {name: {line.split("\t")[1] for line in lines[1:]} for name, lines in tables.items()}
    assert all(
        answers[f"{name}.tsv"] == {"0", "1"} for name in ("CoLA", "SST-2", "MRPC", "QQP", "WNLI")
    )
    assert answers["QNLI.tsv"] == answers["RTE.tsv"] == {"entailment", "not_entailment"}
    assert (
        answers["MNLI-m.tsv"]
        == answers["MNLI-mm.tsv"]
        == answers["AX.tsv"]
        == {"entailment", "neutral", "contradiction"}
    )
    assert {"0.000", "3.100", "5.000"} < answers["STS-B.tsv"]
    assert tables["WNLI.tsv"][1:3] == ["0\t0", "1\t1"], "0 is not_entailment in WNLI"


def test_missing_tasks(runs, tmp_path):
    output = tmp_path / "some.zip"
    with pytest.raises(
        UserError,
        match=r"some\.zip: no run gives CoLA, .*; finetune those tasks too, or set --partial",
    ):
        glue_submission.write(output, runs[1:2])
    assert glue_submission.write(output, runs[1:2], partial=True) == ["SST-2.tsv"]
    with pytest.raises(UserError, match="no run is named"):
        glue_submission.write(output, [], partial=True)


def test_what_is_no_submission(runs, tmp_path):
    for name, folder, message in (
        (
            "short",
            run(tmp_path / "short", "rte", {"test": 3}),
            r"test\.tsv: 3 rows, but GLUE's test set of rte has 3000",
        ),
        (
            "bare",
            run(tmp_path / "bare", "mnli", {"test": 9796}),
            r"test_mismatched\.tsv: not there; finetune again where the data has mnli's",
        ),
        ("other", run(tmp_path / "other", "snli"), "its task snli is not one of GLUE's"),
        ("none", tmp_path / "none", "result.json: no such file; name the folder of a finished"),
    ):
        with pytest.raises(UserError, match=message):
            glue_submission.write(tmp_path / f"{name}.zip", [folder], partial=True)
        assert not (tmp_path / f"{name}.zip").exists()
    (tmp_path / "strange").mkdir()
    strange = run(tmp_path / "strange" / "wnli", "wnli")
    table = strange / "predictions/test.tsv"
    table.write_text(table.read_text().replace("\n7\t", "\n8\t"))
    with pytest.raises(UserError, match=r"test\.tsv: its indices are not 0 to 145, each once"):
        glue_submission.write(tmp_path / "strange.zip", [strange], partial=True)
    with pytest.raises(UserError, match=r"gives WNLI\.tsv, as .* does; name one run a task"):
        glue_submission.write(tmp_path / "twice.zip", [runs[-1], runs[-1]], partial=True)


def test_command_line(runs, tmp_path):
    command = [
        sys.executable,
        "-m",
        "gpt1_jax.main",
        "submit",
        f"--output={tmp_path}/one.zip",
        str(runs[0]),
    ]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (
        2,
        1,
    ) and "no run gives SST-2" in refused.stderr
    done = subprocess.run([*command, "--partial"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/one.zip: CoLA.tsv\n")
