"""What an ablation will cost: runs, floating-point operations, and hours on this device from a measured step. Runs nothing."""

import functools
import math
import time
from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.analysis.report import milestones, tables
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import devices, optim, step
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers.fit import fresh_params, row_losses, training
from gpt1_jax.trainers.optim_config import optim_config

TOKENS_A_WORD = 1.3  # of a large BPE on English; smaller ones need more
# Words of an example where its data is not at hand, roughly: before the answers, and of one answer.
WORDS = {
    "cola": (8, 0), "sst2": (10, 0), "mrpc": (44, 0), "stsb": (24, 0), "qqp": (22, 0), "mnli": (30, 0), "qnli": (38, 0),
    "rte": (53, 0), "wnli": (34, 0), "snli": (21, 0), "scitail": (30, 0), "race": (310, 6), "race_middle": (230, 5),
    "race_high": (340, 6), "story_cloze_2016": (36, 8), "story_cloze_2018": (36, 8), "dprd": (16, 0),
}  # fmt: skip
SECONDS = 0.2  # a step that takes so long is measured well enough


def estimate_cost(config: ConfigDict, runs: Mapping[str, ConfigDict]) -> dict:
    """Prints a line for every kind of run, those that differ in seed alone together, and the sum; gives {"flops", "hours"}.

    Tokens of labelled data are estimated: words times TOKENS_A_WORD, and where the data is not at hand published sizes and WORDS.
    Compilation, reading and saving are not counted, which for small models is much of the time.
    """
    kinds = {}
    for name, run in runs.items():
        kind = name if run.trainer != "finetune" else name.rpartition("_")[0]
        kinds.setdefault(kind, []).append(run)
    rates = {
        body: _rate(config.pretrain[body])
        for body in sorted({_body(name, run) for name, run in runs.items()})
    }
    rows, total = [], {"flops": 0.0, "hours": 0.0}
    for kind, alike in kinds.items():
        body = _body(kind, alike[0])
        flops = _flops(config, body, alike[0])
        hours = flops / rates[body] / 3600
        rows.append(
            [kind, str(len(alike)), f"{flops:.2e}", f"{hours:.3g}", f"{hours * len(alike):.3g}"]
        )
        total = {
            "flops": total["flops"] + flops * len(alike),
            "hours": total["hours"] + hours * len(alike),
        }
    rows.append(["all", str(len(runs)), f"{total['flops']:.2e}", "", f"{total['hours']:.3g}"])
    columns = ("seeds", "FLOPs each", "hours each", "hours")
    lines = [tables.Row(name, [tables.Cell(text) for text in cells]) for name, *cells in rows]
    print(tables.Table("plan", "Plan", "run", columns, lines).markdown())
    speeds = ", ".join(f"{rate / 1e9:.3g} GFLOP/s for the {body}" for body, rate in rates.items())
    print(
        f"hours of {devices.device_summary()} at {speeds}, measured in pretraining steps; without compiling, reading and saving"
    )
    return total


def _body(name: str, run: ConfigDict) -> str:
    return name.removeprefix("zero_shot_") if run.trainer == "zero_shot" else run.model.name


