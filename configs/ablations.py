"""Run the paper's experiments, and further ones, as one grid of runs with one report.

    gpt1 --config=configs/ablations.py:quick --workdir=runs/exp_ablations
    gpt1 --config=configs/ablations.py:paper --workdir=runs/exp_paper
    gpt1 --config=configs/ablations.py:paper,table5 --config.seeds=5 --workdir=runs/exp_paper

Each pretraining is run with several seeds. Then every cell of the grid is finetuned, with seed s
from the pretraining run of seed s mod n.

The picks select a scale, and any number of experiments (by default those of the scale): table5,
main (Tables 2 to 4), transfer (Figure 2, left), zero_shot (Figure 2, right), and further ones. The
experiment sweep has the axes of --config.sweep.

Flags change all cells (--config.finetune.epochs=1), the pretraining of one body
(--config.pretrain.lstm.steps=1000), the tasks (--config.tasks="('rte','cola')"), or an experiment
(--config.experiments.transfer.tasks="('rte',)"). --config.sweep="optim.lr=1e-4,5e-4;epochs=2,4"
adds an experiment: the product of these axes on config.sweep_tasks.

quick takes minutes on the microworld and two CPU cores; the README has its result. paper is the
published recipe on published data: books and tasks of the hub, or --config.corpus_path=DIR
--config.tasks_path=DIR --config.finetune.data.source=files.

Expected result of paper: the averages of Table 5 are 74.7 (full), 59.9, 75.0 and 69.1 on the GLUE
test server.

A new experiment is a new function in configs/experiments.py; configs/variants.py has the variants
and the pretrainings, configs/scales.py the scales.
"""

from ml_collections import ConfigDict

from configs import common, finetune, pretrain, variants, zero_shot
from configs.experiments import EXPERIMENTS
from configs.scales import SCALES
from gpt1_jax.errors import UserError

PICKS = {"scale": tuple(SCALES), "experiments": (*EXPERIMENTS, "zero_shot", "sweep")}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration for the selected scale and experiments."""
    name, experiments = _parse_arg(arg)
    scale = SCALES[name]
    config = ConfigDict()
    config.trainer = "ablate"
    config.seeds = 3  # number of seeds; a seed sets fresh parameters, data order and dropout
    config.pretraining_seeds = scale["pretraining_seeds"]  # number of runs of each pretraining
    config.tasks = ()  # restrict every experiment to these tasks
    config.sweep = ""  # axes of an experiment: "optim.lr=1e-4,5e-4;epochs=2,4"
    config.sweep_tasks = scale["table_tasks"]
    config.shard = "1/1"  # the runs of this machine, such as 3/8
    config.workers = 0  # processes on this machine; 0: one per CPU core, or one on accelerators
    config.estimate_cost = False  # print the runs and their time on this device, and stop
    config.compile_for = ""  # with estimate_cost: their least time on another machine, such as h100

    # data.path of every pretraining run; "" for the microworld's novels or the hub.
    config.corpus_path = ""
    # data.path of finetuning and probing; "" for the microworld's tasks or the hub.
    config.tasks_path = ""
    config.pretrainings = variants.pretrainings(scale)
    # Finished runs to use, one or several, instead of the runs of a pretraining.
    config.pretrained = ConfigDict({name: () for name in config.pretrainings})
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
    # The pretrainings whose checkpoints are probed.
    config.probed_pretrainings = tuple(common.BODIES) if "zero_shot" in experiments else ()

    config.variants = variants.variants(scale)
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


def _configure_hub(config: ConfigDict) -> None:
    """Read books and tasks from the hub."""
    for body in config.pretrain.values():
        body.data.corpus = "bookcorpusopen"
    config.finetune.data.source = config.zero_shot.data.source = "hub"


def _configure_world(config: ConfigDict) -> None:
    """Leave out what the microworld does not need."""
    for model in config.bodies.values():
        common.without_dropout(model)
    config.zero_shot.data.examples = 200
