"""Test reports of runs whose files are damaged or hostile."""

import csv
import json
import pathlib

import finished_runs
import pytest
from html_page import HTMLPage

from gpt1_jax.analysis.report import page as report_page
from gpt1_jax.analysis.report import plots, results
from gpt1_jax.errors import UserError

WHOLE = ("rte_full_0", "rte_lstm_0")  # the runs that stay whole


def write_study(root: pathlib.Path, damaged: int = 0) -> pathlib.Path:
    """Write an ablation of whole runs, and of runs of every kind that the test damages."""
    names = [*WHOLE, *(f"damaged_{number}" for number in range(damaged))]
    points = []
    for seed, name in enumerate(names):
        finished_runs.write_finetuning_run(root / name, "rte", seed, 0.8)
        variant = "lstm" if "lstm" in name else "full"
        points.append(finished_runs.point(variant, "rte", None, seed, name))
    bodies = ["transformer", *(f"body{number}" for number in range(damaged))]
    for body in bodies:
        finished_runs.write_pretraining_run(root / f"pretrain_{body}", body)
        finished_runs.write_zero_shot_run(root / f"zero_shot_{body}", body, 0.5)
    cells = {
        "experiments": {"table5": {"setting": "", "points": points}},
        "pretrain": {body: f"pretrain_{body}" for body in bodies},
        "zero_shot": {body: f"zero_shot_{body}" for body in bodies},
    }
    finished_runs.write_json(root / "cells.json", cells)
    return root


def statuses(root: pathlib.Path) -> list[str]:
    """Write the report and return the status of each finetuning run."""
    page = HTMLPage(report_page.write(root).read_text())
    return [row[1].split()[0] for row in page.tables["Finetuning runs"][1:]]


RESULT = {
    "task": "rte",
    "metrics": {"validation": {"accuracy": 0.5}},
    "data": {"splits": {split: {"rows": 60, "sha256": "a"} for split in ("train", "validation")}},
}
DAMAGE = {
    "unfinished": b'{"task": "rt',
    "empty": b"",
    "not UTF-8": b'{"task": "\xff"}',
    "nested": b"[" * 3000 + b"]" * 3000,
    "list": b"[]",
    "number": b"3",
    "other object": b'{"a": 1}',
    "unknown task": {"task": "nli"},
    "other task": {"task": "sst2"},
    "task that is a list": {"task": ["rte"]},
    "no metrics": {"metrics": {}},
    "metrics that are a list": {"metrics": [0.5]},
    "score that is a text": {"metrics": {"validation": {"accuracy": "0.5"}}},
    "no data": {"data": None},
    "rows that are a text": {"data": {"splits": {"train": {"rows": "9", "sha256": "a"}}}},
    "hash that is a number": {"data": {"splits": {"train": {"rows": 9, "sha256": 3}}}},
    "seconds that are a text": {"seconds": "long"},
}


def test_damaged_result_is_the_failure_of_its_run_only(tmp_path):
    root = write_study(tmp_path / "study", len(DAMAGE))
    for number, content in enumerate(DAMAGE.values()):
        is_result = isinstance(content, dict)
        content = json.dumps(RESULT | content).encode() if is_result else content
        (root / f"damaged_{number}/result.json").write_bytes(content)
        if not is_result:
            for kind in ("pretrain", "zero_shot"):
                (root / f"{kind}_body{number}/result.json").write_bytes(content)
    found = dict(zip(DAMAGE, statuses(root)[2:], strict=True))
    assert found == dict.fromkeys(DAMAGE, "failed") and statuses(root)[:2] == ["finished"] * 2
    read = results.read(root)
    kinds = [kind for kind, content in DAMAGE.items() if isinstance(content, bytes)]
    probes = [read.zero_shot[f"body{number}"]["0"].status for number in range(len(kinds))]
    assert dict(zip(kinds, probes, strict=True)) == dict.fromkeys(kinds, "failed")
    assert read.pretrain["transformer"]["0"].status == "finished"


LOGS = [
    b"\xff\xfe\n",
    b"[]\n3\nnull\n",
    b'{"step": "1", "task_loss": 1}\n{"step": 1.5, "loss": 1}\n{"loss": 1}\n',
    b'{"step": 1, "task_loss": "a", "loss": [1], "tokens_per_s": true, "text": 3}\n',
    b'{"step": 99999999999999999999, "loss": 1}\n{"step": 1, "loss": ' + b"9" * 400 + b"}\n",
    b"[" * 3000 + b"\n",
    None,
]


def test_damaged_logs_do_not_stop_the_report(tmp_path):
    root = write_study(tmp_path / "study", len(LOGS))
    for number, content in enumerate(LOGS):
        for folder in (f"damaged_{number}", f"pretrain_body{number}"):
            for name in ("metrics.jsonl", "samples.jsonl", "data.json", "config.json"):
                file = root / folder / name
                file.unlink(missing_ok=True)
                file.mkdir() if content is None else file.write_bytes(content)
    assert statuses(root) == ["finished"] * (2 + len(LOGS))


