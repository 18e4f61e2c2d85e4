"""Measure finetuning steps: rows of one text, and rows with a shared prefix and four answers."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from accelerator_parts.common import SIZES, attempt, measure_step, pretraining_config
from configs import finetune
from gpt1_jax.engine import optim, packing
from gpt1_jax.models import factory
from gpt1_jax.registry import TASKS
from gpt1_jax.text import bpe
from gpt1_jax.trainers import classification, flops
from gpt1_jax.trainers.optim_config import optim_config

ANSWERS = 4


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part."""
    for examples, tokens in SIZES[size].finetuning:
        name = f"rte bfloat16 {examples} x {tokens}"
        yield attempt(name, _finetuning, size, "rte", _texts(examples, tokens))
    examples, tokens, answer = SIZES[size].choice
    streams = _choices(examples, tokens - ANSWERS * answer, answer)
    yield attempt(f"race bfloat16 {examples} x {tokens}", _finetuning, size, "race", streams)


def _texts(examples: int, tokens: int) -> list[list[list[int]]]:
    """Return the token streams [N][1] of random texts; their ids are below 200."""
    return np.random.default_rng(0).integers(0, 200, (examples, 1, tokens)).tolist()


def _choices(examples: int, prefix: int, answer: int) -> list[list[list[int]]]:
    """Return the token streams [N][C] of choices, with `prefix` + 1 shared tokens at their start.

    The last shared token belongs to the rest of each stream, which has `answer` tokens.
    """
    random = np.random.default_rng(0)
    contexts = random.integers(0, 200, (examples, prefix + 1)).tolist()
    # The first token of each answer differs, so the shared prefix has the intended length.
    rests = random.integers(0, 100, (examples, ANSWERS, answer - 1))
    rests[:, :, 0] = 100 + np.arange(ANSWERS)
    return [
        [context + rest for rest in example]
        for context, example in zip(contexts, rests.tolist(), strict=True)
    ]


def _finetuning(size: str, task: str, streams: Sequence[Sequence[Sequence[int]]]) -> dict:
    config, examples = finetune.get_config(task), len(streams)
    pretraining = pretraining_config(size, "transformer", dtype="bfloat16")
    sizes, vocab_size = pretraining.model.to_dict(), pretraining.tokenizer.vocab_size
    outputs = len(TASKS[task].labels)
    labels = np.eye(outputs, dtype=np.float32)[np.arange(examples) % outputs]
    data = packing.PackedExamples(streams, labels, share_prefix=len(streams[0]) > 1)
    batch = packing.with_max_targets(data[range(examples)], jax.device_count())
    body = factory.make_body(
        sizes.pop("name"),
        vocab_size + len(bpe.SPECIALS),
        sizes,
        context=data.longest,
        table_dropout=config.published.table_dropout,
    )
    model = classification.classifier(
        TASKS[task],
        body,
        config.regression,
        clf_dropout=config.clf_dropout,
        shared_clf_dropout=config.published.shared_clf_dropout,
    )
    settings = optim_config(config, optim.warmup_linear, 1_000, config.optim.warmup_fraction)
    softmax_positions = config.published.softmax_positions
    programs = classification.programs(
        model, config.lm_coef, config.regression, softmax_positions, settings, ()
    )
    tokens = batch["tokens"].size
    operations = body.flops(batch["tokens"].shape[-1]) + flops.softmax_flops(body)
    row = measure_step(
        programs.training,
        factory.init_params(model, 0, batch["tokens"], batch["extract"]),
        batch,
        tokens=tokens,
        flops=flops.TRAINING_PASSES * tokens * operations,
        dtype="bfloat16",
        seconds=SIZES[size].seconds,
    )
    return {"examples_per_s": round(1e3 * examples / row["step_ms"], 1), **row}
