"""The paper's experiments, and four that it lacks, as one matrix of runs: pretrain each body once, finetune every cell, one report.

    python -m gpt1_jax.main --config=configs/ablations.py:quick --workdir=runs/exp_ablations
    python -m gpt1_jax.main --config=configs/ablations.py:paper --workdir=runs/exp_paper
    python -m gpt1_jax.main --config=configs/ablations.py:paper,table5 --config.seeds=5 --config.tasks="('rte','cola')" --workdir=...

Picks: a scale and, unless all of its experiments are wanted, some of: table5, main (Tables 2 to 4), transfer (Figure 2, left), zero_shot
(Figure 2, right), data_size, top, quirks, seeds. Flags change what all cells share (--config.finetune.epochs=1), one body's pretraining
(--config.pretrain.lstm.steps=1000), or an experiment (--config.experiments.transfer.tasks="('rte',)").

quick is the embedded world on two CPU cores, in minutes; what comes out is in the README. paper is the published recipe on published data
(books and tasks of the hub, or --config.corpus_path=DIR --config.tasks_path=DIR --config.finetune.data.source=files): Table 5's averages are 74.7
(full), 59.9, 75.0 and 69.1, on GLUE's test server.

A new study is a new generator: a function from a scale to the axes of its grid.
"""

from ml_collections import ConfigDict

from configs import common, finetune, pretrain, zero_shot
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

# In this order two processes that work side by side seldom compile the same program.
TABLE5 = ("full", "lstm", "no_aux_lm", "no_pretraining")
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")

# Finetuning without one of the published quirks, and without any.
FINETUNING = common.QUIRKS + common.FINETUNING_QUIRKS
QUIRKS = {f"no_{quirk}": {f"published.{quirk}": False} for quirk in FINETUNING}
QUIRKS["modern"] = {f"published.{quirk}": False for quirk in FINETUNING}

# What the experiments run on. `size` is that of configs/common.py; the others are tasks by what they are wanted for.
SCALES = {
    "quick": dict(
        size="tiny",
        experiments=("table5", "transfer", "zero_shot"),
        table=("cola", "sst2", "qnli", "rte"),
        curve=("qnli", "rte"),
        choice="story_cloze_2016",
        sizes=(250, 500, 1_000, 0),
    ),
    "paper": dict(
        size="gpt1",
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
        table=GLUE,
        curve=("race", "mnli"),
        choice="race",
        sizes=(1_000, 3_000, 10_000, 30_000, 100_000, 0),
    ),
}


def grid(
    variants: tuple[str, ...],
    tasks: tuple[str, ...],
    setting: str = "",
    levels: tuple[int, ...] = (),
    seeds: int = 0,
) -> ConfigDict:
    """The axes of an experiment: every variant, on every task, with every level of a setting of finetuning, with every seed.

    seeds=0 are those of config.seeds.
    """
    return ConfigDict(
        dict(variants=variants, tasks=tasks, setting=setting, levels=levels, seeds=seeds)
    )


def table5(scale: dict) -> ConfigDict:
    """Table 5: what pretraining, the auxiliary loss and the Transformer are worth."""
    return grid(TABLE5, scale["table"])


def main(scale: dict) -> ConfigDict:
    """Tables 2 to 4: the full model on every task that the hub has; Story Cloze, which has to be asked for, is there as files only."""
    return grid(("full",), tuple(task for task in finetune.NAMES if TASKS[task].hub))


def transfer(scale: dict) -> ConfigDict:
    """Figure 2, left: nothing, the embeddings, the embeddings and the first K blocks."""
    return grid(
        ("full",),
        scale["curve"],
        "init.layers",
        tuple(range(-1, common.SIZES[scale["size"]]["layers"] + 1)),
    )


def data_size(scale: dict) -> ConfigDict:
    """The auxiliary loss against the number of training examples: the paper says that larger data sets gain from it."""
    return grid(("full", "no_aux_lm"), scale["table"], "data.examples", scale["sizes"])


def top(scale: dict) -> ConfigDict:
    """A body that stays as it is, and one whose last block is drawn anew."""
    return grid(("full", "frozen", "reinit_last_block"), scale["table"])


def quirks(scale: dict) -> ConfigDict:
    """What each quirk of the published finetuning is worth: one at a time left out, then all; also where an example has several streams."""
    return grid(("full", *QUIRKS), (scale["table"][-1], scale["choice"]))


def seeds(scale: dict) -> ConfigDict:
    """How much a score owes to its seed."""
    return grid(("full", "no_aux_lm"), scale["table"][-2:], seeds=10)


EXPERIMENTS = {
    experiment.__name__: experiment
    for experiment in (table5, main, transfer, data_size, top, quirks, seeds)
}


