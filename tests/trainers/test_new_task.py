"""Test that a task is one entry: training, probes, cost estimate and report need nothing else."""

import json

import pytest

from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.task import Probe, Task, WordCount
from gpt1_jax.registry import TASKS
from gpt1_jax.text import probes

LABELS = ("sea", "hill", "house")
ROWS = 48


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Register a task of three classes: does the middle word name a sea, a hill or a house?"""
    lines = [f"the {LABELS[row % 3]} day\t{LABELS[row % 3]}\n" for row in range(ROWS)]
    (tmp_path / "tasks/toys").mkdir(parents=True)
    for name in ("train", "dev"):
        (tmp_path / f"tasks/toys/{name}.tsv").write_text("first\tlabel\n" + "".join(lines))
    task = Task(
        name="toy",
        format="single",
        labels=LABELS,
        metrics=("accuracy",),
        files=(Tsv(folder="toys", segments=("first",)),),
        sizes={"train": ROWS, "validation": ROWS},
        typical_words=WordCount(3),
        probe=Probe(
            texts=probes.continuation,
            options={"append": "is a", "words": LABELS},
            ceiling=0.9,
            curve="geography",
            total=True,
        ),
    )
    list(TASKS)  # completes the registry before the entry is added
    monkeypatch.setitem(TASKS._entries, "toy", task)
    return tmp_path / "tasks"


@pytest.fixture
def settings(toy, pretrained):
    """Return the settings of an ablation with the toy task alone."""
    return {
        "pretrained.transformer": pretrained("transformer"),
        "pretrained.lstm": pretrained("lstm"),
        "tasks_path": toy,
        "world.words": 0,
        "experiments.table5.tasks": "('toy',)",
        "experiments.table5.variants": "('full','lstm')",
        "seeds": 1,
        "workers": 1,
        "finetune.batch_size": 4,
        "finetune.epochs": 12,
        "finetune.optim.lr": 0.01,
        "finetune.lm_coef": 0.0,
        "zero_shot.batch_size": 4,
    }


def test_new_task_is_trained_probed_and_reported(gpt1, settings, tmp_path):
    run = tmp_path / "run"
    gpt1.result("ablations.py:quick,table5,zero_shot", run, settings)
    trained = json.loads((run / "toy_full_0/result.json").read_text())
    assert trained["metrics"] == {"validation": {"accuracy": 1.0}}
    probed = json.loads((run / "zero_shot_lstm_0/result.json").read_text())["probes"]
    assert probed.keys() == {"toy"} and probed["toy"]["steps"].keys() == {"10", "20"}
    page = (run / "report.html").read_text()
    assert "toy" in page and "geography" in page


def test_new_task_is_probed_alone_up_to_its_ceiling(gpt1, toy, pretrained, tmp_path):
    values = {"init.path": pretrained(), "data.path": toy, "batch_size": 4}
    probed = gpt1.result("zero_shot.py", tmp_path / "run", values)["probes"]["toy"]
    assert (probed["ceiling"], probed["rows"]) == (0.9, ROWS)
    assert probed["chance"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_new_task_has_a_cost_estimate_without_its_data(gpt1, settings, tmp_path):
    def flops(path):
        values = settings | {"tasks_path": path, "estimate_cost": True}
        command = gpt1.command("ablations.py:quick,table5,zero_shot", tmp_path / "run", values)
        ended = gpt1.run(*command)
        assert ended.code == 0, ended.err
        lines = [line.split("|") for line in ended.out.splitlines() if line.count("|") > 3]
        return {line[1].strip(): line[3].strip() for line in lines}

    # The typical length of the entry is the length of the data. The other probes have no data.
    with_data, without_data = flops(settings["tasks_path"]), flops(tmp_path / "absent")
    assert float(with_data["toy_full"]) > 0 and "zero_shot_lstm" in with_data
    assert with_data == without_data
