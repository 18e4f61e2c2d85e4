"""Measure transformers' model on PyTorch: training in bfloat16 autocast, and generation.

transformers has no KV cache for this model, so each new token costs a pass over the whole text.
"""

import gc
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import transformers

from accelerator_parts.common import SIZES, attempt, pretraining_config

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ATTENTIONS = ("sdpa", "eager")  # the fastest first; not every version has it for this model


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part."""
    if DEVICE == "cpu" and size == "full":
        yield {"name": "none", "note": "this PyTorch has no CUDA"}
        return
    torch.set_float32_matmul_precision("high")
    for attention in ATTENTIONS:
        row = attempt(f"training {attention}", _training, size, attention, lambda model: model)
        yield row
        if "error" not in row:
            break
    for batch in SIZES[size].batches:
        yield attempt(f"generation batch {batch}", _generation, size, attention, batch)
    if DEVICE == "cuda":  # last, because compilation may take long
        name = f"training {attention} torch.compile"
        yield attempt(name, _training, size, attention, torch.compile)


def _model(size: str, attention: str) -> transformers.PreTrainedModel:
    config = pretraining_config(size, "transformer")
    torch_config = transformers.OpenAIGPTConfig(
        vocab_size=config.tokenizer.vocab_size,
        n_positions=config.model.context,
        n_embd=config.model.width,
        n_layer=config.model.layers,
        n_head=config.model.heads,
    )
    with torch.device(DEVICE):  # random weights are drawn there
        return transformers.AutoModelForCausalLM.from_config(
            torch_config, attn_implementation=attention
        ).to(DEVICE)


def _training(size: str, attention: str, wrap: Callable) -> dict:
    """Return the speed of training steps; a batch that does not fit into memory comes in parts."""
    rows = pretraining_config(size, "transformer").batch_size
    while True:
        gc.collect()  # the model of a failed try
        torch.cuda.empty_cache()
        try:
            return {"part_rows": rows, **_training_in_parts(size, attention, wrap, rows)}
        except torch.OutOfMemoryError:
            if rows == 1:
                raise
            rows //= 2


def _training_in_parts(size: str, attention: str, wrap: Callable, part_rows: int) -> dict:
    config = pretraining_config(size, "transformer")
    shape = config.batch_size, config.model.context
    random = np.random.default_rng(0).integers(0, config.tokenizer.vocab_size, shape)
    parts = torch.tensor(random, device=DEVICE).split(part_rows)
    model = _model(size, attention).train()
    forward, fused = wrap(model), DEVICE == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=2.5e-4, weight_decay=0.01, fused=fused)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def train_step():
        for part in parts:
            with torch.autocast(DEVICE, torch.bfloat16):
                loss = forward(part, labels=part).loss / len(parts)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = _seconds(train_step, SIZES[size].seconds)
    row = {"tokens_per_s": round(shape[0] * shape[1] / seconds), "step_ms": round(1e3 * seconds, 3)}
    if DEVICE == "cuda":
        row["gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return row


def _generation(size: str, attention: str, batch: int) -> dict:
    prompt, new = SIZES[size].prompt, SIZES[size].new
    model = _model(size, attention).to(torch.bfloat16).eval()
    prompts = np.random.default_rng(0).integers(0, model.config.vocab_size, (batch, prompt))
    inputs = torch.tensor(prompts, device=DEVICE)
    options = dict(max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)

    @torch.inference_mode()
    def generate():
        model.generate(inputs, attention_mask=torch.ones_like(inputs), **options)

    seconds = _seconds(generate, SIZES[size].seconds)
    return {
        "tokens_per_s": round(batch * new / seconds, 1),
        "token_ms": round(1e3 * seconds / new, 3),
    }


def _seconds(call: Callable[[], None], duration: float) -> float:
    """Return the mean seconds of a call, after two calls that warm up."""
    for _ in range(2):
        call()
    _synchronize()
    begin, count = time.perf_counter(), 0
    while count < 2 or time.perf_counter() - begin < duration:
        call()
        count += 1
        if count % 2 == 0:  # at most two calls in flight
            _synchronize()
    _synchronize()
    return (time.perf_counter() - begin) / count


def _synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
