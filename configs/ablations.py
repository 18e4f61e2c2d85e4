"""Run the paper's experiments, and four further ones, as one grid of runs with one report.

    gpt1 --config=configs/ablations.py:quick --workdir=runs/exp_ablations
    gpt1 --config=configs/ablations.py:paper --workdir=runs/exp_paper
    gpt1 --config=configs/ablations.py:paper,table5 --config.seeds=5 --workdir=runs/exp_paper

Each pretraining is run with several seeds. Then every cell of the grid is finetuned, with seed s
from the pretraining run of seed s mod n.

The picks select a scale, and any number of experiments (by default those of the scale): table5,
main (Tables 2 to 4), transfer (Figure 2, left), zero_shot (Figure 2, right), and further ones.

Flags change all cells (--config.finetune.epochs=1), the pretraining of one body
(--config.pretrain.lstm.steps=1000), the tasks (--config.tasks="('rte','cola')"), or an experiment
(--config.experiments.transfer.tasks="('rte',)").

quick takes minutes on the microworld and two CPU cores; the README has its result. paper is the
published recipe on published data: books and tasks of the hub, or --config.corpus_path=DIR
--config.tasks_path=DIR --config.finetune.data.source=files.

Expected result of paper: the averages of Table 5 are 74.7 (full), 59.9, 75.0 and 69.1 on the GLUE
test server.

A new experiment is a new function in FUNCTIONS: it returns the axes of a grid for a scale.
"""

from ml_collections import ConfigDict

from configs import common, finetune, pretrain, zero_shot
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

# In this order, two processes that work side by side seldom compile the same step.
TABLE5 = ("full", "lstm", "no_aux_lm", "no_pretraining")
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")

# Variants without one of the published quirks, and without any.
_QUIRK_NAMES = common.QUIRKS + common.FINETUNING_QUIRKS
QUIRKS = {f"no_{quirk}": {f"published.{quirk}": False} for quirk in _QUIRK_NAMES}
QUIRKS["modern"] = {f"published.{quirk}": False for quirk in _QUIRK_NAMES}

# Pretraining -> its body, and its difference from the recipe of the body.
PRETRAININGS = {body: (body, {}) for body in common.BODIES}

# Scale -> its settings:
#   size            a size of configs/common.py
#   recipe          a recipe of configs/finetune.py and configs/zero_shot.py
#   experiments     the default experiments
#   pretraining_seeds   the default number of runs of each pretraining
#   table_tasks     the tasks of most experiments
#   curve_tasks     the tasks of Figure 2, left
#   choice_task     a task with several streams per example
#   training_rows   the numbers of training examples of data_size; 0 is all
SCALES = {
    "quick": dict(
        size="world",
        recipe="world",
        pretraining_seeds=3,
        experiments=("table5", "transfer", "zero_shot"),
        table_tasks=("cola", "sst2", "qnli", "rte"),
        curve_tasks=("qnli", "rte"),
        choice_task="story_cloze_2016",
        training_rows=(250, 500, 1_000, 0),
    ),
    "paper": dict(
        size="gpt1",
        recipe="paper",
        pretraining_seeds=1,
        experiments=(
            "table5",
            "main",
            "transfer",
            "zero_shot",
            "data_size",
            "top",
            "quirks",
            "seeds",
        ),
        table_tasks=GLUE,
        curve_tasks=("race", "mnli"),
        choice_task="race",
        training_rows=(1_000, 3_000, 10_000, 30_000, 100_000, 0),
    ),
}


def grid(
    variants: tuple[str, ...],
    tasks: tuple[str, ...],
    setting: str = "",
    levels: tuple[int, ...] = (),
    seeds: int = 0,
) -> ConfigDict:
    """Return the axes of an experiment, which has one point for each combination of their values.

    Args:
        variants: the variants.
        tasks: the tasks.
        setting: a setting of finetuning, such as "init.layers"; "" varies none.
        levels: the values of the setting.
        seeds: the number of seeds; 0 stands for config.seeds.
    """
    return ConfigDict(
        dict(variants=variants, tasks=tasks, setting=setting, levels=levels, seeds=seeds)
    )


def table5(scale: dict) -> ConfigDict:
    """Measure what pretraining, the auxiliary loss and the Transformer are worth (Table 5)."""
    return grid(TABLE5, scale["table_tasks"])


def main(scale: dict) -> ConfigDict:
    """Evaluate the full model on every task of the hub (Tables 2 to 4).

    Story Cloze is not among them: it exists as files only, which its authors send on request.
    """
    return grid(("full",), tuple(task for task in finetune.NAMES if TASKS[task].hub))


def transfer(scale: dict) -> ConfigDict:
    """Transfer nothing, the embeddings, or embeddings and the first K blocks (Figure 2, left)."""
    layers = common.SIZES[scale["size"]]["layers"]
    return grid(("full",), scale["curve_tasks"], "init.layers", tuple(range(-1, layers + 1)))


def data_size(scale: dict) -> ConfigDict:
    """Measure the effect of the auxiliary loss for several numbers of training examples.

    The paper says that larger data sets benefit from the auxiliary loss.
    """
    return grid(
        ("full", "no_aux_lm"), scale["table_tasks"], "data.examples", scale["training_rows"]
    )


def top(scale: dict) -> ConfigDict:
    """Compare the full model with a frozen body, and with a last block that is fresh."""
    return grid(("full", "frozen", "reinit_last_block"), scale["table_tasks"])


