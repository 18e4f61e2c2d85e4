"""Test the content of the report: numbers come from the files, and all problems are listed."""

import collections
import csv
import json
import pathlib
import re
import statistics

import finished_runs
import numpy as np
import pytest
from html_page import HTMLPage

from gpt1_jax import storage
from gpt1_jax.analysis.report import notes, paper, results, summary
from gpt1_jax.analysis.report import page as report_page
from gpt1_jax.analysis.report.scores import Scores
from gpt1_jax.analysis.stats import metrics
from gpt1_jax.registry import TASKS

LONG = {
    "full": "Transformer w/ aux LM (full)",
    "no_pretraining": "Transformer w/o pre-training",
    "no_aux_lm": "Transformer w/o aux LM",
    "lstm": "LSTM w/ aux LM",
}
# Seeds with a result on the data of the task's first run; 0 and 1 for all other cells.
SEEDS = {("lstm", "mnli"): (0,), ("lstm", "stsb"): (1,), ("lstm", "rte"): (0,)}


def score(workdir: pathlib.Path, cell: str, task: str) -> float:
    """Return a run's score: the paper's metric of its predictions, averaged over the dev splits."""
    values = []
    number = float if TASKS[task].bins else TASKS[task].labels.index
    for split in TASKS[task].validation:
        path = workdir / cell / "predictions" / f"{split}.tsv"
        rows = list(csv.DictReader(path.open(), delimiter="\t"))
        labels = [number(row["label"]) for row in rows]
        predictions = [number(row["prediction"]) for row in rows]
        values.append(metrics.METRICS[TASKS[task].metrics[0]](labels, predictions))
    return 100 * statistics.mean(values)


def shown(value: float) -> str:
    return f"{value:.1f}".replace("-", "−")


def mean_scores(workdir: pathlib.Path, variant: str) -> dict[str, float]:
    means = {}
    for task in ("cola", "stsb", "mnli", "rte"):
        seeds = SEEDS.get((variant, task), (0, 1))
        means[task] = statistics.mean(
            score(workdir, f"{task}_{variant}_{seed}", task) for seed in seeds
        )
    return means


def test_sentences_are_those_of_the_file(page):
    """After a change of a sentence, read the difference and write the lines to the file."""
    lines = [" ".join(line.split()) for line in page.lines]
    links = {"", "md csv tex", "svg png"}
    expected = pathlib.Path(__file__).with_name("report_sentences.txt").read_text().splitlines()
    assert [line for line in lines if line not in links] == expected


def test_table_5_shows_the_numbers_of_the_files_in_the_papers_order(workdir, page):
    header, *rows = page.tables["Table 5: what each part is worth"]
    assert header[:6] == ["method", "Avg.", "CoLA", "STSB", "MNLI", "RTE"]
    assert [row[0] for row in rows[::2]] == list(LONG.values())
    for row, variant in zip(rows[::2], LONG, strict=True):
        values = mean_scores(workdir, variant)
        assert row[1:6] == [shown(statistics.mean(values.values())), *map(shown, values.values())]
    full, no_pretraining = ([row[1:6] for row in rows[1::2]])[:2]
    assert full == ["66.3", "45.4", "82.0", "81.8", "56.0"], "the average is over these four tasks"
    assert no_pretraining == ["44.8", "18.9", "30.9", "75.7", "53.8"]
    assert {row[0] for row in rows[1::2]} == {"paper, GLUE test server"}


def test_a_run_on_other_data_has_its_own_column(workdir, page):
    header, *rows = page.tables["Table 5: what each part is worth"]
    (other,) = [
        index for index, title in enumerate(header) if re.fullmatch(r"RTE \([0-9a-f]{8}\)", title)
    ]
    column = {row[0]: row[other] for row in rows}
    assert column.pop(LONG["lstm"]) == shown(score(workdir, "rte_lstm_1", "rte"))
    assert set(column.values()) == {"–"}


