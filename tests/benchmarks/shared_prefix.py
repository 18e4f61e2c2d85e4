"""A finetuning step of multiple choice: the context run once for all answers, against once for each of them, in turn.

    python tests/benchmarks/shared_prefix.py --rounds=5
    python tests/benchmarks/shared_prefix.py --body=lstm
    python tests/benchmarks/shared_prefix.py --layers=12 --width=768 --vocabulary=40478

Two tasks of random tokens: one shaped as RACE (passage 250, question 20, four answers of 10), one as Story Cloze (story 60, two endings
of 12). Forward, backward and the optimiser in float32, with the auxiliary loss and dropout on. Prints the tokens a second of every
round, counted as whole streams both ways, their ratio, and the ratio of the floating-point operations, which bounds it.
"""

import statistics
import time

import numpy as np
from absl import app, flags

from gpt1_jax.engine import devices, optim, packing, step
from gpt1_jax.models.heads import Classifier
from gpt1_jax.registry import MODELS
from gpt1_jax.trainers import classification
from gpt1_jax.trainers.fit import fresh_params

TASKS = {
    "race": (270, 4, 10),
    "story_cloze": (60, 2, 12),
}  # tokens of the context, answers, tokens of each
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Counted rounds, after one to warm up.")
_BODY = flags.DEFINE_enum("body", "transformer", ["transformer", "lstm"], "Of the model.")
_LAYERS = flags.DEFINE_integer("layers", 4, "Blocks of the Transformer.")
_WIDTH = flags.DEFINE_integer(
    "width", 256, "Of the model; four times that are the units of the LSTM, about as in the paper."
)
_VOCABULARY = flags.DEFINE_integer("vocabulary", 8_000, "Token rows of the table.")
_BATCH = flags.DEFINE_integer("batch", 4, "Examples an update.")


def examples(context: int, answers: int, length: int) -> list[list[list[int]]]:
    """A batch of examples as streams, all of one length."""
    random = np.random.default_rng(0)
    draw = lambda count: random.integers(0, _VOCABULARY.value - 3, count).tolist()
    start, delimiter, extract = range(_VOCABULARY.value - 3, _VOCABULARY.value)
    contexts = [[start, *draw(context), delimiter] for _ in range(_BATCH.value)]
    return [[[*context, *draw(length), extract] for _ in range(answers)] for context in contexts]


def training(streams: list[list[list[int]]], share_prefix: bool):
    """A call that trains one step on the streams, and the operations of its forward pass."""
    labels = np.eye(len(streams[0]), dtype=np.float32)[[0] * len(streams)]
    data = packing.PackedExamples(streams, labels, share_prefix)
    batch = packing.with_max_targets(data[range(len(streams))], 1)
    sizes = {"layers": _LAYERS.value, "heads": _WIDTH.value // 64, "ffn": 4 * _WIDTH.value}
    sizes = sizes if _BODY.value == "transformer" else {"units": 4 * _WIDTH.value}
    body = MODELS[_BODY.value](_VOCABULARY.value, context=data.longest, width=_WIDTH.value, **sizes)
    model = Classifier(body, outputs=1)
    optimizer = optim.adam(
        6.25e-5, optim.warmup_linear(1000, 0.002), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
    )
    params = fresh_params(model, 0, batch["tokens"], batch["extract"])
    state = devices.replicate({"params": params, "opt_state": optimizer.init(params)})
    train = devices.parallelise(
        step.training_step(classification.loss(model, 0.5), optimizer, accumulate=1), donate=True
    )
    softmax = 2 * _WIDTH.value * _VOCABULARY.value

    def once(number):
        nonlocal state
        state, metrics = train(state, devices.split(batch), step.seed_and_step(0, number))
        return float(metrics["loss"])

    return once, batch["tokens"].size * body.flops(batch["tokens"].shape[-1]) + batch[
        "max_targets"
    ].size * softmax


def main(_):
    for task, shape in TASKS.items():
        streams = examples(*shape)
        tokens = sum(len(stream) for example in streams for stream in example)
        (apart, more), (shared, fewer) = (
            training(streams, share_prefix) for share_prefix in (False, True)
        )
        ratios = []
        for number in range(_ROUNDS.value + 1):
            speed = {}
            for name, call in {"apart": apart, "shared": shared}.items():
                begin = time.perf_counter()
                call(number)
                speed[name] = tokens / (time.perf_counter() - begin)
            if number:
                ratios.append(speed["shared"] / speed["apart"])
                print(
                    f"{task} round {number}: apart {speed['apart']:.0f} shared {speed['shared']:.0f} tokens/s  ratio {ratios[-1]:.2f}"
                )
        print(
            f"{task}: median ratio {statistics.median(ratios):.2f}, of the operations {more / fewer:.2f}"
        )


if __name__ == "__main__":
    app.run(main)
