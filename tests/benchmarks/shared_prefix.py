"""Compare a finetuning step of multiple choice with a shared prefix and with separate streams.

    python tests/benchmarks/shared_prefix.py --rounds=5
    python tests/benchmarks/shared_prefix.py --body=lstm
    python tests/benchmarks/shared_prefix.py --layers=12 --width=768 --vocabulary=40478

With a shared prefix, the context runs once for all answers. With separate streams, it runs once
for each answer. There are two tasks of random tokens. One has the shape of RACE (passage 250,
question 20, four answers of 10). The other has the shape of Story Cloze (story 60, two endings of
12). A step is forward, backward and the optimizer in float32, with the auxiliary loss and dropout.
The two ways run in turn. The program prints the tokens per second of every round, counted as
separate streams both ways, and their ratio. It also prints the ratio of floating-point operations,
which is an upper bound of that ratio.
"""

import statistics
import time

import numpy as np
from absl import app, flags

from gpt1_jax.engine import devices, optim, packing, step
from gpt1_jax.models.factory import init_params
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS
from gpt1_jax.trainers import classification

# Tokens of the context, number of answers, tokens of each answer.
TASKS = {"race": (270, 4, 10), "story_cloze": (60, 2, 12)}
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Number of rounds after the warm-up.")
_BODY = flags.DEFINE_enum("body", "transformer", ["transformer", "lstm"], "Body of the model.")
_LAYERS = flags.DEFINE_integer("layers", 4, "Number of blocks of the Transformer.")
_WIDTH = flags.DEFINE_integer(
    "width",
    256,
    "Width of the model. The LSTM has four times as many units, about as in the paper.",
)
_VOCABULARY = flags.DEFINE_integer("vocabulary", 8_000, "Number of token rows of the embedding.")
_BATCH = flags.DEFINE_integer("batch", 4, "Number of examples a step.")


def make_streams(context: int, answers: int, length: int) -> list[list[list[int]]]:
    """Return a batch of examples as streams of one length."""
    random = np.random.default_rng(0)
    draw = lambda count: random.integers(0, _VOCABULARY.value - 3, count).tolist()
    start, delimiter, extract = range(_VOCABULARY.value - 3, _VOCABULARY.value)
    contexts = [[start, *draw(context), delimiter] for _ in range(_BATCH.value)]
    return [[[*context, *draw(length), extract] for _ in range(answers)] for context in contexts]


def make_training(streams: list[list[list[int]]], share_prefix: bool):
    """Return a function that trains one step, and the operations of its forward pass."""
    labels = np.eye(len(streams[0]), dtype=np.float32)[[0] * len(streams)]
    data = packing.PackedExamples(streams, labels, share_prefix)
    batch = packing.with_max_targets(data[range(len(streams))], 1)
    if _BODY.value == "transformer":
        sizes = {"layers": _LAYERS.value, "heads": _WIDTH.value // 64, "ffn": 4 * _WIDTH.value}
    else:
        sizes = {"units": 4 * _WIDTH.value}
    body = MODELS[_BODY.value](_VOCABULARY.value, context=data.longest, width=_WIDTH.value, **sizes)
    model = Classifier(body, outputs=1)
    optimizer = optim.adam(
        6.25e-5, optim.warmup_linear(1000, 0.002), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
    )
    params = init_params(model, 0, batch["tokens"], batch["extract"])
    state = devices.replicate({"params": params, "opt_state": optimizer.init(params)})
    train = devices.parallelize(
        step.training_step(classification.loss(model, 0.5), optimizer, accumulate=1), donate=True
    )

    def train_step(number):
        nonlocal state
        state, metrics = train(state, devices.split(batch), step.seed_and_step(0, number))
        return float(metrics["loss"])

    tokens, softmax = batch["tokens"], 2 * _WIDTH.value * _VOCABULARY.value
    flops = tokens.size * body.flops(tokens.shape[-1]) + batch["max_targets"].value * softmax
    return train_step, flops


def main(_):
    for task, shape in TASKS.items():
        streams = make_streams(*shape)
        tokens = sum(len(stream) for example in streams for stream in example)
        train_separate, separate_flops = make_training(streams, share_prefix=False)
        train_shared, shared_flops = make_training(streams, share_prefix=True)
        ratios = []
        for number in range(_ROUNDS.value + 1):
            speeds = {}
            for name, train_step in {"separate": train_separate, "shared": train_shared}.items():
                begin = time.perf_counter()
                train_step(number)
                speeds[name] = tokens / (time.perf_counter() - begin)
            if number:
                ratios.append(speeds["shared"] / speeds["separate"])
                print(
                    f"{task} round {number}: separate {speeds['separate']:.0f} "
                    f"shared {speeds['shared']:.0f} tokens/s  ratio {ratios[-1]:.2f}"
                )
        print(
            f"{task}: median ratio {statistics.median(ratios):.2f}, "
            f"ratio of operations {separate_flops / shared_flops:.2f}"
        )


if __name__ == "__main__":
    app.run(main)
