"""Seeds of one cell trained in one program: every run is what it is when trained by itself, however it got there."""

import functools
import json
import os
import shutil
import signal

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from gpt1_jax.registry import TRAINERS
from gpt1_jax.training import batching, checkpoint, loop

SEEDS = (0, 1, 2)
VARIANTS = ("full", "no_aux_lm", "lstm")
UPDATES = 6  # two epochs of three


@pytest.fixture(scope="module")
def cell(finetuning):
    """cell(variant, seed): a configuration, with the published dropout."""
    from configs import finetune

    def made(variant: str, seed: int) -> ConfigDict:
        config = finetune.get_config(f"cola,{variant}")
        values = finetuning("lstm" if variant == "lstm" else "transformer") | {"epochs": 2, "seed": seed, "optim.lr": 1e-3}
        config.update_from_flattened_dict({name: str(value) if "path" in name else value for name, value in values.items()})
        return config

    return made


@pytest.fixture(scope="module")
def alone(cell, tmp_path_factory):
    """alone(variant): the folder below which each seed has been trained by itself."""

    @functools.cache
    def trained(variant: str):
        folder = tmp_path_factory.mktemp(f"alone_{variant}")
        for seed in SEEDS:
            TRAINERS["finetune"](cell(variant, seed), str(folder / str(seed)))
        return folder

    return trained


def train_together(cell, variant, folder, seeds=SEEDS) -> dict:
    first, *rest = seeds
    return TRAINERS["finetune"](cell(variant, first), str(folder / str(first)), {seed: str(folder / str(seed)) for seed in rest})


def read(run):
    """What a finished run leaves: settings, result, metrics by update, predictions, params of the last update."""
    result = json.loads((run / "result.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [(row["step"], name, value) for row in rows for name, value in row.items() if name not in ("step", "tokens_per_s", "mfu")]
    predictions = {path.name: [line.split("\t") for line in path.read_text().splitlines()] for path in (run / "predictions").iterdir()}
    params = flatten_dict(checkpoint.read_all_params(run, checkpoint.steps(run)[-1]), sep="/")
    return json.loads((run / "config.json").read_text()), result, metrics, predictions, params


def assert_same(one, other):
    (config, result, metrics, predictions, params), others = read(one), read(other)
    assert config == others[0]
    assert {**result, "seconds": 0, "params_sha256": ""} == {**others[1], "seconds": 0, "params_sha256": ""}
    assert [row[:2] for row in metrics] == [row[:2] for row in others[2]]
    np.testing.assert_allclose([row[2] for row in metrics], [row[2] for row in others[2]], rtol=1e-5, atol=1e-7)
    assert predictions.keys() == others[3].keys() == {"validation.tsv", "test.tsv"}
    for name, table in predictions.items():
        assert [row[:3] for row in table] == [row[:3] for row in others[3][name]]
        numbers, expected = (np.array([row[3:] for row in each[1:]], float) for each in (table, others[3][name]))
        np.testing.assert_allclose(numbers, expected, rtol=1e-4, atol=1e-5)
    assert params.keys() == others[4].keys()
    for name, param in params.items():
        np.testing.assert_allclose(param, others[4][name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_seeds_trained_together_are_those_trained_alone(cell, alone, tmp_path, variant):
    result = train_together(cell, variant, tmp_path)
    assert result == json.loads((tmp_path / "0/result.json").read_text())
    for seed in SEEDS:
        assert_same(tmp_path / str(seed), alone(variant) / str(seed))
    losses = [[value for _, name, value in read(tmp_path / str(seed))[2] if name == "loss"] for seed in SEEDS]
    assert len(losses[0]) == UPDATES and len({loss[0] for loss in losses}) == len(SEEDS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoints/*")}
    assert train_together(cell, variant, tmp_path) == result  # finished runs stay
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoints/*")} == before


def test_stopped_lost_and_finished_runs_go_on_from_where_each_is(cell, alone, tmp_path, monkeypatch):
    kept, indices = {}, batching.indices

    def stop_at(update):
        def stopping(step, **order):
            if step == update - 1:
                os.kill(os.getpid(), signal.SIGTERM)
                monkeypatch.setattr(batching, "indices", indices)  # for the other seeds: the second signal would end the process
            return indices(step, **order)

        monkeypatch.setattr(batching, "indices", stopping)
        with pytest.raises(SystemExit) as stopped:
            train_together(cell, "full", tmp_path)
        assert stopped.value.code == loop.TERMINATED
        for seed in SEEDS:
            kept[seed] = checkpoint.steps(tmp_path / str(seed))[-1]
        assert kept == dict.fromkeys(SEEDS, update) and not any(tmp_path.rglob("result.json"))

    stop_at(1)
    stop_at(4)  # all three went on together from update 1
    TRAINERS["finetune"](cell("full", 1), str(tmp_path / "1"))  # one goes on by itself, and is finished
    finished = (tmp_path / "1/result.json").read_bytes()
    shutil.rmtree(tmp_path / "2")  # one begins anew, while the first goes on
    train_together(cell, "full", tmp_path)
    assert (tmp_path / "1/result.json").read_bytes() == finished
    for seed in SEEDS:
        assert_same(tmp_path / str(seed), alone("full") / str(seed))
    assert "goes on from update 4" in (tmp_path / "0/log.txt").read_text()
    assert "goes on" not in (tmp_path / "2/log.txt").read_text()


def test_an_ablation_trains_the_seeds_of_a_cell_together(gpt1, pretraining, finetuning, glue, tmp_path, monkeypatch):
    # Three seeds of one cell, at most two of them together: two calls of the program.
    settings = {f"pretrain.transformer.{name}": value for name, value in {**pretraining(), "eval.sample": 0}.items() if name != "data.path"}
    settings |= {f"finetune.{name}": value for name, value in finetuning().items() if name not in ("init.path", "data.path")}
    settings |= {"books": pretraining()["data.path"], "labelled": glue, "world.words": 0, "workers": 1, "seeds": 3, "together": 2}
    settings |= {"tasks": "('rte',)", "experiments.table5.variants": "('full',)", "finetune.epochs": 1}
    ended = gpt1.run(*gpt1.command("ablations.py:quick,table5", tmp_path, settings | {"together": 0}))
    assert ended.code == 2 and "config.together: 0 found, a whole number from 1 expected" in ended.err and not any(tmp_path.iterdir())
    calls, program = [], TRAINERS["finetune"]

    def counted(config, path, further=None):
        calls.append([config.seed, *(further or {})])
        return program(config, path, further or {})

    monkeypatch.setitem(TRAINERS._entries, "finetune", counted)
    result = gpt1.result("ablations.py:quick,table5", tmp_path, settings)
    cells = {f"rte_full_{seed}" for seed in range(3)}
    assert result["cells"].keys() == {"pretrain_transformer", *cells}
    assert calls == [[0, 1], [2]]
    assert {json.loads((tmp_path / name / "config.json").read_text())["seed"] for name in cells} == {0, 1, 2}
