"""Pretraining of a language model on books (section 3.1 and 4.1 of the paper).

    python -m gpt1_jax.main --config=configs/pretrain.py:gpt1 --config.data.path=DIR
    python -m gpt1_jax.main --config=configs/pretrain.py:tiny,lstm --config.data.path=DIR

    python -m gpt1_jax.main --config=configs/pretrain.py:gpt1 --config.data.corpus=hub --config.data.path=OWNER/NAME
    python -m gpt1_jax.main --config=configs/pretrain.py:gpt1 --config.data.corpus=mixture --config.data.path="0.7*text:DIR,0.3*pg19:"

Picks: a size (gpt1, small, tiny), a body (transformer, lstm) and a preset of config.published (published, modern, huggingface). DIR holds
.txt, .jsonl or .parquet files.

gpt1 is the paper's run: 64 x 512 tokens an update, 960,000 updates, perplexity 18.4 on BooksCorpus. small and tiny are recipes for
little hardware and little text.
"""

from ml_collections import ConfigDict

from configs import common

# A small post-LN model learns nothing at the paper's warmup and rate scaled down naively: it wants a long warmup.
RECIPES = {
    "gpt1": dict(
        steps=960_000, batch_size=64, lr=2.5e-4, warmup_steps=2_000, vocab_size=40_478, every=2_000
    ),
    "small": dict(
        steps=20_000, batch_size=32, lr=5e-4, warmup_steps=1_000, vocab_size=8_000, every=500
    ),
    "tiny": dict(
        steps=2_000, batch_size=16, lr=1e-3, warmup_steps=200, vocab_size=4_000, every=200
    ),
}


def get_config(arg: str | None = None) -> ConfigDict:
    size, body, preset = common.parse_arg(
        arg, tuple(common.SIZES), tuple(common.BODIES), tuple(common.PRESETS)
    )
    recipe = RECIPES[size]
    config = ConfigDict()
    config.trainer = "pretrain"
    config.seed = 0
    config.steps = recipe["steps"]
    config.batch_size = recipe[
        "batch_size"
    ]  # windows of model.context tokens an update, over all devices
    config.backend = "pmap"  # or shard_map
    config.model = common.model(body, size)
    config.optim = common.adam(lr=recipe["lr"], warmup_steps=recipe["warmup_steps"])
    config.published = common.published(preset, common.QUIRKS + common.PRETRAINING_QUIRKS)

    config.data = ConfigDict()
    config.data.corpus = "text"  # or bookcorpusopen, hub, pg19, lm1b, mixture
    config.data.path = ""  # what it means is the corpus's to say: see gpt1_jax/datasets/corpora.py
    config.data.column = (
        "text"  # the field with the text, in .jsonl, .parquet and data sets of the hub
    )
    config.data.rewrap_lines = False  # hard-wrapped lines, a blank one between paragraphs (Project Gutenberg): re-flow them
    config.data.validation = 0.01  # the share of documents held out
    config.data.cache = "~/.cache/gpt1_jax"  # tokenizers and tokenised corpora, shared by runs

    config.tokenizer = ConfigDict()
    config.tokenizer.vocab_size = recipe["vocab_size"]  # 40,478 gives 40,000 merges
    config.tokenizer.path = ""  # a tokenizer.json to use instead of learning one

    config.eval = ConfigDict()
    config.eval.every = recipe["every"]
    config.eval.windows = 512  # of the held-out documents
    config.eval.sample = 64  # tokens that the model writes at every evaluation; 0 none

    config.checkpoint = ConfigDict()
    config.checkpoint.every = recipe["every"]
    config.checkpoint.keep = 2
    config.checkpoint.keep_steps = ()  # updates whose checkpoints are kept for good, such as (1000, 2000)

    config.log = ConfigDict()
    config.log.every = 100 if size == "gpt1" else 20
    return config
