"""Pretrain a language model on books (sections 3.1 and 4.1 of the paper).

    gpt1 --config=configs/pretrain.py:gpt1 --config.data.path=DIR
    gpt1 --config=configs/pretrain.py:tiny,lstm --config.data.path=DIR

    gpt1 --config=configs/pretrain.py --config.data.corpus=hub --config.data.path=OWNER/NAME
    gpt1 --config=configs/pretrain.py --config.data.corpus=mixture --config.data.path=MIXTURE

The picks select a size, a body and a preset (the values of config.published). The size world is
the recipe for the microworld.

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
        steps=6_000, batch_size=8, lr=1.5e-3, warmup_steps=300, vocab_size=1_000, every=2_000
    ),
}
PICKS = {
    "size": tuple(common.SIZES),
    "body": tuple(common.BODIES),
    "preset": tuple(common.PRESETS),
}


def get_config(arg: str | None = None) -> ConfigDict:
    """Return the configuration for the picked size, body and preset."""
    size, body, preset = common.parse_arg(arg, PICKS)
    settings = SETTINGS[size]
    config = ConfigDict()
    config.trainer = "pretrain"
    config.seed = 0  # of the fresh parameters, the order of the data and dropout
    config.steps = settings["steps"]  # updates of the parameters
    config.batch_size = settings["batch_size"]  # windows of model.context tokens, over all devices
    config.backend = "pmap"  # or shard_map
    # Only compile the training step, for a machine that is not there (v5e:2x4, h100, h100:8, ...):
    # print what it needs, and stop.
    config.compile_for = ""
    config.model = common.model(body, size)
    config.optim = common.adam(
        lr=settings["lr"],  # the learning rate after the warmup; it then falls to 0
        warmup_steps=settings["warmup_steps"],  # steps in which it rises
    )
    config.published = common.published(preset, common.QUIRKS + common.PRETRAINING_QUIRKS)

    config.data = ConfigDict()
    config.data.corpus = "text"  # or bookcorpusopen, hub, pg19, lm1b, mixture
    config.data.path = ""  # its meaning depends on the corpus: see gpt1_jax/datasets/corpora.py
    config.data.column = "text"  # field of .jsonl, .parquet and hub data sets that holds the text
    # Join the hard-wrapped lines of paragraphs that blank lines separate (Project Gutenberg).
    config.data.rewrap_lines = False
    config.data.shuffle_sentences = False  # train on sentences in random order
    config.data.validation = 0.01  # fraction of the documents that is held out
    config.data.cache = "~/.cache/gpt1_jax"  # tokenizers and token ids, shared by runs

    config.tokenizer = ConfigDict()
    config.tokenizer.vocab_size = settings["vocab_size"]  # 40,478 gives 40,000 merges
    config.tokenizer.path = ""  # a tokenizer.json to use instead of a new tokenizer

    config.eval = ConfigDict()
    config.eval.every = settings["every"]  # evaluate after so many steps
    config.eval.windows = 512  # windows of the held-out documents to evaluate on
    config.eval.sample = 64  # tokens to generate at every evaluation; 0 generates none

    config.checkpoint = common.checkpoint(every=int(settings["every"]), keep=2)
    config.checkpoint.keep_steps = ()  # never delete these checkpoints, such as (1000, 2000)

    config.check = common.check()
    config.log = common.log(every=100 if size in ("gpt1", "world") else 20)
    if size == "world":
        common.without_dropout(config.model)
        config.data.validation = 0.05
        if body == "lstm":
            config.optim.lr = 2e-3  # with the Transformer's rate it learns no fact in these steps
    return config
