"""The full-size training step against Hugging Face's OpenAIGPTLMHeadModel on PyTorch, in turn in one process.

    pip install torch transformers
    python tests/benchmarks/training_step.py --rounds=5

Both train the paper's model on 2 x 512 random tokens in float32 with dropout on: forward, backward, clipping and the optimiser. Prints
the tokens a second of every round and their ratio; the machine's speed drifts, so the ratios of a round are what counts.
"""

import statistics
import time

import jax
import numpy as np
from absl import app, flags

from gpt1_jax.engine import devices, losses, optim, step
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS

VOCABULARY, BATCH, LENGTH = 40_478, 2, 512
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Counted rounds, after one to warm up.")
_DROPOUT = flags.DEFINE_float("dropout", 0.1, "Of embeddings, attention and residuals.")
_ALONE = flags.DEFINE_bool("alone", False, "Time only our step; needs no PyTorch.")


def ours(dropout: float):
    """A call that trains one step of the project's own model."""
    model = LanguageModel(
        MODELS["transformer"](
            VOCABULARY, embd_dropout=dropout, attn_dropout=dropout, resid_dropout=dropout
        )
    )
    optimizer = optim.adam(
        2.5e-4, optim.warmup_cosine(1000, 0.01), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
    )
    params = jax.jit(
        lambda: model.init(
            {"params": jax.random.key(0)}, np.zeros((1, LENGTH), np.int32), train=False
        )["params"]
    )()
    state = devices.replicate({"params": params, "opt_state": optimizer.init(params)})

    def loss(params, batch, key):
        inputs, targets = batch["tokens"][:, :-1], batch["tokens"][:, 1:]
        hidden, table = model.apply({"params": params}, inputs, train=True, rngs={"dropout": key})
        return losses.language_model(
            hidden, table, targets, np.ones(targets.shape, np.float32)
        ).mean(), {}

    train = devices.parallelise(step.training_step(loss, optimizer, accumulate=1), donate=True)
    random = np.random.default_rng(0)

    def once(number):
        nonlocal state
        tokens = random.integers(0, VOCABULARY, (BATCH, LENGTH + 1), dtype=np.int32)
        state, metrics = train(
            state, devices.split({"tokens": tokens}), step.seed_and_step(0, number)
        )
        return float(metrics["loss"])

    return once


def theirs(dropout: float):
    """A call that trains one step of transformers' model."""
    import torch
    import transformers

    sizes = transformers.OpenAIGPTConfig(
        vocab_size=VOCABULARY, embd_pdrop=dropout, attn_pdrop=dropout, resid_pdrop=dropout
    )
    model = transformers.OpenAIGPTLMHeadModel(sizes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2.5e-4, weight_decay=0.01)
    random = np.random.default_rng(0)

    def once(number):
        tokens = torch.tensor(random.integers(0, VOCABULARY, (BATCH, LENGTH)))
        loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss)

    return once


def main(_):
    calls = {"gpt1_jax": ours(_DROPOUT.value)} | (
        {} if _ALONE.value else {"transformers": theirs(_DROPOUT.value)}
    )
    ratios = []
    for number in range(_ROUNDS.value + 1):
        speed = {}
        for name, call in calls.items():
            begin = time.perf_counter()
            call(number)
            speed[name] = BATCH * LENGTH / (time.perf_counter() - begin)
        line = "  ".join(f"{name} {value:.0f} tokens/s" for name, value in speed.items())
        if len(speed) == 2 and number:
            ratios.append(speed["gpt1_jax"] / speed["transformers"])
            line += f"  ratio {ratios[-1]:.2f}"
        print(f"round {number}: {line}" if number else f"warm-up: {line}")
    if ratios:
        print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    app.run(main)
