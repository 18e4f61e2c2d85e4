"""Hold what the parts share: sizes, configs, timing, and rows that survive errors."""

import gc
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from configs import pretrain
from gpt1_jax.engine import accelerators, devices, peak_flops, step
from gpt1_jax.trainers.fit import Training


class Size(NamedTuple):
    """Hold the sizes of all measurements.

    Attributes:
        pick: the size of configs/common.py.
        changes: settings of the pretraining config to change.
        finetuning: (examples, tokens) of rows of one text each.
        choice: examples, tokens of a row, and tokens of an answer, with four answers.
        prompt: tokens before the generated ones.
        new: tokens to generate.
        batches: numbers of rows in generation.
        seconds: the time for which a program is repeated.
    """

    pick: str
    changes: Mapping[str, Any]
    finetuning: tuple[tuple[int, int], ...]
    choice: tuple[int, int, int]
    prompt: int
    new: int
    batches: tuple[int, ...]
    seconds: float


SIZES = {
    "full": Size("gpt1", {}, ((32, 64), (32, 128)), (32, 512, 32), 32, 128, (1, 64), 2.0),
    "tiny": Size(
        "tiny",
        {"batch_size": 2, "model.context": 32, "tokenizer.vocab_size": 300},
        ((2, 16),),
        (2, 32, 4),
        4,
        8,
        (1, 2),
        0.1,
    ),
}
TINY = {"transformer": {"model.layers": 1, "model.ffn": 128}, "lstm": {"model.units": 32}}


def pretraining_config(size: str, body: str, **model: str) -> ConfigDict:
    """Return the pretraining config of a size and a body, with changes to its model section."""
    config = pretrain.get_config(f"{SIZES[size].pick},{body}")
    changes = SIZES[size].changes | (TINY[body] if size == "tiny" else {})
    model_changes = {f"model.{name}": value for name, value in model.items()}
    config.update_from_flattened_dict({**changes, **model_changes})
    return config


def attempt(name: str, call: Callable[..., dict], *arguments: Any) -> dict:
    """Return the row of a measurement, or a row with its error in one line."""
    try:
        return {"name": name, **call(*arguments)}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return {"name": name, "error": f"{type(error).__name__}: {lines[0][:200]}"}
    finally:
        gc.collect()  # arrays of a failed measurement


def repeat(call: Callable[[int], Any], seconds: float) -> float:
    """Return the mean seconds of `call(number)`, with at most two calls in flight."""
    for number in range(2):
        jax.block_until_ready(call(number))
    begin, count, earlier = time.perf_counter(), 0, None
    while count < 3 or time.perf_counter() - begin < seconds:
        result = call(count + 2)
        jax.block_until_ready(earlier)
        earlier, count = result, count + 1
    jax.block_until_ready(earlier)
    return (time.perf_counter() - begin) / count


def measure_step(
    training: Training,
    params: Mapping,
    batch: Mapping,
    *,
    tokens: int,
    flops: float,
    dtype: str,
    seconds: float,
) -> dict:
    """Return the speed, the model FLOP utilization and the memory of a training step.

    Args:
        training: the training step and its optimizer.
        params: the initial params.
        batch: the global batch.
        tokens: the tokens of the batch.
        flops: the floating-point operations of a step.
        dtype: the type of the factors in its products.
        seconds: the time for which the step is repeated.
    """
    state = devices.replicate({"params": params, "opt_state": training.optimizer.init(params)})
    batch, begin = devices.split(batch), time.perf_counter()
    compiled = training.step.lower(state, batch, step.seed_and_step(0, 0)).compile()
    compile_seconds = time.perf_counter() - begin

    def train_step(number):
        nonlocal state
        state, metrics = compiled(state, batch, step.seed_and_step(0, number))
        return metrics

    first_loss = float(train_step(0)["loss"])
    step_seconds = repeat(train_step, seconds)
    last_loss = float(train_step(0)["loss"])
    if not math.isfinite(last_loss):
        raise FloatingPointError(f"the loss was {first_loss} and is {last_loss}")
    return {
        "tokens_per_s": round(tokens / step_seconds),
        "step_ms": round(1e3 * step_seconds, 3),
        **utilization(flops / step_seconds, dtype),
        "gib": round(step_bytes(compiled.memory_analysis()) / 2**30, 3),
        "compile_s": round(compile_seconds, 1),
        "first_loss": round(first_loss, 5),
    }


def utilization(flops_per_second: float, dtype: str) -> dict:
    """Return the share of the published peak of all devices; elsewhere, of the measured peak."""
    kind = jax.devices()[0].device_kind.upper()
    # The kind of a card is such as "NVIDIA H100 80GB HBM3".
    published = [row for card, row in accelerators.accelerators().items() if card.upper() in kind]
    peak = published[0].peak_flops(dtype) if published else peak_flops.matmul_flops(dtype)
    share = round(flops_per_second / peak / jax.device_count(), 4)
    return {"mfu": share} if published else {"mfu_of_measured_peak": share}


def step_bytes(stats: Any) -> int:
    """Return the memory of a compiled step on one device: what it takes, returns and needs."""
    total = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return total - stats.alias_size_in_bytes
