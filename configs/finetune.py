"""Finetuning of a pretrained run on one task (section 4.1 of the paper).

    python -m gpt1_jax.main --config=configs/finetune.py:sst2,full --config.init.path=runs/exp_books --config.data.path=GLUE_DIR

Picks: a task (cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli, snli, scitail, race, race_middle, race_high, story_cloze_2016,
story_cloze_2018), a variant: those of Table 5 (full, no_pretraining, no_aux_lm, lstm), or frozen; and a preset of config.published
(published, modern, huggingface). Sizes are those of the pretrained
run; GLUE_DIR holds the tasks' folders (CoLA/, SST-2/, snli_1.0/, RACE/, ...). config.data.source=hub or tfds reads other copies of the
same rows.

Of the paper's model, on the GLUE server: CoLA 45.4 (Matthews), SST-2 91.3, MRPC 82.3 (F1), STS-B 82.0 (Pearson), QQP 70.3 (F1),
MNLI 82.1/81.4, QNLI 88.1 (version 1), RTE 56.0; elsewhere: SNLI 89.9, SciTail 88.3, RACE 59.0 (middle 62.9, high 57.4), Story Cloze 86.5.
With the auxiliary loss (full) or without it (no_aux_lm) the GLUE averages of Table 5 are 74.7 and 75.0.
"""

from ml_collections import ConfigDict, config_dict

from configs import common
from gpt1_jax.registry import TASKS

# The default first; every task of the page that can be trained is a pick.
NAMES = ("sst2", *(name for name in TASKS if name != "sst2" and TASKS[name].trainable))


def get_config(arg: str | None = None) -> ConfigDict:
    task, variant, preset = common.parse_arg(
        arg, NAMES, tuple(common.VARIANTS), tuple(common.PRESETS)
    )
    changes = common.VARIANTS[variant]
    config = ConfigDict()
    config.trainer = "finetune"
    config.task = task
    config.seed = 0
    config.epochs = 3
    config.batch_size = 32  # examples an update, over all devices
    config.lm_coef = 0.5  # weight of the auxiliary language model loss; 0 drops it and its cost
    config.clf_dropout = 0.1
    config.regression = False  # graded tasks (stsb): predict the score itself, by squared error, instead of the published six bins
    config.share_prefix = True  # a choice's context is run once for all answers, and dropped out once; False as published
    config.backend = "pmap"  # or shard_map
    config.model = common.as_pretrained(changes.get("model.name", "transformer"))
    config.optim = common.adam(lr=6.25e-5, warmup_fraction=0.002)
    config.published = common.published(preset, common.QUIRKS + common.FINETUNING_QUIRKS)

    config.init = ConfigDict()
    config.init.path = ""  # the pretraining run
    config.init.layers = config_dict.placeholder(
        int
    )  # -1 nothing, 0 the embeddings, K also the first K blocks; all by default
    config.init.frozen = False  # what is transferred stays as it is; only the rest is trained
    config.init.step = config_dict.placeholder(int)  # the update to start from; the last by default

    config.data = ConfigDict()
    config.data.source = "files"  # as the authors distribute them; or hub, tfds
    config.data.path = ""  # files: the folder with the tasks' folders. hub: a local copy, empty for the hub itself. tfds: a data_dir
    config.data.test = True  # predict the test splits, where they are there
    config.data.examples = 0  # the first so many training rows; 0 is all
    config.data.max_bad_rows = (
        0  # malformed rows that are dropped with a warning before the run stops
    )

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 1_000
    config.checkpoint.keep = 1

    config.log = ConfigDict()
    config.log.every = 50
    config.update_from_flattened_dict(changes)
    return config
