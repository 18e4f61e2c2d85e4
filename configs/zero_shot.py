"""Probe a pretraining run without finetuning (section 5 of the paper, Figure 2 right).

    gpt1 --config=configs/zero_shot.py --config.init.path=RUN --config.data.path=GLUE_DIR

The pick `world` selects the words and the ceilings of the microworld.
RUN is the folder of a pretraining run. Every checkpoint that it has kept is probed. The language
model answers by the paper's heuristics:

    cola                    average log-probability of the sentence's tokens, and a threshold
    sst2                    "positive" or "negative" after the sentence and "very"
    race, story_cloze_*     average log-probability of the answer's tokens
    dprd                    average log-probability of the rest of the sentence, with each candidate
                            in place of the pronoun

GLUE_DIR holds CoLA/, SST-2/, RACE/, StoryCloze/ and definite_pronoun_resolution/, as for
configs/finetune.py. checkpoint.keep_steps of the pretraining run determines the checkpoints;
zero_shot_steps in gpt1_jax/analysis/report/paper.py gives the steps of the figure.

Expected relative performance (0 is chance, 1 the best model of its time) after the last step of the
paper's figure: sentiment 0.68, Winograd 0.55, acceptability 0.44, QA 0.25. The LSTM has 0.49,
0.26, 0.37 and 0.02.
"""

from ml_collections import ConfigDict

from configs import common
from gpt1_jax.datasets.tasks import probed_tasks
from gpt1_jax.registry import TASKS

PICKS = {"recipe": ("paper", "world")}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration of the probes for the picked recipe."""
    (recipe,) = common.parse_arg(arg, PICKS)
    config = ConfigDict()
    config.trainer = "zero_shot"
    config.tasks = ()  # by default all tasks with a probe whose data is available
    config.batch_size = 32  # token streams per batch, over all devices
    config.backend = "pmap"  # or shard_map
    # The opening of every text. "newline": its token, as before each paragraph of a novel. "none":
    # no opening, and the first token of a text is not scored. Other values: that text. The start
    # token of finetuning is not allowed, because pretraining does not use it.
    config.start = "newline"

    options = TASKS["sst2"].probe.options
    config.sst2 = ConfigDict()
    config.sst2.append = options["append"]  # text after the sentence
    config.sst2.words = options["words"]  # the scored words, in the order of the labels

    # The score that counts as 1 in relative performance. datasets/tasks.py gives the sources.
    config.ceilings = ConfigDict({name: TASKS[name].probe.ceiling for name in probed_tasks()})

    config.init = ConfigDict()
    config.init.path = ""  # the pretraining run

    config.data = ConfigDict()
    config.data.source = "files"  # files: the authors' distributions; or hub, tfds
    config.data.path = ""  # as for configs/finetune.py
    # Use so many rows of every split, drawn with the label frequencies of all; 0 uses all.
    config.data.examples = 0
    config.data.max_bad_rows = 0  # malformed rows of a split that are dropped with a warning
    if recipe == "world":
        config.sst2.append = ", very"
        config.sst2.words = ("bad", "good")  # negative and positive in the microworld
        for task in config.ceilings:
            config.ceilings[task] = 1.0  # the score of a reader who knows all of its facts
    return config
