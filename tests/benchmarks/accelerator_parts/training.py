"""Measure pretraining steps."""

from collections.abc import Iterator

import numpy as np

from accelerator_parts.common import SIZES, attempt, measure_step, pretraining_config
from gpt1_jax.trainers import flops, pretrain

STEPS = (
    ("transformer", "bfloat16", "fused"),
    ("transformer", "bfloat16", "plain"),
    ("lstm", "bfloat16", None),
    ("transformer", "float32", "fused"),
    ("transformer", "float32", "plain"),
)


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part."""
    for body, dtype, attention in STEPS if size == "full" else STEPS[:3:2]:
        name = " ".join(filter(None, (body, dtype, attention)))
        yield attempt(name, _training, size, body, dtype, attention)


def _training(size: str, body: str, dtype: str, attention: str | None) -> dict:
    settings = {"dtype": dtype} if attention is None else {"dtype": dtype, "attention": attention}
    config = pretraining_config(size, body, **settings)
    vocab_size = config.tokenizer.vocab_size
    model = pretrain._build(config, vocab_size)
    rows, context = config.batch_size, config.model.context
    random = np.random.default_rng(0)
    windows = random.integers(0, vocab_size, (rows, context + 1), np.int32)
    body = model.language_model.body
    operations = body.flops(context) + flops.softmax_flops(body)
    return measure_step(
        model.training,
        model.params,
        {"tokens": windows},
        tokens=rows * context,
        flops=flops.TRAINING_PASSES * rows * context * operations,
        dtype=dtype,
        seconds=SIZES[size].seconds,
    )
