"""Test the runs that experiments, pretrainings and sweeps make, without training any."""

import itertools
import sys

import pytest
from cli_fixtures import REPOSITORY

from gpt1_jax.errors import UserError
from gpt1_jax.inputs import flatten
from gpt1_jax.trainers.ablation_runs import list_runs

sys.path.insert(0, str(REPOSITORY))
from configs import ablations, experiments


def runs(arg: str, variants=(), **values):
    """Return the runs of ablations.py:arg with some settings changed, and variants added."""
    config = ablations.get_config(arg)
    for name, changes in variants:
        config.variants[name] = changes
    config.update_from_flattened_dict(values)
    return list_runs(config, "/runs")


def test_seeds_start_from_the_pretraining_runs_in_turn():
    listed = runs("quick,table5", pretraining_seeds=2, tasks=("rte",))
    origins = {name: run.init.path for name, run in listed.configs.items() if "init" in run}
    for seed in range(3):
        assert origins[f"rte_full_{seed}"] == f"/runs/pretrain_transformer_{seed % 2}"
        assert origins[f"rte_lstm_{seed}"] == f"/runs/pretrain_lstm_{seed % 2}"
    assert listed.configs["pretrain_lstm_1"].seed == 1
    needs = {job.name: job.needs for job in listed.jobs()}
    assert needs["rte_full_2"] == ("pretrain_transformer_0",)
    points = listed.cells["experiments"]["table5"]["points"]
    assert {point["pretraining"] for point in points if point["seed"] == 1} == {
        "transformer_1",
        "lstm_1",
    }
    folders = {str(seed): f"pretrain_lstm_{seed}" for seed in range(2)}
    assert listed.cells["pretrain"]["lstm"] == folders and listed.cells["zero_shot"] == {}


def test_only_pretraining_runs_in_use_are_run():
    listed = runs("quick,transfer", seeds=1).configs
    assert [name for name in listed if "pretrain" in listed[name].trainer] == [
        "pretrain_transformer_0"
    ]
    listed = runs("quick,zero_shot", probed_pretrainings=("lstm",)).configs
    kinds = [f"{kind}_lstm_{seed}" for seed in range(3) for kind in ("pretrain", "zero_shot")]
    assert list(listed) == kinds
    assert listed["zero_shot_lstm_2"].init.path == "/runs/pretrain_lstm_2"


def test_variant_names_its_pretraining_and_an_experiment_varies_it():
    values = {
        "pretrainings.shuffled.changes": {"batch_size": 4, "model": {"layers": 2}},
        "experiments.top.variants": ("full", "changed"),
        "experiments.transfer.setting": "pretrain.model.layers",
        "experiments.transfer.levels": (1, 3),
        "tasks": ("rte",),
        "seeds": 1,
    }
    changed = {"pretraining": "shuffled", "lm_coef": 0.25}
    listed = runs("quick,top,transfer", [("changed", changed)], **values)
    run, cell = listed.configs["pretrain_shuffled_0"], listed.configs["rte_changed_0"]
    assert (run.batch_size, run.model.layers, run.steps) == (4, 2, 6_000)
    assert (cell.lm_coef, cell.init.layers) == (0.25, 2)
    assert cell.init.path == "/runs/pretrain_shuffled_0"
    # The recipe has three blocks, so this value is the full model of the other experiment.
    cells = {point["value"]: point for point in listed.cells["experiments"]["transfer"]["points"]}
    assert cells[3]["cell"] == "rte_full_0" and cells[3]["pretraining"] == "transformer_0"
    assert cells[1]["cell"] == "rte_full_pretrain_layers_1_0"
    assert cells[1]["pretraining"] == "transformer_layers_1_0"
    assert listed.configs["pretrain_transformer_layers_1_0"].model.layers == 1
    assert listed.configs["rte_full_pretrain_layers_1_0"].init.layers == 1


@pytest.mark.parametrize(
    ("variants", "values", "message"),
    [
        (
            [("new", {"pretraining": "gpt2"})],
            {"experiments.transfer.variants": ("new",)},
            "config.variants.new.pretraining: no pretraining is called 'gpt2'; choose among",
        ),
        ((), {"probed_pretrainings": ("gpt2",)}, "config.probed_pretrainings: no pretraining is"),
        (
            (),
            {"experiments.transfer.setting": "pretrain.model.depth"},
            "the setting 'pretrain.model.depth': not a setting of config.pretrain.transformer",
        ),
        (
            (),
            {
                "experiments.transfer.setting": "pretrain.model.layers",
                "pretrained.transformer": ("runs/a",),
            },
            "config.pretrained.transformer: the setting 'pretrain.model.layers' varies",
        ),
        ((), {"pretrainings.lstm.body": "cnn"}, "config.pretrainings.lstm.body: no body is called"),
        ((), {"pretraining_seeds": 0}, "config.pretraining_seeds: found 0, expected a whole"),
        ((), {"pretrained.lstm": (3,)}, r"config.pretrained.lstm: found \(3,\), expected folders"),
    ],
)
def test_unknown_pretraining_is_refused(variants, values, message):
    with pytest.raises(UserError, match=message):
        runs("quick,transfer,zero_shot", variants, **values)


