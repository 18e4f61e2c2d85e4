"""Measure greedy generation in bfloat16."""

import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np

from accelerator_parts.common import SIZES, attempt, pretraining_config
from gpt1_jax.models import factory, sampling
from gpt1_jax.models.heads import LanguageModel


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part."""
    config = pretraining_config(size, "transformer", dtype="bfloat16")
    sizes, vocab_size = config.model.to_dict(), config.tokenizer.vocab_size
    model = LanguageModel(factory.make_body(sizes.pop("name"), vocab_size, sizes))
    params = factory.init_params(model, 0, np.zeros((1, 8), np.int32))
    for batch in SIZES[size].batches:
        yield attempt(f"batch {batch}", _generation, size, model, params, batch)


def _generation(size: str, model: LanguageModel, params: Mapping, batch: int) -> dict:
    prompt, new = SIZES[size].prompt, SIZES[size].new
    shape = batch, prompt
    prompts = np.random.default_rng(0).integers(0, model.body.vocab_size, shape).tolist()
    keys = jax.random.split(jax.random.key(0), batch)
    greedy = sampling.SamplingParams(greedy=True)

    def generate():
        return list(sampling.generate(model, params, prompts, new, keys, greedy))

    begin = time.perf_counter()
    generate()
    first, seconds = time.perf_counter() - begin, []
    while sum(seconds) < SIZES[size].seconds:
        begin = time.perf_counter()
        generate()
        seconds.append(time.perf_counter() - begin)
    return {
        "tokens_per_s": round(batch * new / min(seconds), 1),
        "decode_step_ms": round(1e3 * min(seconds) / new, 3),
        "first_s": round(first, 1),
    }
