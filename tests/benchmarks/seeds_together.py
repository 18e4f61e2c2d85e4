"""A finetuning step of several seeds in one program, against their single steps one after the other, in turn in one process.

    python tests/benchmarks/seeds_together.py --seeds=3 --rounds=5
    python tests/benchmarks/seeds_together.py --body=lstm

The `tiny` sizes of configs/common.py and a batch of 16 x 20 random tokens a seed, in float32 with the auxiliary loss and dropout on.
Prints the updates a second of every round, an update counted for each seed, and their ratio; the machine's speed drifts, so the ratios
of a round are what counts.
"""

import statistics
import time

import jax
import numpy as np
from absl import app, flags

from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS
from gpt1_jax.trainers import classification
from gpt1_jax.trainers.fitting import Recipe, fresh_params, training
from gpt1_jax.training import batching, devices, optim, step

SIZES = {"transformer": {"layers": 3, "heads": 4, "ffn": 512}, "lstm": {"units": 256}}
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trained together.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Counted rounds, after one to warm up.")
_UPDATES = flags.DEFINE_integer("updates", 20, "Of every seed in a round.")
_BODY = flags.DEFINE_enum("body", "transformer", list(SIZES), "Of the model.")
_WIDTH = flags.DEFINE_integer("width", 128, "Of the model.")
_VOCABULARY = flags.DEFINE_integer("vocabulary", 800, "Token rows of the table.")
_BATCH = flags.DEFINE_integer("batch", 16, "Examples an update, of a seed.")
_LENGTH = flags.DEFINE_integer("length", 20, "Tokens of an example.")


def main(_):
    seeds, rows, parts = range(_SEEDS.value), range(_BATCH.value), jax.device_count()
    tokens = np.random.default_rng(0).integers(0, _VOCABULARY.value, (_BATCH.value, 1, _LENGTH.value))
    data = batching.Streams(tokens.tolist(), np.eye(2, dtype=np.float32)[[row % 2 for row in rows]])
    body = MODELS[_BODY.value](_VOCABULARY.value, context=_LENGTH.value, width=_WIDTH.value, **SIZES[_BODY.value])
    model = Classifier(body, outputs=2)
    one, all_of_them = (
        batching.with_room(data[batching.interleaved([np.array(rows)] * runs, parts)], parts * runs) for runs in (1, _SEEDS.value)
    )
    moments = dict(b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0)
    compiled = training(
        classification.loss(model, 0.5), Recipe(optim.warmup_linear, 10_000, 0.1, 5e-4, **moments, accumulate=1, backend="pmap")
    )
    params = [fresh_params(model, seed, one["tokens"], one["extract"]) for seed in seeds]
    states = [{"params": each, "opt_state": compiled.optimizer.init(each)} for each in params]
    stacked = devices.replicated(jax.tree.map(lambda *leaves: np.stack(leaves), *states))
    states = [devices.replicated(state) for state in states]

    def apart(number):
        for seed in seeds:
            states[seed], metrics = compiled.step(states[seed], devices.split(one), step.moment(seed, number))
        return metrics

    def together(number):
        nonlocal stacked
        moments = np.stack([step.moment(seed, number) for seed in seeds])
        stacked, metrics = compiled.together(stacked, devices.split(all_of_them), moments)
        return metrics

    ratios = []
    for number in range(_ROUNDS.value + 1):
        speed = {}
        for call in (apart, together):
            begin = time.perf_counter()
            for update in range(_UPDATES.value if number else 2):
                jax.block_until_ready(call(update))
            speed[call.__name__] = _UPDATES.value * len(seeds) / (time.perf_counter() - begin)
        if number:
            ratios.append(speed["together"] / speed["apart"])
            line = "  ".join(f"{name} {value:.1f}" for name, value in speed.items())
            print(f"round {number}: {line} updates/s  ratio {ratios[-1]:.2f}")
    print(f"{_BODY.value}, {len(seeds)} seeds on {devices.kind()}: median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    app.run(main)
