"""Pretrain a language model on books (sections 3.1 and 4.1 of the paper).

    gpt1 --config=configs/pretrain.py:gpt1 --config.data.path=DIR
    gpt1 --config=configs/pretrain.py:tiny,lstm --config.data.path=DIR

    gpt1 --config=configs/pretrain.py --config.data.corpus=hub --config.data.path=OWNER/NAME
    gpt1 --config=configs/pretrain.py --config.data.corpus=mixture --config.data.path=MIXTURE

The picks select, in any order:
    a size    gpt1, small, tiny, world (the recipe for the microworld)
    a body    transformer, lstm
    a preset  published, modern, huggingface (the values of config.published)

DIR holds .txt, .jsonl or .parquet files. OWNER/NAME is a data set of the hub. MIXTURE gives the
weights of corpora, such as "0.7*text:DIR,0.3*pg19:".

Expected result of gpt1, the paper's run with 960,000 steps of 64 x 512 tokens: perplexity 18.4 on
BooksCorpus. small and tiny are for little hardware and little text.
"""

from ml_collections import ConfigDict

from configs import common

# A small post-LN model needs a long warmup. With the paper's warmup and learning rate, scaled down
# in proportion, it learns nothing.
SETTINGS = {
    "gpt1": dict(
        steps=960_000, batch_size=64, lr=2.5e-4, warmup_steps=2_000, vocab_size=40_478, every=2_000
    ),
    "small": dict(
        steps=20_000, batch_size=32, lr=5e-4, warmup_steps=1_000, vocab_size=8_000, every=500
    ),
    "tiny": dict(
        steps=2_000, batch_size=16, lr=1e-3, warmup_steps=200, vocab_size=4_000, every=200
    ),
    # Many small steps: progress on the invented words depends on the number of steps more than on
    # the number of tokens.
    "world": dict(
        steps=4_500, batch_size=8, lr=2e-3, warmup_steps=300, vocab_size=800, every=1_500
    ),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration for the picked size, body and preset."""
    size, body, preset = common.parse_arg(
        arg, tuple(common.SIZES), tuple(common.BODIES), tuple(common.PRESETS)
    )
    settings = SETTINGS[size]
    config = ConfigDict()
    config.trainer = "pretrain"
    config.seed = 0
    config.steps = settings["steps"]
    config.batch_size = settings["batch_size"]  # windows of model.context tokens, over all devices
    config.backend = "pmap"  # or shard_map
    # Only compile the training step, for a machine that is not there (v5e:2x4, h100, h100:8, ...):
    # print what it needs, and stop.
    config.compile_for = ""
    config.model = common.model(body, size)
    config.optim = common.adam(lr=settings["lr"], warmup_steps=settings["warmup_steps"])
    config.published = common.published(preset, common.QUIRKS + common.PRETRAINING_QUIRKS)

    config.data = ConfigDict()
    config.data.corpus = "text"  # or bookcorpusopen, hub, pg19, lm1b, mixture
    config.data.path = ""  # its meaning depends on the corpus: see gpt1_jax/datasets/corpora.py
    config.data.column = "text"  # field of .jsonl, .parquet and hub data sets that holds the text
    # Join the hard-wrapped lines of paragraphs that blank lines separate (Project Gutenberg).
    config.data.rewrap_lines = False
    config.data.validation = 0.01  # fraction of the documents that is held out
    config.data.cache = "~/.cache/gpt1_jax"  # tokenizers and token ids, shared by runs

    config.tokenizer = ConfigDict()
    config.tokenizer.vocab_size = settings["vocab_size"]  # 40,478 gives 40,000 merges
    config.tokenizer.path = ""  # a tokenizer.json to use instead of a new tokenizer

    config.eval = ConfigDict()
    config.eval.every = settings["every"]
    config.eval.windows = 512  # windows of the held-out documents to evaluate on
    config.eval.sample = 64  # tokens to generate at every evaluation; 0 generates none

    config.checkpoint = ConfigDict()
    config.checkpoint.every = settings["every"]
    config.checkpoint.minutes = 0.0  # save after so many minutes, too; 0 saves by steps only
    config.checkpoint.keep = 2
    config.checkpoint.keep_steps = ()  # never delete these checkpoints, such as (1000, 2000)
    # What a finished run keeps. params: the parameters of the last checkpoint, of the best one and
    # of keep_steps; the optimizer's state takes two thirds of a checkpoint. all: everything.
    config.checkpoint.finished = "params"

    config.check = common.check()

    config.log = ConfigDict()
    config.log.every = 100 if size in ("gpt1", "world") else 20
    # Write a trace of these steps, the first and the last, to tb/: (100, 110). () writes none.
    config.log.profile = ()
    if size == "world":
        common.without_dropout(config.model)
        config.data.validation = 0.05
    return config