def _flops(config: ConfigDict, body: str, run: ConfigDict) -> float:
    """Floating-point operations of a run: a training step takes three times a forward pass."""
    pretraining = config.pretrain[body]
    sizes = pretraining.model.to_dict()
    del sizes["name"]
    model = factory.make_body(body, pretraining.tokenizer.vocab_size, sizes)
    softmax = 2 * model.width * model.vocab_size
    if run.trainer == "pretrain":
        return (
            3.0
            * run.steps
            * run.batch_size
            * sizes["context"]
            * (model.flops(sizes["context"]) + softmax)
        )

    def forward(name, split, most, share=False, logits=0):
        rows, words = _data(name, split, run.data.source, run.data.path)
        streams, length = _streams(TASKS[name], words, sizes["context"], share)
        return float(
            (min(rows, most) if most else rows) * streams * length * (model.flops(length) + logits)
        )

    world = config.world.words
    if run.trainer == "zero_shot":
        asked = [
            (name, split)
            for name in run.tasks or run.ceilings
            for split in (TASKS[name].validation or ("test",))[:1]
        ]
        asked += [("cola", "train")] * ("cola" in dict(asked))  # whose labels choose the threshold
        most = run.data.examples or (config.world.dev if world else 0)
        # Each of sst2's two answers is a stream of its own.
        once = sum(
            forward(name, split, most, logits=softmax) * (1 + (name in ("sst2", "dprd")))
            for name, split in asked
        )
        return once * len(milestones.grid(pretraining.steps))
    task = TASKS[run.task]
    share, auxiliary = run.share_prefix, softmax * (run.lm_coef != 0)
    trained = (
        3
        * run.epochs
        * forward(
            task.name,
            "train",
            run.data.examples or (config.world.train if world else 0),
            share,
            auxiliary,
        )
    )
    most = config.world.dev if world else 0
    judged = sum(forward(task.name, split, most, share) for split in task.validation)
    predicted = (
        sum(forward(task.name, split, most, share) for split in task.test) if run.data.test else 0.0
    )
    return trained + (run.epochs + 1) * judged + predicted


@functools.lru_cache(maxsize=128)
def _data(name: str, split: str, source: str, path: str) -> tuple[int, tuple[float, float]]:
    """Rows of a split, and words of an example before the answers and in one of them; nothing is fetched for it."""
    task = TASKS[name]
    try:
        if not path:
            raise UserError("")
        read = sources.load(
            task, split, source=source, path=path, max_bad_rows=1_000, say=lambda line: None
        ).examples
    except UserError:
        return task.sizes.get(split, 0), WORDS[name]
    before = task.contexts if task.format == "choice" else task.texts
    words = np.array(
        [[len(text.split()) for text in example.segments] for example in read[:1_000]], float
    )
    return len(read), (
        words[:, :before].sum(axis=1).mean(),
        words[:, before:].mean() if task.format == "choice" else 0.0,
    )


def _streams(
    task: Task, words: tuple[float, float], context: int, share_prefix: bool
) -> tuple[int, int]:
    """Rows an example and tokens a row."""
    before, answer = words
    tokens = lambda words: math.ceil(words * TOKENS_A_WORD) + 3
    if task.format == "choice" and share_prefix:
        return 1, tokens(before + len(task.labels) * answer)
    return {"choice": len(task.labels), "similarity": 2}.get(task.format, 1), min(
        tokens(before + answer), context
    )


def _rate(config: ConfigDict) -> float:
    """Floating-point operations a second in a real training step of a body, at the smallest batch that takes SECONDS."""
    sizes = config.model.to_dict()
    body = factory.make_body(sizes.pop("name"), config.tokenizer.vocab_size, sizes)
    model, length = LanguageModel(body), sizes["context"]
    loss = lambda params, batch, key: (
        row_losses(model, params, batch["tokens"], train=True, key=key).mean(),
        {},
    )
    trained = training(
        loss, optim_config(config, optim.warmup_cosine, config.steps, 0.1)._replace(accumulate=1)
    )
    params = fresh_params(model, 0, np.zeros((1, length), np.int32))
    state = devices.replicate({"params": params, "opt_state": trained.optimizer.init(params)})
    rows = jax.device_count()
    while True:
        batch = devices.split({"tokens": np.zeros((rows, length + 1), np.int32)})
        seconds = []
        for number in range(3):  # the first compiles
            begin = time.perf_counter()
            state, metrics = trained.step(state, batch, step.seed_and_step(0, number))
            jax.block_until_ready(metrics)
            seconds.append(time.perf_counter() - begin)
        if min(seconds[1:]) >= SECONDS or rows * 4 > config.batch_size:
            return (
                3
                * rows
                * length
                * (body.flops(length) + 2 * body.width * body.vocab_size)
                / min(seconds[1:])
            )
        rows *= 4