# Experiment -> one of its runs, and settings of this run and of the pretraining that it needs.
RUNS = {
    "table5": ("rte_lstm_2", {"model.name": "lstm"}, {"seed": 2}),
    "main": ("snli_full_0", {"task": "snli"}, {}),
    "transfer": ("rte_full_layers_1_0", {"init.layers": 1}, {}),
    "data_size": ("rte_no_aux_lm_examples_250_0", {"data.examples": 250, "lm_coef": 0.0}, {}),
    "top": ("rte_frozen_1", {"init.frozen": True}, {}),
    "quirks": ("rte_modern_0", {"published.table_dropout": False}, {}),
    "seeds": ("rte_full_9", {"seed": 9}, {"seed": 0}),
    "lm_coef": ("rte_full_lm_coef_0.05_0", {"lm_coef": 0.05}, {}),
    "updates": ("rte_full_step_1920_1", {"init.step": 1920, "init.layers": 3}, {"seed": 1}),
    "few_shot": (
        "rte_no_pretraining_few_shot_examples_16_2",
        {"data.examples": 16, "epochs": 20, "batch_size": 8, "init.layers": -1},
        {},
    ),
    "depth": ("rte_full_pretrain_layers_2_0", {"init.layers": 2}, {"model.layers": 2}),
    "heads": ("rte_full_pretrain_heads_1_0", {}, {"model.heads": 1}),
    "vocabulary": ("rte_full_pretrain_vocab_size_400_0", {}, {"tokenizer.vocab_size": 400}),
    "context": ("rte_context_16_0", {}, {"model.context": 16, "batch_size": 16}),
    "positions": ("rte_no_positions_0", {}, {"model.learned_positions": False}),
    "norm": ("rte_pre_norm_0", {}, {"model.pre_norm": True}),
    "shuffled": ("rte_shuffled_0", {}, {"data.shuffle_sentences": True}),
    "layers_probe": (
        "rte_probe_layers_2_0",
        {"model.layers": 2, "init.layers": 2, "init.frozen": True, "lm_coef": 0.0},
        {"model.layers": 3},
    ),
    "selection": ("rte_full_lr_0.0014_0", {"optim.lr": 0.0014}, {}),
    "sweep": ("rte_epochs_4_lr_0.0001_0", {"optim.lr": 1e-4, "epochs": 4}, {}),
}


@pytest.mark.parametrize("experiment", RUNS)
def test_every_experiment_varies_its_setting(experiment):
    name, finetuning, pretraining = RUNS[experiment]
    sweep = "optim.lr=1e-4,5e-4; epochs=2e0,4" if experiment == "sweep" else ""
    listed = runs(f"quick,{experiment}", sweep=sweep)
    needs = {job.name: job.needs for job in listed.jobs()}
    for run, settings in ((name, finetuning), (needs[name][0], pretraining)):
        found = flatten(listed.configs[run].to_dict())
        assert settings == {key: found[key] for key in settings}
    assert set(RUNS) == {*experiments.EXPERIMENTS, "sweep"}
    points = listed.cells["experiments"][experiment]["points"]
    assert {point["cell"] for point in points} == {
        name for name, run in listed.configs.items() if run.trainer == "finetune"
    }
    if experiment == "sweep":
        axes = {(point["variant"], point["value"]) for point in points}
        assert axes == set(itertools.product(("epochs_2", "epochs_4"), (1e-4, 5e-4)))


def test_points_of_equal_configurations_are_one_cell():
    listed = runs("quick,lm_coef,updates,depth,selection,layers_probe", tasks=("rte",), seeds=1)
    cells = {
        (name, point["value"]): point["cell"]
        for name, experiment in listed.cells["experiments"].items()
        for point in experiment["points"]
    }
    rate = listed.configs["rte_full_0"].optim.lr
    shared = ("updates", 6_000), ("depth", 3), ("selection", rate)
    assert {cells[key] for key in shared} == {"rte_full_0"}
    assert cells["lm_coef", 0.0] == "rte_no_aux_lm_0"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("optim.lr", "'optim.lr' is not NAME=VALUE,VALUE; write"),
        ("=3", "'=3' is not NAME=VALUE"),
        (";", "has 0 combinations, expected 1 to 1000"),
        ("epochs=" + ",".join(map(str, range(1001))), "has 1001 combinations"),
        ("epochs=2,2", "'epochs=2,2' repeats a name or a value"),
        ("epochs=2;epochs=3", "'epochs=3' repeats a name"),
        ("optim.rate=1", "'optim.rate' is no setting of config.finetune.*; name one"),
        ("pretrain.steps=1;pretrain.batch_size=2", "are settings of pretraining; vary one"),
        ("epochs=two", "or the setting '': not in config.finetune"),
        ("backend=a b", "config.variants: 'backend_a b' is not a name"),
        ("epochs=-1", "config.finetune.epochs: found -1, expected a whole number"),
    ],
)
def test_bad_sweep_is_refused_in_one_line(axes, message):
    with pytest.raises(UserError, match=message) as refusal:
        runs("quick,sweep", sweep=axes)
    assert "\n" not in str(refusal.value)


def test_nothing_to_run_is_refused():
    with pytest.raises(UserError, match="config.experiments: there is nothing to run; select"):
        runs("quick,sweep")