def get_config(arg: str | None = None) -> ConfigDict:
    name, experiments = _picks(arg)
    scale = SCALES[name]
    config = ConfigDict()
    config.trainer = "ablate"
    config.seeds = 3  # runs of every cell: initialisation, order of the data and dropout
    config.tasks = ()  # only these of every experiment's
    config.shard = "1/1"  # this machine's share of the runs, such as 3/8
    config.workers = (
        0  # processes on this machine; 0 is one for each CPU core, and a single one on accelerators
    )
    config.estimate_cost = (
        False  # print what would be run, and how long it would take on this device
    )

    config.corpus_path = ""  # what every pretraining reads, as its data.path; "" is the embedded world's novels, or the corpus's own place
    config.tasks_path = ""  # where the tasks are, as data.path of finetuning and probing; "" is the embedded world, or the hub
    config.pretrained = ConfigDict(
        {body: "" for body in common.BODIES}
    )  # a finished pretraining run to take
    config.world = ConfigDict(
        dict(words=300_000 if name == "quick" else 0, train=1_500, dev=500, seed=0)
    )  # the embedded one, unless words=0

    config.pretrain = ConfigDict(
        {body: pretrain.get_config(f"{scale['size']},{body}") for body in common.BODIES}
    )
    config.finetune = finetune.get_config("sst2")
    del config.finetune.model, config.finetune.task, config.finetune.seed  # each cell's own
    config.bodies = ConfigDict(
        {body: common.as_pretrained(body) for body in common.BODIES}
    )  # config.finetune's model section, of each body
    config.zero_shot = zero_shot.get_config()
    config.zero_shot_bodies = (
        tuple(common.BODIES) if "zero_shot" in experiments else ()
    )  # bodies whose checkpoints are probed

    config.variants = ConfigDict(
        {variant: _nested(changes) for variant, changes in common.VARIANTS.items()}
    )
    config.variants.reinit_last_block = _nested(
        {"init.layers": common.SIZES[scale["size"]]["layers"] - 1}
    )
    for variant, changes in QUIRKS.items():
        config.variants[variant] = _nested(changes)
    config.experiments = ConfigDict(
        {
            experiment: EXPERIMENTS[experiment](scale)
            for experiment in experiments
            if experiment in EXPERIMENTS
        }
    )
    for section in (config.finetune, config.zero_shot):
        del section.init.path, section.data.path  # the same for all: see above
    for body in config.pretrain.values():
        del body.data.path
    _quick(config) if name == "quick" else _paper(config)
    return config


def _picks(arg: str | None) -> tuple[str, tuple[str, ...]]:
    picks = [pick for pick in (arg or "").split(",") if pick]
    scales = [pick for pick in picks if pick in SCALES]
    wanted = tuple(dict.fromkeys(pick for pick in picks if pick not in SCALES))
    known = (*EXPERIMENTS, "zero_shot")
    if len(scales) > 1:
        raise UserError(f"--config: {scales[0]!r} and {scales[1]!r} exclude each other")
    for pick in wanted:
        if pick not in known:
            raise UserError(
                f"--config: {pick!r} is not one of: {', '.join(SCALES)}; {', '.join(known)}"
            )
    scale = scales[0] if scales else "quick"
    return scale, wanted or SCALES[scale]["experiments"]


def _nested(changes: dict) -> ConfigDict:
    nested = {}
    for name, value in changes.items():
        section, _, setting = name.rpartition(".")
        nested.setdefault(section, {})[setting] = value
    return ConfigDict(nested.pop("", {}) | nested)


def _paper(config: ConfigDict):
    for body in config.pretrain.values():
        body.data.corpus = "bookcorpusopen"
    config.finetune.data.source = config.zero_shot.data.source = "hub"


def _quick(config: ConfigDict):
    """So small a model wants many small updates: what a sentence tells of an invented word is learnt per update, not per token."""
    for body in config.pretrain.values():
        _still(body.model)
        body.steps = 4_500
        body.model.context = (
            32  # the world's sentences are short, and nearby words are found sooner among few
        )
        body.batch_size = 8
        body.optim.lr = 2e-3
        body.optim.warmup_steps = 300
        body.tokenizer.vocab_size = 800
        body.data.validation = 0.05
        body.eval.every = body.checkpoint.every = 1_500
        body.log.every = 100
    for model in config.bodies.values():
        _still(model)
    config.finetune.data.test = False  # the world's labels of test rows are hidden, too
    config.finetune.epochs = 2
    config.finetune.batch_size = 16
    config.finetune.optim.lr = 5e-4  # a tiny model wants more than the paper's 6.25e-5
    config.finetune.optim.warmup_fraction = 0.1
    config.finetune.lm_coef = (
        0.1  # at the paper's 0.5 so short a run learns the sentences before the task
    )
    config.zero_shot.data.examples = 200
    config.zero_shot.sst2.words = ("bad", "good")  # as that world says it
    for task in config.zero_shot.ceilings:
        config.zero_shot.ceilings[task] = 1.0  # of a reader who knows all its facts


def _still(model: ConfigDict):
    """No dropout: the world is larger than what so few updates could learn by heart."""
    for name in model:
        if name.endswith("dropout"):
            model[name] = 0.0
