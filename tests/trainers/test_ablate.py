"""Test the ablation: its grid of runs, sharing and resuming, failures, cost, and the report."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from cli_fixtures import REPOSITORY, read_metrics

sys.path.insert(0, str(REPOSITORY))
from configs import ablations, common, experiments
from configs.scales import SCALES
from gpt1_jax.errors import UserError
from gpt1_jax.trainers import disk
from gpt1_jax.trainers.grid import build_grid
from gpt1_jax.trainers.pretrainings import Pretrainings


def grid(arg: str, **values):
    """Return the grid of ablations.py:arg with some settings changed."""
    config = ablations.get_config(arg)
    config.update_from_flattened_dict(values)
    points, cells, _ = build_grid(config, Pretrainings(config, "runs", ""), "data")
    return points, cells


def test_quick_grid_has_table_5_and_the_transfer_curve():
    points, cells = grid("quick")
    tasks = ("cola", "sst2", "qnli", "rte")
    assert {(point.variant, point.task, point.seed) for point in points["table5"]} == {
        (variant, task, seed)
        for variant in experiments.TABLE5
        for task in tasks
        for seed in range(3)
    }
    assert {point.value for point in points["transfer"]} == {-1, 0, 1, 2, 3}
    # The curve's ends are cells of the table, under the table's names.
    ends = {
        point.value: point.cell
        for point in points["transfer"]
        if (point.task, point.seed) == ("rte", 0)
    }
    assert (ends[-1], ends[3], ends[1]) == (
        "rte_no_pretraining_0",
        "rte_full_0",
        "rte_full_layers_1_0",
    )
    curves = SCALES["quick"]["curve_tasks"]
    assert len(cells) == 3 * (len(tasks) * 4 + len(curves) * 3)
    assert (
        cells["rte_lstm_0"].model.name == "lstm"
        and cells["rte_lstm_0"].init.path == "runs/pretrain_lstm_0"
    )


def test_every_experiment_gets_its_first_score_early():
    points, cells = grid("paper")
    order = {name: index for index, name in enumerate(cells)}
    firsts = [min(order[point.cell] for point in group) for group in points.values()]
    assert max(firsts) < len(points) and set(points) == set(SCALES["paper"]["experiments"]) - {
        "zero_shot"
    }
    assert [cell.seed for cell in cells.values()] == sorted(cell.seed for cell in cells.values())
    values = {point.value for point in points["transfer"]}
    assert values == set(range(-1, 13)) and {point.task for point in points["transfer"]} == {
        "race",
        "mnli",
    }


def test_overrides_reach_the_grid():
    points, cells = grid("quick,table5", seeds=1, tasks=("rte",), **{"finetune.epochs": 7})
    assert set(cells) == {f"rte_{variant}_0" for variant in experiments.TABLE5} and set(points) == {
        "table5"
    }
    assert {cell.epochs for cell in cells.values()} == {7}
    points, cells = grid("quick,top,seeds", tasks=("rte",))
    assert cells["rte_frozen_0"].init.frozen and cells["rte_reinit_last_block_0"].init.layers == 2
    assert len({point.cell for point in points["seeds"]}) == 20


@pytest.mark.parametrize(
    ("arg", "values", "message"),
    [
        ("quick", {"tasks": ("mnli",)}, "config.tasks: mnli is in none of the experiments"),
        (
            "quick",
            {"experiments.table5.tasks": ("dprd",)},
            "config.experiments.table5.tasks: dprd cannot be finetuned on",
        ),
        (
            "quick",
            {"experiments.table5.variants": ("half",)},
            "config.experiments.table5.variants: no variant is called 'half'",
        ),
        (
            "quick",
            {"experiments.transfer.setting": "init.depth"},
            "config.variants.full, or the setting 'init.depth'",
        ),
        ("quick", {"experiments.table5.seeds": 10**9}, "config.experiments.table5.seeds: found 10"),
        (
            "quick",
            {"experiments.table5.variants": ("no_aux",)},
            "no variant is called 'no_aux' .did you mean 'no_aux_lm'",
        ),
        ("quick,paper", {}, "'quick' and 'paper' exclude each other"),
        ("quick,table6", {}, "'table6' .did you mean 'table5'"),
    ],
)
def test_invalid_grid_is_refused(arg, values, message):
    with pytest.raises(UserError, match=message):
        grid(arg, **values)


@pytest.fixture
def settings(books, glue, tmp_path):
    """Return the settings of one task with tiny bodies, on a GLUE folder that a test may change."""
    shutil.copytree(glue, tmp_path / "glue")
    small = {
        "model.width": 16,
        "model.context": 32,
        "steps": 2,
        "batch_size": 4,
        "eval.windows": 4,
        "eval.sample": 0,
        "tokenizer.vocab_size": 120,
    }
    bodies = {
        "transformer": {"model.layers": 1, "model.heads": 2, "model.ffn": 32},
        "lstm": {"model.units": 16},
    }
    values = {
        "corpus_path": books,
        "tasks_path": tmp_path / "glue",
        "world.words": 0,
        "tasks": "('rte',)",
        "seeds": 1,
        "workers": 1,
    }
    values |= {
        "finetune.epochs": 1,
        "finetune.batch_size": 4,
        "pretraining_seeds": 1,
        "probed_pretrainings": "()",
        "experiments.transfer.levels": "(-1, 0, 1)",
    }
    for body, sizes in bodies.items():
        pretraining = small | sizes
        pretraining |= {
            "data.cache": tmp_path / "cache",
            "optim.warmup_steps": 1,
            "eval.every": 2,
            "checkpoint.every": 1,
        }
        values |= {f"pretrain.{body}.{name}": value for name, value in pretraining.items()}
    return values


CELLS = {f"rte_{variant}_0" for variant in experiments.TABLE5} | {"rte_full_layers_0_0"}


def test_failed_runs_are_reported_and_repeated_and_finished_runs_stay(gpt1, settings, tmp_path):
    run = tmp_path / "run"
    dev = tmp_path / "glue/RTE/dev.tsv"
    whole = dev.read_text()
    dev.write_text(whole.replace("\tentailment", "\tperhaps"))
    ended = gpt1.run(*gpt1.command("ablations.py:quick", run, settings))
    assert (
        ended.code == 1
        and "5 of 7 runs failed" in ended.err
        and "perhaps" in json.loads((run / "rte_lstm_0/failed.json").read_text())["error"]
    )
    assert "perhaps" in (run / "report.html").read_text() and not (run / "result.json").exists()
    before = (run / "pretrain_lstm_0/result.json").read_bytes()
    dev.write_text(whole)
    result = gpt1.result("ablations.py:quick", run, settings)
    assert set(result["cells"]) == CELLS | {"pretrain_transformer_0", "pretrain_lstm_0"}
    assert (run / "pretrain_lstm_0/result.json").read_bytes() == before
    # More seeds of the same grid may follow in the same folder. Another batch size may not.
    more = gpt1.result(
        "ablations.py:quick,table5",
        run,
        {name: value for name, value in settings.items() if "transfer" not in name} | {"seeds": 2},
    )
    assert (
        len(more["cells"]) == 2 + 8
        and result["cells"].items()
        <= {**more["cells"], "rte_full_layers_0_0": result["cells"]["rte_full_layers_0_0"]}.items()
    )
    ended = gpt1.run(
        *gpt1.command("ablations.py:quick", run, settings | {"finetune.batch_size": 2})
    )
    assert ended.code == 2 and "finetune.batch_size=4 (now 2)" in ended.err


def test_options_of_pretraining_are_trained_and_reported(gpt1, settings, tmp_path):
    """Pretrain pre-LN without positions on shuffled sentences; probe a block, finetune a step."""
    settings = settings_of_table5(settings) | {
        "pretrain.transformer.model.layers": 2,
        "pretrain.transformer.model.learned_positions": False,
        "pretrain.transformer.model.pre_norm": True,
        "pretrain.transformer.data.shuffle_sentences": True,
        "experiments.layers_probe.levels": "(1,)",
    }
    config, run = "ablations.py:quick,updates,layers_probe", tmp_path / "run"
    cells = set(gpt1.result(config, run, settings)["cells"])
    names = {"rte_full_0", "rte_full_step_1_0", "rte_probe_layers_1_0"}
    assert cells == names | {"pretrain_transformer_0"}
    results = {name: json.loads((run / name / "result.json").read_text()) for name in names}
    assert results["rte_full_step_1_0"]["init"]["step"] == 1
    model = results["rte_full_0"]["model"]
    assert model["pre_norm"] and not model["learned_positions"]
    probe = results["rte_probe_layers_1_0"]
    assert (probe["model"]["layers"], probe["init"]["layers"]) == (1, 1)
    transfers = {name: (run / name / "log.txt").read_text() for name in names}
    for part, status in (("h0", "restored"), ("h1", "dropped"), ("ln_f", "fresh")):
        assert f"{part:<10} {status}" in transfers["rte_probe_layers_1_0"]
    assert f"{'ln_f':<10} restored" in transfers["rte_full_0"]
    assert (
        "the sentences of train are shuffled"
        in (run / "pretrain_transformer_0/log.txt").read_text()
    )
    page = (run / "report.html").read_text()
    assert "Linear probes of the blocks" in page and "From 1 to 2 pretraining steps" in page


def test_shards_make_a_whole_and_use_finished_pretraining_runs(
    gpt1, settings, tmp_path, pretrained
):
    again = shutil.copytree(pretrained(), tmp_path / "again")
    finished = {f"pretrained.{body}": pretrained(body) for body in common.BODIES}
    finished["pretrained.transformer"] = f"('{pretrained()}','{again}')"
    run = tmp_path / "run"
    for shard in (2, 1):
        ended = gpt1.run(
            *gpt1.command("ablations.py:quick", run, settings | finished | {"shard": f"{shard}/2"})
        )
        assert ended.code == 0, ended.err
        assert (run / "result.json").exists() == (shard == 1)
    # The pretraining runs have two blocks, and all are transferred.
    assert set(json.loads((run / "result.json").read_text())["cells"]) == CELLS | {
        "rte_full_layers_1_0"
    }
    assert json.loads((run / "rte_full_0/result.json").read_text())["init"]["layers"] == 2
    assert not (run / "pretrain_lstm_0").exists()
    named = json.loads((run / "cells.json").read_text())["pretrain"]
    assert named["transformer"] == {"0": str(pretrained())}, "only seed 0 is run"


def test_moved_ablation_is_the_same_one(gpt1, settings, pretrained, tmp_path):
    source = shutil.copytree(pretrained(), tmp_path / "pretrained")
    settings |= {"pretrained.transformer": source, "pretrained.lstm": pretrained("lstm")}
    config, run = "ablations.py:quick,table5", tmp_path / "run"
    settings = settings_of_table5(settings)
    cells = gpt1.result(config, run, settings)["cells"]
    trained = (run / "rte_full_0/checkpoints").stat().st_mtime_ns

    run = run.rename(tmp_path / "moved")
    settings["tasks_path"] = (tmp_path / "glue").rename(tmp_path / "moved_glue")
    settings["pretrained.transformer"] = f"{source.rename(tmp_path / 'moved_pretrained')}/"
    assert gpt1.result(config, run, settings)["cells"] == cells
    assert (run / "rte_full_0/checkpoints").stat().st_mtime_ns == trained

    other = shutil.copytree(tmp_path / "moved_glue", tmp_path / "other_glue")
    train = (other / "RTE/train.tsv").read_text()
    (other / "RTE/train.tsv").write_text(train.replace("not_entailment", "entailment", 1))
    for _ in range(2):
        completed = gpt1.run(*gpt1.command(config, run, settings | {"tasks_path": other}))
        assert completed.code == 2 and "/data.json: train changed since" in completed.err


@pytest.mark.slow
def test_killed_ablation_ends_with_the_same_numbers(gpt1, settings, tmp_path):
    settings |= {"workers": 2, "tasks": "('rte',)"}
    alone = gpt1.result(
        "ablations.py:quick,table5", tmp_path / "alone", settings_of_table5(settings)
    )
    command = [
        sys.executable,
        "-m",
        "gpt1_jax.main",
        *gpt1.command(
            "ablations.py:quick,table5", tmp_path / "killed", settings_of_table5(settings)
        ),
    ]
    for begun in ("pretrain_*/metrics.jsonl", "rte_*/metrics.jsonl", None):
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while begun and not any((tmp_path / "killed").glob(begun)):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        if begun:
            os.kill(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        if begun:
            assert not (tmp_path / "killed/result.json").exists()
            time.sleep(1)  # its workers notice that it has ended
    assert process.returncode == 0, errors
    assert json.loads((tmp_path / "killed/result.json").read_text())["cells"] == alone["cells"]


def test_ctrl_c_saves_the_runs_of_all_workers(gpt1, settings, tmp_path):
    settings = settings_of_table5(settings) | {"workers": 2, "tasks": "('rte',)"}
    settings |= {f"pretrain.{body}.steps": 100_000 for body in common.BODIES}
    settings |= {f"pretrain.{body}.log.every": 10 for body in common.BODIES}
    command = gpt1.command("ablations.py:quick,table5", tmp_path, settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt1_jax.main", *command],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    runs = [tmp_path / f"pretrain_{body}_0" for body in common.BODIES]
    while not all(read_metrics(run) for run in runs):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and errors == "gpt1_jax: stopped by SIGINT\n"
    for run in runs:
        log = (run / "log.txt").read_text()
        saved = re.search(r"stopped by SIGTERM: step (\d+) is saved", log)
        assert saved and (run / "checkpoints" / saved[1]).is_dir(), log


def test_damaged_run_fails_alone(gpt1, settings, tmp_path):
    command = gpt1.command("ablations.py:quick,table5", tmp_path, settings_of_table5(settings))
    assert gpt1.run(*command).code == 0
    whole = {file: file.read_bytes() for file in tmp_path.glob("*/result.json")}
    result = (tmp_path / "result.json").read_text()
    for name, content in (
        ("rte_full_0/result.json", b'{"trainer": "finet'),
        ("rte_lstm_0/result.json", b"[]"),
        ("rte_no_aux_lm_0/result.json", b'{"trainer": "finetune", "task": "rte"}'),
        ("rte_no_pretraining_0/metrics.jsonl", b"\xff"),
        ("pretrain_lstm_0/result.json", b"{"),
        ("pretrain_transformer_0/metrics.jsonl", b"[]\n"),
        ("rte_no_pretraining_0/config.json", b"\xff"),
        ("rte_no_pretraining_0/failed.json", b"["),
    ):
        (tmp_path / name).write_bytes(content)
    for _ in range(2):
        ended = gpt1.run(*command)
        assert ended.code == 1 and "4 of 6 runs failed" in ended.err, ended
        assert "failed: rte_lstm_0: needs pretrain_lstm_0, which failed" in ended.out
        for cell in ("rte_full_0", "rte_no_aux_lm_0", "pretrain_lstm_0"):
            assert f"failed: {cell}: {tmp_path}/{cell}/result.json: " in ended.out
        assert ended.out.count("remove it, and repeat the command") >= 3
        assert not (tmp_path / "result.json").exists()
    page = (tmp_path / "report.html").read_text()
    assert "result.json is damaged" in page and "metrics.validation" not in page
    for file, content in whole.items():
        if "full" in str(file) or "lstm" in str(file) or "aux" in str(file):
            file.unlink()
        else:
            assert file.read_bytes() == content
    (tmp_path / "rte_no_pretraining_0/config.json").unlink()
    ended = gpt1.run(*command)
    assert ended.code == 0, ended
    assert (tmp_path / "result.json").read_text() == result


def settings_of_table5(settings):
    """Return the settings without those of the transfer curve."""
    return {name: value for name, value in settings.items() if "transfer" not in name}


def test_cost_estimate_counts_the_bytes_of_checkpoints():
    config = ablations.get_config("paper,table5")
    pretraining, cell = config.pretrain.transformer, config.finetune.copy_and_resolve_references()
    cell.trainer, size = "finetune", 4 * 116_534_784  # the paper's model, with 40,478 tokens
    runs = [(pretraining, run) for run in (pretraining, cell, cell, config.zero_shot)]
    # The last step of the one; the best and the last step of the others. In training, the two
    # newest of the one, one more in writing, each with the two moments of Adam.
    expected = f"at most {5 * size / 1e9:.3g} GB when all.* {9 * size / 1e9:.3g} GB for each"
    assert re.search(expected, disk.summary(runs))
    cell.checkpoint.finished = pretraining.checkpoint.finished = "all"
    assert f"at most {(2 + 2 + 2) * 3 * size / 1e9:.3g} GB when all" in disk.summary(runs)


def test_cost_estimate_counts_flops_and_runs_nothing(gpt1, settings, tmp_path):
    ended = gpt1.run(
        *gpt1.command(
            "ablations.py:quick", tmp_path / "run", settings | {"estimate_cost": True, "seeds": 2}
        )
    )
    assert ended.code == 0, ended.err
    rows = {
        cells[1]: cells[2:-1]
        for line in ended.out.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) > 2
    }
    assert rows["rte_full"][0] == "2" and rows["all"][0] == str(2 + 2 * len(CELLS))
    # By hand: 3 x (2 steps of 4 windows of 32 tokens) x (a block, and the softmax over 120 tokens).
    token = 2 * (4 * 16**2 + 2 * 16 * 32 + 2 * 32 * 16) + 2 * 16 * 120
    assert float(rows["pretrain_transformer"][1]) == pytest.approx(3 * 2 * 4 * 32 * token, rel=0.01)
    assert re.search(r"^checkpoints: at most \S+ GB when all runs have finished", ended.out, re.M)
    assert not (tmp_path / "run").exists()
