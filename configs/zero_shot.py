"""Zero-shot probes of a pretraining run at every checkpoint that it has kept (section 5 of the paper, Figure 2 right).

    python -m gpt1_jax.main --config=configs/zero_shot.py --config.init.path=runs/exp_books --config.data.path=GLUE_DIR

The language model answers without any finetuning, by the paper's heuristics. cola: the average log-probability of the sentence's tokens,
and a threshold. sst2: "positive" or "negative" after "very". race, story_cloze: the average of the answer's tokens. dprd: that of the
rest of the sentence after each candidate in the pronoun's place. GLUE_DIR holds CoLA/, SST-2/, RACE/, StoryCloze/ and
definite_pronoun_resolution/, as for configs/finetune.py. Which checkpoints there are is for the pretraining run's checkpoint.keep_steps
to say; gpt1_jax/analysis/report/milestones.py has the updates of the figure.

After the last update, relative to chance (0) and the best model of its time (1), the paper's figure shows: sentiment 0.68, Winograd 0.55,
acceptability 0.44, QA 0.25; the LSTM 0.49, 0.26, 0.37, 0.02. In the embedded world sst2.words are ('bad','good').
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.trainer = "zero_shot"
    config.tasks = ()  # cola, sst2, race, dprd, story_cloze_2016, story_cloze_2018; by default those of them whose data is there
    config.batch_size = 32  # token streams at a time, over all devices
    config.backend = "pmap"  # or shard_map
    # What opens every text: the token of the newline, as before each paragraph of a novel; "none", so that the first token of a text is not
    # scored; or any other text. Never the start token of finetuning, which pretraining does not know.
    config.start = "newline"

    config.sst2 = ConfigDict()
    config.sst2.append = "very"  # what follows the sentence, as published
    config.sst2.words = (
        "negative",
        "positive",
    )  # which word follows that, in the order of the labels, as published

    # What counts as 1 in relative performance. The paper means the best single model of its time and prints no figures for the curves.
    config.ceilings = ConfigDict()
    config.ceilings.cola = 0.350  # Matthews; single-task BiLSTM+ELMo+Attn, Table 4
    config.ceilings.sst2 = 0.932  # sparse byte mLSTM, Table 4
    config.ceilings.race = 0.533  # BiAttention MRU (an ensemble of nine), Table 3
    config.ceilings.dprd = 0.764  # Peng et al. 2015; not in the paper, cited from memory (Rahman and Ng 2012 report 0.7305)
    config.ceilings.story_cloze_2016 = 0.776  # Hidden Coherence Model, Table 3
    config.ceilings.story_cloze_2018 = 0.776  # the same: the paper knows the files of 2016 only

    config.init = ConfigDict()
    config.init.path = ""  # the pretraining run, of either body

    config.data = ConfigDict()
    config.data.source = "files"  # as the authors distribute them; or hub, tfds
    config.data.path = ""  # as for configs/finetune.py
    config.data.examples = 0  # the first so many rows of every split; 0 is all
    config.data.max_bad_rows = (
        0  # malformed rows of a split that are dropped with a warning before the run stops
    )
    return config
