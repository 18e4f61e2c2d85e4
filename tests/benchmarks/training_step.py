"""Compare the full-size training step with Hugging Face's OpenAIGPTLMHeadModel on PyTorch.

    pip install torch transformers
    python tests/benchmarks/training_step.py --rounds=3
    python tests/benchmarks/training_step.py --programs=gpt1_jax,peak    # without PyTorch

Both train the paper's model on 2 x 512 random tokens in float32 with dropout: forward, backward,
clipping and the optimizer. Each program runs in a process of its own, one after the other, because
the idle threads of one library would take time from the other. A third program measures the peak:
float32 matrix products of the model's shapes.

The figures are CPU-seconds of all threads, which other work on the machine disturbs least, and wall
time. The program prints those of every round, the share of the peak that each step reaches, and the
ratio of both programs; then the medians of the last two over the rounds.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from gpt1_jax.engine import devices, losses, optim, step
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer

VOCABULARY, BATCH, LENGTH = 40_478, 2, 512
# Rows, inner and outer columns of the products of a block and of the logits.
SHAPES = ((1024, 768, 2304), (1024, 768, 3072), (1024, 3072, 768), (1024, 768, 40_990))
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Number of rounds.")
_STEPS = flags.DEFINE_integer("steps", 4, "Steps that a program times in a round, after a warm-up.")
_DROPOUT = flags.DEFINE_float("dropout", 0.1, "Dropout rate on embedding, attention and residuals.")
_PROGRAMS = flags.DEFINE_list(
    "programs", ["gpt1_jax", "transformers", "peak"], "The programs to run, in this order."
)
_CHILD = flags.DEFINE_string("child", "", "Run one program and print its figures as JSON.")


def jax_training(dropout: float):
    """Return a function that trains one step of this project's model."""
    rates = {"embd_dropout": dropout, "attn_dropout": dropout, "resid_dropout": dropout}
    model = LanguageModel(Transformer(VOCABULARY, **rates))
    optimizer = optim.adam(
        2.5e-4, optim.warmup_cosine(1000, 0.01), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
    )

    @jax.jit
    def init():
        tokens = np.zeros((1, LENGTH), np.int32)
        return model.init({"params": jax.random.key(0)}, tokens, train=False)["params"]

    params = init()
    state = devices.replicate({"params": params, "opt_state": optimizer.init(params)})

    def loss(params, batch, key):
        inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
        rngs, weights = {"dropout": key}, np.ones(targets.shape, np.float32)
        hidden, embedding = model.apply({"params": params}, inputs, train=True, rngs=rngs)
        return losses.mean_language_model(hidden, embedding, targets, weights), {}

    train = devices.parallelize(step.training_step(loss, optimizer, accumulate=1), donate=True)
    random = np.random.default_rng(0)

    def train_step(number):
        nonlocal state
        tokens = random.integers(0, VOCABULARY, (BATCH, LENGTH + 1), dtype=np.int32)
        batch = devices.split({"tokens": tokens})
        state, metrics = train(state, batch, step.seed_and_step(0, number))
        return float(metrics["loss"])

    return train_step


def torch_training(dropout: float):
    """Return a function that trains one step of transformers' model."""
    import torch
    import transformers

    config = transformers.OpenAIGPTConfig(
        vocab_size=VOCABULARY, embd_pdrop=dropout, attn_pdrop=dropout, resid_pdrop=dropout
    )
    model = transformers.OpenAIGPTLMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2.5e-4, weight_decay=0.01)
    random = np.random.default_rng(0)

    def train_step(number):
        tokens = torch.tensor(random.integers(0, VOCABULARY, (BATCH, LENGTH)))
        loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss)

    return train_step


def measure(name: str) -> dict[str, float]:
    """Return the median CPU-seconds and seconds of a step, or the peak in FLOP per CPU-second."""
    if name == "peak":
        return {"flops": matmul_peak()}
    train_step = {"gpt1_jax": jax_training, "transformers": torch_training}[name](_DROPOUT.value)
    times = [timed(lambda number=number: train_step(number)) for number in range(_STEPS.value + 1)]
    cpu, wall = zip(*times[1:], strict=True)
    return {"cpu": statistics.median(cpu), "wall": statistics.median(wall)}


def timed(call: Callable) -> tuple[float, float]:
    """Return the CPU-seconds of this process and the seconds that `call` takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def matmul_peak() -> float:
    """Return the FLOP per CPU-second of the fastest product of SHAPES."""
    speeds = []
    for rows, inner, outer in SHAPES:
        x, y = jnp.ones((rows, inner)), jnp.ones((inner, outer))
        product = jax.jit(jnp.matmul)
        repetitions = max(1, int(2e11 / (2 * rows * inner * outer)))

        def run(product=product, x=x, y=y, repetitions=repetitions):
            for _ in range(repetitions):
                product(x, y).block_until_ready()

        run()
        seconds = min(timed(run)[0] for _ in range(3))
        speeds.append(2 * rows * inner * outer * repetitions / seconds)
    return max(speeds)


def step_flops() -> float:
    """Return the floating-point operations of a training step."""
    body = Transformer(VOCABULARY)
    forward = body.flops(LENGTH) + 2 * body.width * (VOCABULARY + LENGTH)
    return 3.0 * BATCH * LENGTH * forward


def run_child(name: str) -> dict[str, float]:
    """Measure a program in a process of its own."""
    flag_values = [f"--steps={_STEPS.value}", f"--dropout={_DROPOUT.value}"]
    command = [sys.executable, __file__, f"--child={name}", *flag_values]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main(_):
    if _CHILD.value:
        print(json.dumps(measure(_CHILD.value)))
        return
    shares, ratios = [], []
    for number in range(1, _ROUNDS.value + 1):
        results = {name: run_child(name) for name in _PROGRAMS.value}
        parts, peak = [], results.pop("peak", {"flops": 0.0})["flops"]
        for name, result in results.items():
            text = f"{name} {result['cpu']:.2f} CPU-s {result['wall']:.2f} s"
            if peak:
                share = step_flops() / result["cpu"] / peak
                text += f" ({share:.0%} of the peak)"
                if name == "gpt1_jax":
                    shares.append(share)
            parts.append(text)
        if peak:
            parts.append(f"peak {peak / 1e9:.0f} GFLOP per CPU-s")
        if {"gpt1_jax", "transformers"} <= results.keys():
            ours, theirs = results["gpt1_jax"], results["transformers"]
            ratios.append(theirs["cpu"] / ours["cpu"])
            parts.append(
                f"ratio {ratios[-1]:.2f}, of wall time {theirs['wall'] / ours['wall']:.2f}"
            )
        print(f"round {number}: {'; '.join(parts)}", flush=True)
    if shares:
        print(f"median share of the peak {statistics.median(shares):.0%}")
    if ratios:
        print(f"median ratio of CPU-seconds {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    app.run(main)
