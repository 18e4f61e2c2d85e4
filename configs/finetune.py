"""Finetune a pretrained run on one task (section 4.1 of the paper).

    gpt1 --config=configs/finetune.py:sst2,full --config.init.path=RUN --config.data.path=GLUE_DIR

The picks select a task, a variant (a row of Table 5, or frozen), a preset (the values of
config.published) and a recipe. The recipe world is for a model that was pretrained on the
microworld.

RUN is the folder of a pretraining run, which determines the model's sizes. GLUE_DIR holds the
tasks' folders (CoLA/, SST-2/, snli_1.0/, RACE/, ...). config.data.source=hub or tfds reads other
copies of the same rows.

Expected result of the paper's model, on the GLUE server: CoLA 45.4 (Matthews), SST-2 91.3, MRPC
82.3 (F1), STS-B 82.0 (Pearson), QQP 70.3 (F1), MNLI 82.1/81.4, QNLI 88.1 (version 1), RTE 56.0.
Elsewhere: SNLI 89.9, SciTail 88.3, RACE 59.0 (middle 62.9, high 57.4), Story Cloze 86.5. The GLUE
averages of Table 5 are 74.7 with the auxiliary loss (full) and 75.0 without it (no_aux_lm).
"""

from ml_collections import ConfigDict, config_dict

from configs import common
from gpt1_jax.registry import TASKS

# The trainable tasks. The first one is the default.
NAMES = ("sst2", *(name for name in TASKS if name != "sst2" and TASKS[name].trainable))
PICKS = {
    "task": NAMES,
    "variant": tuple(common.VARIANTS),
    "preset": tuple(common.PRESETS),
    "recipe": ("paper", "world"),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration for the picked task, variant, preset and recipe."""
    task, variant, preset, recipe = common.parse_arg(arg, PICKS)
    changes = common.VARIANTS[variant]
    config = ConfigDict()
    config.trainer = "finetune"
    config.task = task
    config.seed = 0  # of the fresh parameters, the order of the data and dropout
    config.epochs = 3  # passes over the training rows
    config.batch_size = 32  # examples per step, over all devices
    config.lm_coef = 0.5  # weight of the auxiliary LM loss; 0 saves its cost
    config.clf_dropout = 0.1  # before the classifier
    # Predict the score of a graded task (stsb) by squared error, instead of the published six bins.
    config.regression = False
    # Run the context of a choice once for all answers, with one dropout mask. The published system
    # runs it for each answer.
    config.share_prefix = True
    # Let short examples of a batch share rows, without attention between them, so that fewer tokens
    # are padding. Choices with a shared prefix have rows of their own.
    config.pack_rows = False
    config.backend = "pmap"  # or shard_map
    # Only compile the training step, for a machine that is not there (v5e:2x4, h100, h100:8, ...):
    # print what it needs, and stop.
    config.compile_for = ""
    config.model = common.as_pretrained(changes.get("model.name", "transformer"))
    config.optim = common.adam(
        lr=6.25e-5,  # the learning rate after the warmup; it then falls to 0
        warmup_fraction=0.002,  # share of the steps in which it rises
    )
    config.published = common.published(preset, common.QUIRKS + common.FINETUNING_QUIRKS)

    config.init = ConfigDict()
    config.init.path = ""  # the pretraining run
    # The transferred part: -1 nothing, 0 the embeddings, K the embeddings and the first K blocks.
    # By default all blocks.
    config.init.layers = config_dict.placeholder(int)
    config.init.frozen = False  # train only the parameters that are not transferred
    config.init.step = config_dict.placeholder(int)  # step of the checkpoint; by default the last

    config.data = ConfigDict()
    config.data.source = "files"  # files: the authors' distributions; or hub, tfds
    # files: the folder with the tasks' folders. hub: a local copy, "" for the hub itself. tfds: a
    # data_dir.
    config.data.path = ""
    config.data.test = True  # predict the test splits that are available
    # Train on so many rows, drawn by config.seed with the label frequencies of all; 0 uses all.
    config.data.examples = 0
    config.data.max_bad_rows = 0  # malformed rows of a split that are dropped with a warning

    config.checkpoint = common.checkpoint(every=1_000, keep=1)

    config.check = common.check()
    config.log = common.log(every=50)
    if recipe == "world":
        _configure_world(config)
    config.update_from_flattened_dict(changes)
    return config


def _configure_world(config: ConfigDict) -> None:
    """Set what a model that is pretrained on the microworld needs to learn its tasks in seconds."""
    common.without_dropout(config.model)
    config.epochs = 4
    config.batch_size = 16
    config.optim.lr = 7e-4  # a tiny model needs more than the paper's 6.25e-5
    config.optim.warmup_fraction = 0.1