def test_differences_are_between_our_runs_only(workdir, page):
    with (workdir / "tables/table5_differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    full = mean_scores(workdir, "full")
    titles = {"cola": "CoLA mc", "stsb": "STSB pc", "mnli": "MNLI acc.", "rte": "RTE acc."}
    assert [row["full minus"] for row in rows] == ["w/o pre-training", "w/o aux LM", "LSTM"]
    for row, variant in zip(rows, list(LONG)[1:], strict=True):
        other = mean_scores(workdir, variant)
        for task, title in titles.items():
            assert float(row[title]) == pytest.approx(full[task] - other[task], abs=1e-4)
            assert float(row[f"{title} low"]) <= float(row[title]) <= float(row[f"{title} high"])
            assert 0 <= float(row[f"{title} p"]) <= 1
            assert float(row[f"{title} detectable"]) > 0
    assert float(rows[0]["Avg. low"]) > 20, "the full model has far more correct answers"


def test_tables_2_to_4_use_the_test_split_where_its_labels_are_public(workdir, page):
    header, ours, published = page.tables["Table 2: Natural language inference"]
    assert header == ["method", "MNLI-m", "MNLI-mm", "SNLI", "SciTail", "QNLI", "RTE"]
    stored = json.loads((workdir / "snli_full_0/result.json").read_text())["metrics"]
    snli, rte = stored["test"]["accuracy"], mean_scores(workdir, "full")["rte"]
    assert ours[1:] == ["–", "–", shown(100 * snli), "–", "–", shown(rte)]
    assert published[1:] == ["82.1", "81.4", "89.9", "88.3", "88.1", "56.0"]
    assert "Table 3: Question answering" not in page.tables
    assert page.tables["Tasks that the paper's tables do not have"][0] == ["variant", "WNLI"]


def test_tables_2_to_4_use_the_development_split_if_no_run_has_test_predictions(tmp_path):
    for seed in (0, 1):
        finished_runs.write_finetuning_run(tmp_path / f"snli_{seed}", "snli", seed, 0.8)
        result = json.loads((tmp_path / f"snli_{seed}/result.json").read_text())
        del result["metrics"]["test"]
        storage.write_json(tmp_path / f"snli_{seed}/result.json", result)
    points = [finished_runs.point("full", "snli", None, seed, f"snli_{seed}") for seed in (0, 1)]
    storage.write_json(
        tmp_path / "cells.json", {"experiments": {"main": {"setting": "", "points": points}}}
    )
    text = report_page.write(tmp_path).read_text()
    mean = statistics.mean(score(tmp_path, f"snli_{seed}", "snli") for seed in (0, 1))
    assert HTMLPage(text).tables["Table 2: Natural language inference"][1][3] == shown(mean)
    assert re.search(r"SNLI<small>dev</small>", text)


def test_table_5_is_also_on_test_splits_with_labels(tmp_path):
    finished_runs.write_finetuning_run(tmp_path / "snli_full_0", "snli", 0, 0.8)
    finished_runs.write_finetuning_run(tmp_path / "rte_full_0", "rte", 0, 0.8)  # hidden labels
    points = [
        finished_runs.point("full", task, None, 0, f"{task}_full_0") for task in ("snli", "rte")
    ]
    experiments = {"table5": {"setting": "", "points": points}}
    storage.write_json(tmp_path / "cells.json", {"experiments": experiments})
    tables = HTMLPage(report_page.write(tmp_path).read_text()).tables
    header, row = tables["Table 5: test splits"]
    result = json.loads((tmp_path / "snli_full_0/result.json").read_text())
    assert header == ["method", "SNLI"] and row[1] == shown(
        100 * result["metrics"]["test"]["accuracy"]
    )


def test_averages_of_the_paper_are_printed_or_over_the_given_tasks():
    every = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    printed = [paper.table5_average(variant, every) for variant in LONG]
    assert printed == [74.7, 59.9, 75.0, 69.1]
    assert paper.table5_average("full", ["rte", "cola"]) == pytest.approx((56.0 + 45.4) / 2)
    assert paper.table5_average("full", ["rte", "snli"]) is None
    assert paper.table5_average("frozen", ["rte"]) is None
    assert paper.table5("lstm")["mnli"] == 73.7 and paper.table5("frozen") == {}


def test_runs_of_different_versions_are_pointed_out(tmp_path):
    for seed, version in enumerate(("0.10.2", "0.12.0")):
        folder = tmp_path / f"rte_full_{seed}"
        finished_runs.write_finetuning_run(folder, "rte", seed, 0.9)
        versions = {"gpt1_jax": "0.1.0", "jax": version}
        devices = {"kind": "cpu", "count": 1}
        start = {"commit": "a" * 40, "versions": versions, "devices": devices}
        storage.write_json(folder / "environment.json", {"starts": [start]})
    points = [
        finished_runs.point("full", "rte", None, seed, f"rte_full_{seed}") for seed in range(2)
    ]
    cells = {"experiments": {"table5": {"setting": "", "points": points}}}
    storage.write_json(tmp_path / "cells.json", cells | {"pretrain": {}, "zero_shot": {}})
    sentences = " ".join(summary.runs(results.read(tmp_path)))
    maker = "gpt1_jax 0.1.0, commit aaaaaaaaaa, jax"
    assert f"different versions, so compare them with care: 1 by {maker} 0.10.2; 1 by" in sentences


def test_runs_with_problems_are_listed(page):
    runs = {row[0]: row[1:] for row in page.tables["Finetuning runs"][1:]}
    assert runs["cola_no_pretraining_1"][0] == "finished, constant prediction"
    problems = collections.Counter(
        status.partition(", ")[2] for status, *_ in runs.values() if ", " in status
    )
    assert 0 < problems["loss at chance"] < 20, "without pretraining the predictions are guesses"
    assert problems["constant prediction"] == 1
    statuses = [runs[name][0] for name in ("mnli_lstm_1", "stsb_lstm_0", "never_begun")]
    assert statuses == ["failed", "unfinished", "missing"]


def test_every_run_is_in_the_table_of_runs(page):
    header, *rows = page.tables["Finetuning runs"]
    runs = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    assert len(runs) == 50
    run = runs["rte_full_0"]
    assert [run[name] for name in ("status", "task", "variant", "seed")] == [
        "finished",
        "RTE",
        "full",
        "0",
    ]
    assert run["data"] == runs["rte_lstm_0"]["data"] != runs["rte_lstm_1"]["data"]
    assert run["used in"] == "table5, main"


def test_an_experiment_without_an_entry_in_the_code_is_reported(workdir, page):
    assert page.tables["A new idea: scores"] == [
        ["model.temperature", "RTE"],
        ["warm & wet", shown(score(workdir, "warm", "rte"))],
    ]


def test_data_sizes_may_differ_in_their_training_rows(page):
    header, *rows = page.tables["Number of labeled examples: scores"]
    assert header == ["labeled examples, variant", "RTE"]
    sizes, variants = ("100", "1,000", "all"), ("full", "w/o aux LM")
    assert [row[0] for row in rows] == [f"{size}, {name}" for size in sizes for name in variants]
    header, *differences = page.tables["Number of labeled examples: full minus variant"]
    assert header[0] == "full minus"
    assert [row[0] for row in differences] == [f"{size}, w/o aux LM" for size in sizes]
    scores = {row[0]: float(row[1]) for row in rows}
    for size, (_, difference) in zip(sizes, differences, strict=True):
        assert float(difference.rstrip("*").replace("−", "-")) == pytest.approx(
            scores[f"{size}, full"] - scores[f"{size}, w/o aux LM"], abs=0.11
        )


def test_transfer_and_probes_are_reported(page):
    layers = [row[0] for row in page.tables["Figure 2, left: layers transferred: scores"]]
    assert layers == ["layers transferred", "none", "emb.", "1", "2"]
    steps = page.tables["Figure 2, left: layers transferred: steps of the curve"]
    assert [row[0] for row in steps[1:]] == ["none → emb.", "emb. → 1", "1 → 2", "trend, per step"]
    means = [float(row[1]) for row in page.tables["Figure 2, left: layers transferred: scores"][1:]]
    changes = [float(row[1].rstrip("*").replace("−", "-")) for row in steps[1:]]
    differences = [last - first for first, last in zip(means, means[1:], strict=False)]
    slope = np.polyfit(range(4), means, 1)[0]
    assert changes == pytest.approx([*differences, slope], abs=0.11)
    assert "Our training accuracy against layers transferred" in page.text
    table = page.tables["Raw scores of the probes by pretraining steps"]
    raw = {row[0]: row[1:] for row in table}
    scores = {
        "SST2 acc., Transformer, mean of 2": ("50.0", "65.1", "80.2"),
        "SST2 acc., Transformer 0": ("50.0", "67.3", "84.6"),
        "SST2 acc., Transformer 1": ("50.0", "63.0", "75.9"),
        "SST2 acc., LSTM": ("50.0", "58.6", "67.3"),
    }
    for row, values in scores.items():
        assert raw[row] == ["validation, 60", "50.0", "93.2", *values]
    assert raw["RACE acc., LSTM"][2] == "53.3†", "not of a single model"


def scores_of_pretrainings(folder: pathlib.Path, seeds: int, pretrainings: int) -> Scores:
    """Return the scores of runs of which each pretraining run gives some seeds."""
    points = []
    for seed in range(seeds):
        finished_runs.write_finetuning_run(folder / f"rte_{seed}", "rte", seed, 0.5 + 0.04 * seed)
        entry = finished_runs.point("full", "rte", None, seed, f"rte_{seed}")
        points.append(entry | {"pretraining": f"transformer_{seed % pretrainings}"})
    experiments = {"table5": {"setting": "", "points": points}}
    storage.write_json(folder / "cells.json", {"experiments": experiments})
    (experiment,) = results.read(folder).experiments
    return Scores(experiment)


def test_seeds_of_one_pretraining_run_count_once(tmp_path):
    scores = scores_of_pretrainings(tmp_path, seeds=9, pretrainings=3)
    estimate = scores.estimate(scores.columns[0], scores.conditions[0])
    values = list(scores.seed_scores(scores.columns[0], scores.conditions[0]).values())
    means = [statistics.mean(values[start::3]) for start in range(3)]
    assert (estimate.seeds, estimate.runs) == (3, 9)
    assert estimate.mean == pytest.approx(statistics.mean(values))
    assert estimate.standard_deviation == pytest.approx(statistics.stdev(means))
    enough, clustered = notes.pretraining_note(scores)
    assert enough.startswith("Every score rests on 3 pretraining runs. The intervals include")
    assert clustered == notes.CLUSTERED


def test_recipe_says_what_was_trained_by_what(page):
    header, *rows = page.tables["Recipe"]
    assert header[1:] == ["pretraining", "pretraining", "finetuning"]
    recipe = {row[0]: row[1:] for row in rows}
    assert recipe["pretraining runs"] == ["2", "1", "–"]
    assert recipe["seeds"] == ["–", "–", "2"]
    assert recipe["data"] == ["text", "text", "–"] and recipe["updates"] == ["40", "40", "–"]
    assert recipe["sizes"][0] == "width 128" and recipe["dropout"][0] == "embeddings 0.1"
    assert recipe["weight of the auxiliary LM loss"] == ["–", "–", "0.5"]
    assert recipe["made by"][0] == "gpt1_jax 0.1.0, commit bbbbbbbbbb, jax 0.10.2"
    assert recipe["device"][2] == "cpu"


def test_papers_rows_are_apart_from_scores_on_other_data(tmp_path):
    points = []
    for variant in ("full", "lstm"):
        folder = f"rte_{variant}_0"
        finished_runs.write_finetuning_run(tmp_path / folder, "rte", 0, 0.8, published=False)
        points.append(finished_runs.point(variant, "rte", None, 0, folder))
    experiments = {
        "table5": {"setting": "", "points": points},
        "main": {"setting": "", "points": points[:1]},
    }
    storage.write_json(tmp_path / "cells.json", {"experiments": experiments})
    storage.write_json(tmp_path / "config.json", {"world": {"words": 300_000}})
    tables = HTMLPage(report_page.write(tmp_path).read_text()).tables
    _, *ours = tables["Table 5: what each part is worth"]
    assert [row[0] for row in ours] == [LONG["full"], LONG["lstm"]]
    _, *papers = tables["Table 5 of the paper, on the published data"]
    assert papers == [[LONG["full"], "56.0", "56.0"], [LONG["lstm"], "54.6", "54.6"]]
    assert len(tables["Table 2: Natural language inference"]) == 2
    assert tables["Table 2 of the paper, on the published data"][1][-1] == "56.0"
    recipe = {row[0]: row[1:] for row in tables["Recipe"][1:]}
    assert recipe["data"] == ["the embedded microworld (synthetic)"]


def test_pretraining_is_reported(page):
    assert page.tables["Pretraining runs"][0][1:] == ["Transformer 0", "Transformer 1", "LSTM"]
    facts = {row[0]: row[1] for row in page.tables["Pretraining runs"]}
    assert facts["status"] == "finished"
    assert facts["steps"] == "40" and facts["tokens processed"] == "4,321"
    assert facts["held-out loss, nats per token"] == "3.25"
    assert facts["held-out perplexity"] == "25.79"
    assert facts["tokens per second, median"] == "525" and facts["training tokens"] == "1,750"
    assert "pretrain_transformer_0/config.json" in page.references
    assert not any("exp_lstm" in link for link in page.references), "a run elsewhere has no link"
    for sample in ("after 10 < updates & more", "after 40 < updates & more"):
        assert page.text.count(sample) == 2, "one sample of each body"


def test_a_run_with_damaged_predictions_has_failed(tmp_path):
    root = tmp_path / "exp"
    for seed in range(3):
        finished_runs.write_finetuning_run(root / f"rte_{seed}", "rte", seed, 0.9)
    lines = (root / "rte_0/predictions/validation.tsv").read_text().splitlines()
    (root / "rte_0/predictions/validation.tsv").write_text("\n".join(lines[:-1]) + "\n")
    (root / "rte_1/predictions/validation.tsv").unlink()
    (root / "rte_2/result.json").write_text('{"trainer": ')
    points = [finished_runs.point("full", "rte", None, seed, f"rte_{seed}") for seed in range(3)]
    experiments = {"table5": {"setting": "", "points": points}}
    storage.write_json(
        root / "cells.json", {"experiments": experiments, "pretrain": {}, "zero_shot": {}}
    )
    text = HTMLPage(report_page.write(root).read_text()).text
    assert "rte_0: predictions/validation.tsv has 59 rows, but the split has 60" in text
    assert "rte_1: predictions/validation.tsv is missing" in text
    assert "rte_2: result.json is damaged" in text
    assert "No run has finished yet." in text and "No run of this experiment has finished." in text


def test_a_pretraining_run_has_a_report(tmp_path):
    finished_runs.write_pretraining_run(tmp_path / "exp_books", "transformer")
    page = HTMLPage(report_page.write(tmp_path / "exp_books").read_text())
    assert set(page.tables) == {"Pretraining runs"} and page.tags["svg"] == 2
    assert "config.json" in page.references and "Samples from the Transformer" in page.text