def quirks(scale: dict) -> ConfigDict:
    """Measure the quirks of the published finetuning: leave out each of them, then all.

    The choice task is included because some quirks concern only examples with several streams.
    """
    return grid(("full", *QUIRKS), (scale["table_tasks"][-1], scale["choice_task"]))


def seeds(scale: dict) -> ConfigDict:
    """Measure how much a score depends on its seed."""
    return grid(("full", "no_aux_lm"), scale["table_tasks"][-2:], seeds=10)


FUNCTIONS = (table5, main, transfer, data_size, top, quirks, seeds)
EXPERIMENTS = {function.__name__: function for function in FUNCTIONS}
PICKS = {"scale": tuple(SCALES), "experiments": (*EXPERIMENTS, "zero_shot")}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration for the selected scale and experiments."""
    name, experiments = _parse_arg(arg)
    scale = SCALES[name]
    config = ConfigDict()
    config.trainer = "ablate"
    config.seeds = 3  # number of seeds; a seed sets fresh parameters, data order and dropout
    config.pretraining_seeds = scale["pretraining_seeds"]  # number of runs of each pretraining
    config.tasks = ()  # restrict every experiment to these tasks
    config.shard = "1/1"  # the runs of this machine, such as 3/8
    config.workers = 0  # processes on this machine; 0: one per CPU core, or one on accelerators
    config.estimate_cost = False  # print the runs and their time on this device, and stop
    config.compile_for = ""  # with estimate_cost: their least time on another machine, such as h100

    # data.path of every pretraining run; "" for the microworld's novels or the hub.
    config.corpus_path = ""
    # data.path of finetuning and probing; "" for the microworld's tasks or the hub.
    config.tasks_path = ""
    # Finished runs to use, one or several, instead of the runs of a pretraining.
    config.pretrained = ConfigDict({name: () for name in PRETRAININGS})
    words = 300_000 if name == "quick" else 0
    # The size of the microworld; words=0 for none.
    config.world = ConfigDict(dict(words=words, train=1_500, dev=500, seed=0))

    config.pretrain = ConfigDict(
        {body: pretrain.get_config(f"{scale['size']},{body}") for body in common.BODIES}
    )
    config.finetune = finetune.get_config(f"sst2,{scale['recipe']}")
    del config.finetune.model, config.finetune.task, config.finetune.seed  # set for each cell
    # config.finetune.model of each body.
    config.bodies = ConfigDict({body: common.as_pretrained(body) for body in common.BODIES})
    config.zero_shot = zero_shot.get_config(scale["recipe"])
    config.pretrainings = ConfigDict(
        {
            name: dict(body=body, changes=_nested(changes))
            for name, (body, changes) in PRETRAININGS.items()
        }
    )
    # The pretrainings whose checkpoints are probed.
    config.probed_pretrainings = tuple(common.BODIES) if "zero_shot" in experiments else ()

    config.variants = ConfigDict(_variants(scale))
    config.experiments = ConfigDict(
        {
            experiment: EXPERIMENTS[experiment](scale)
            for experiment in experiments
            if experiment in EXPERIMENTS
        }
    )
    for section in (config.finetune, config.zero_shot):
        del section.init.path, section.data.path  # the same for all runs: see above
    for body in config.pretrain.values():
        del body.data.path
    for section in (config.finetune, *config.pretrain.values()):
        del section.compile_for
    if scale["recipe"] == "world":
        _configure_world(config)
    else:
        _configure_hub(config)
    return config


def _parse_arg(arg: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the scale and the experiments. Raise UserError for a name that is neither."""
    names = [name for name in (arg or "").split(",") if name]
    scales = [name for name in names if name in SCALES]
    experiments = tuple(dict.fromkeys(name for name in names if name not in SCALES))
    if len(scales) > 1:
        raise UserError(f"--config: {scales[0]!r} and {scales[1]!r} exclude each other")
    for name in experiments:
        if name not in PICKS["experiments"]:
            raise common.unknown_pick(name, PICKS)
    scale = scales[0] if scales else "quick"
    return scale, experiments or SCALES[scale]["experiments"]


def _variants(scale: dict) -> dict[str, ConfigDict]:
    """Return variant -> its difference from the full model, as nested sections."""
    last_block = common.SIZES[scale["size"]]["layers"] - 1
    changes = common.VARIANTS | {"reinit_last_block": {"init.layers": last_block}} | QUIRKS
    return {variant: _nested(flat) for variant, flat in changes.items()}


def _nested(changes: dict) -> ConfigDict:
    """Return the settings {"section.name": value} as sections."""
    nested = ConfigDict()
    for name, value in changes.items():
        section, _, setting = name.rpartition(".")
        if section and section not in nested:
            nested[section] = ConfigDict()
        (nested[section] if section else nested)[setting] = value
    return nested


def _configure_hub(config: ConfigDict) -> None:
    """Read books and tasks from the hub."""
    for body in config.pretrain.values():
        body.data.corpus = "bookcorpusopen"
    config.finetune.data.source = config.zero_shot.data.source = "hub"


def _configure_world(config: ConfigDict) -> None:
    """Leave out what the microworld does not need."""
    for model in config.bodies.values():
        common.without_dropout(model)
    config.finetune.data.test = False  # the microworld hides the labels of its test rows, too
    config.zero_shot.data.examples = 200
