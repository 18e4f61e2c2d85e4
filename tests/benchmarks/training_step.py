"""Compare the full-size training step with Hugging Face's OpenAIGPTLMHeadModel on PyTorch.

    pip install torch transformers
    python tests/benchmarks/training_step.py --rounds=5

Both train the paper's model on 2 x 512 random tokens in float32 with dropout: forward, backward,
clipping and the optimizer. They run in turn in one process. The program prints the tokens per
second of every round and their ratio. The speed of the machine drifts, so only the ratios within a
round are comparable.
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
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Number of rounds after the warm-up.")
_DROPOUT = flags.DEFINE_float("dropout", 0.1, "Dropout rate on embedding, attention and residuals.")
_ALONE = flags.DEFINE_bool("alone", False, "Time only this project's step; needs no PyTorch.")


def jax_training(dropout: float):
    """Return a function that trains one step of this project's model."""
    rates = {"embd_dropout": dropout, "attn_dropout": dropout, "resid_dropout": dropout}
    model = LanguageModel(MODELS["transformer"](VOCABULARY, **rates))
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


def main(_):
    train_steps = {"gpt1_jax": jax_training(_DROPOUT.value)}
    if not _ALONE.value:
        train_steps["transformers"] = torch_training(_DROPOUT.value)
    ratios = []
    for number in range(_ROUNDS.value + 1):
        speeds = {}
        for name, train_step in train_steps.items():
            begin = time.perf_counter()
            train_step(number)
            speeds[name] = BATCH * LENGTH / (time.perf_counter() - begin)
        line = "  ".join(f"{name} {speed:.0f} tokens/s" for name, speed in speeds.items())
        if len(speeds) == 2 and number:
            ratios.append(speeds["gpt1_jax"] / speeds["transformers"])
            line += f"  ratio {ratios[-1]:.2f}"
        print(f"round {number}: {line}" if number else f"warm-up: {line}")
    if ratios:
        print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    app.run(main)