def test_other_damaged_files_are_the_failure_of_their_run(tmp_path):
    contents = [b"\xff", b"[]", b"", b'{"error": ["a"]}', None]
    root = write_study(tmp_path / "study", 2 * len(contents))
    for number, content in enumerate(contents):
        for name in (
            f"damaged_{number}/failed.json",
            f"damaged_{number + len(contents)}/predictions/validation.tsv",
        ):
            (root / name).unlink(missing_ok=True)
            (root / name).mkdir() if content is None else (root / name).write_bytes(content)
        (root / f"damaged_{number}/result.json").unlink()
    assert statuses(root) == ["finished"] * 2 + ["failed"] * 2 * len(contents)


def change(path: str, value):
    """Return an edit of cells.json that sets the value at `path`."""

    def edit(cells: dict) -> None:
        *parts, last = path.split("/")
        for part in parts:
            cells = cells[int(part) if part.isdigit() else part]
        cells[last] = value

    return edit


def rename_experiment(name: str):
    def edit(cells: dict) -> None:
        cells["experiments"] = {name: cells["experiments"].pop("table5")}

    return edit


POINT = "experiments/table5/points/0"
HOSTILE_CELLS = {
    "experiment in another folder": rename_experiment("../../stolen"),
    "experiment with HTML": rename_experiment("<script>alert(1)</script>"),
    "experiment with a quote": rename_experiment('x" onload="alert(1)'),
    "cell in another folder": change(f"{POINT}/cell", "../rte_full_0"),
    "cell at the root": change(f"{POINT}/cell", "/etc"),
    "cell with a scheme": change(f"{POINT}/cell", "javascript:alert(1)"),
    "cell that is a list": change(f"{POINT}/cell", ["a"]),
    "variant with HTML": change(f"{POINT}/variant", "<b>"),
    "unknown task": change(f"{POINT}/task", "nli"),
    "task that is an object": change(f"{POINT}/task", {}),
    "seed that is a text": change(f"{POINT}/seed", "0"),
    "value that is a list": change(f"{POINT}/value", [1]),
    "setting with a space": change("experiments/table5/setting", "a b"),
    "setting that is null": change("experiments/table5/setting", None),
    "points that are an object": change("experiments/table5/points", {}),
    "experiments that are a list": change("experiments", []),
    "body with a slash": change("pretrain", {"../x": "pretrain_transformer"}),
    "folder that is a number": change("zero_shot", {"transformer": 3}),
    "folder of a seed that is a list": change("zero_shot", {"transformer": {"0": ["a"]}}),
    "seed of a pretraining with HTML": change("pretrain", {"transformer": {"<b>": "a"}}),
    "pretraining of a point with HTML": change(f"{POINT}/pretraining", "<b>"),
}


@pytest.mark.parametrize("kind", HOSTILE_CELLS)
def test_hostile_cells_are_refused_in_one_line(tmp_path, kind):
    root = write_study(tmp_path / "a/b/study")
    cells = json.loads((root / "cells.json").read_text())
    HOSTILE_CELLS[kind](cells)
    (root / "cells.json").write_text(json.dumps(cells))
    with pytest.raises(UserError, match=r"cells\.json: ") as refusal:
        report_page.write(root)
    assert "\n" not in str(refusal.value)
    assert not (root / "report.html").exists() and not list(tmp_path.rglob("*stolen*"))


def test_texts_of_a_run_are_shown_as_they_are(tmp_path):
    root = write_study(tmp_path / "study")
    result = json.loads((root / WHOLE[0] / "result.json").read_text())
    result["device"] = '=HYPERLINK("http://x","y")<script>'
    (root / WHOLE[0] / "result.json").write_text(json.dumps(result))
    (root / WHOLE[1] / "result.json").unlink()
    finished_runs.write_json(root / WHOLE[1] / "failed.json", {"error": "<script>\ud800 $x$"})
    cells = json.loads((root / "cells.json").read_text())
    cells["experiments"]["table5"] |= {"setting": "a.b"}
    for point in cells["experiments"]["table5"]["points"]:
        point["value"] = r"@$\frac{$"
    (root / "cells.json").write_text(json.dumps(cells))
    assert statuses(root) == ["finished", "failed"]
    assert "<script" not in (root / "report.html").read_text()
    with (root / "tables/runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["device"] == "'" + result["device"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@"))]


def test_link_is_quoted_and_below_the_workdir(tmp_path):
    root = write_study(tmp_path / "study")
    cells = json.loads((root / "cells.json").read_text())
    (root / "pretrain_transformer").rename(root / "javascript:alert(1)")
    cells["pretrain"] = {"transformer": "javascript:alert(1)"}
    (root / "cells.json").write_text(json.dumps(cells))
    assert 'href="javascript%3Aalert%281%29/config.json"' in report_page.write(root).read_text()


def test_labels_are_no_mathematics():
    labels = [r"$\frac{$", "$x^2$", "a\x1bb", "_c", r"\$1"]
    lines = [
        plots.Line(label, (1, 2), (1, 2), series=number) for number, label in enumerate(labels)
    ]
    axis = plots.Axis("$x$", ticks={1: "$1$", 2: "$$"})
    figure = plots.draw_lines("name", "title", "alt", axis, [plots.Panel("$y$", lines)])
    for text in (r"$\frac{$", "$x^2$", r"a\x1bb", "_c", r"\$1", "$x$", "$1$", "$$", "$y$"):
        assert f">{text}</text>" in figure.svg, text
