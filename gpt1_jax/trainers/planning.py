"""What an ablation will cost: runs, floating-point operations, and hours on this device from a measured step. Runs nothing."""

import functools
import math
import time
from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax.analysis import tables
from gpt1_jax.datasets import sources
from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers import settings
from gpt1_jax.trainers.fitting import fresh_params, recipe, row_losses, training
from gpt1_jax.training import devices, milestones, optim, step

TOKENS_A_WORD = 1.3  # of a large BPE on English; smaller ones need more
SECONDS = 0.2  # a step that takes so long is measured well enough


def plan(config: ConfigDict, runs: Mapping[str, ConfigDict]) -> dict:
    """Prints a line for every kind of run, those that differ in seed alone together, and the sum; gives {"flops", "hours"}.

    Finetuning's tokens are estimated: published sizes where the data is not at hand, words times TOKENS_A_WORD. Compilation,
    reading and saving are not counted, which for small models is much of the time.
    """
    kinds = {}
    for name, run in runs.items():
        kind = name if run.trainer != "finetune" else name.rpartition("_")[0]
        kinds.setdefault(kind, []).append(run)
    rates = {body: _rate(config.pretrain[body]) for body in sorted({_body(config, run) for run in runs.values()})}
    rows, total = [], {"flops": 0.0, "hours": 0.0}
    for kind, alike in kinds.items():
        flops = _flops(config, alike[0])
        hours = flops / rates[_body(config, alike[0])] / 3600
        rows.append([kind, str(len(alike)), f"{flops:.2e}", f"{hours:.3g}", f"{hours * len(alike):.3g}"])
        total = {"flops": total["flops"] + flops * len(alike), "hours": total["hours"] + hours * len(alike)}
    rows.append(["all", str(len(runs)), f"{total['flops']:.2e}", "", f"{total['hours']:.3g}"])
    columns = ("seeds", "FLOPs each", "hours each", "hours")
    lines = [tables.Row(name, [tables.Cell(text) for text in cells]) for name, *cells in rows]
    print(tables.Table("plan", "Plan", "run", columns, lines).markdown())
    speeds = ", ".join(f"{rate / 1e9:.3g} GFLOP/s for the {body}" for body, rate in rates.items())
    print(f"hours of {devices.kind()} at {speeds}, measured in pretraining steps; without compiling, reading and saving")
    return total


def _body(config: ConfigDict, run: ConfigDict) -> str:
    if run.trainer == "zero_shot":
        return next(
            body for body in config.pretrain if run.init.path.endswith(f"pretrain_{body}") or run.init.path == config.pretrained[body]
        )
    return run.model.name


def _sizes(config: ConfigDict, body: str) -> dict:
    sizes = config.pretrain[body].model.to_dict()
    del sizes["name"]
    return sizes


def _flops(config: ConfigDict, run: ConfigDict) -> float:
    """Floating-point operations of a run: a training step takes three times a forward pass."""
    body = _body(config, run)
    pretraining, sizes = config.pretrain[body], _sizes(config, body)
    vocabulary = pretraining.tokenizer.vocab_size
    model = settings.body(body, sizes)(vocabulary, **sizes)
    softmax = 2 * model.width * vocabulary
    if run.trainer == "pretrain":
        return 3.0 * run.steps * run.batch_size * sizes["context"] * (model.flops(sizes["context"]) + softmax)
    place = (run.data.source, run.data.path, sizes["context"])
    if run.trainer == "zero_shot":
        asked = [_tokens(task, "validation", *place, run.data.examples) for task in ("cola", "sst2", "race")]
        checkpoints = len(milestones.grid(pretraining.steps))
        return float(sum(rows * streams * length * (model.flops(length) + softmax) for rows, streams, length in asked) * checkpoints)
    task = TASKS[run.task]
    most = run.data.examples or (config.world.train if config.world.words else 0)
    rows, streams, length = _tokens(run.task, "train", *place, most)
    trained = 3.0 * run.epochs * rows * streams * length * (model.flops(length) + softmax * (run.lm_coef != 0))
    rows, streams, length = _tokens(run.task, task.validation[0], *place, config.world.dev if config.world.words else 0)
    return trained + (run.epochs + 1) * rows * streams * length * model.flops(length)


@functools.lru_cache(maxsize=128)
def _tokens(name: str, split: str, source: str, path: str, context: int, examples: int) -> tuple[int, int, int]:
    """Rows of a split, streams an example and tokens a stream; what is published where the data is not at hand."""
    task = TASKS[name]
    streams = {"choice": len(task.labels), "similarity": 2}.get(task.format, 1)
    try:
        if source == "files" and not path:
            raise UserError("")
        read = sources.load(task, split, source=source, path=path, max_bad_rows=1_000, say=lambda line: None).examples
        words = np.mean([sum(len(text.split()) for text in example.segments) for example in read[:1_000]])
        if task.format == "choice":  # each stream has the contexts and one answer
            words /= 1 + (len(task.labels) - 1) / 2
        rows, length = len(read), min(math.ceil(words * TOKENS_A_WORD) + 3, context)
    except UserError:
        rows, length = task.sizes.get(split, 1_000), context
    return min(rows, examples) if examples else rows, streams, length


def _rate(config: ConfigDict) -> float:
    """Floating-point operations a second in a real training step of a body, at the smallest batch that takes SECONDS."""
    sizes = config.model.to_dict()
    body = settings.body(sizes.pop("name"), sizes)(config.tokenizer.vocab_size, **sizes)
    model, length = LanguageModel(body), sizes["context"]
    loss = lambda params, batch, key: (row_losses(model, params, batch["tokens"], train=True, key=key).mean(), {})
    trained = training(loss, recipe(config, optim.warmup_cosine, config.steps, 0.1)._replace(accumulate=1))
    params = fresh_params(model, 0, np.zeros((1, length), np.int32))
    state = devices.replicated({"params": params, "opt_state": trained.optimizer.init(params)})
    rows = jax.device_count()
    while True:
        batch = devices.split({"tokens": np.zeros((rows, length + 1), np.int32)})
        seconds = []
        for number in range(3):  # the first compiles
            begin = time.perf_counter()
            state, metrics = trained.step(state, batch, step.moment(0, number))
            jax.block_until_ready(metrics)
            seconds.append(time.perf_counter() - begin)
        if min(seconds[1:]) >= SECONDS or rows * 4 > config.batch_size:
            return 3 * rows * length * (body.flops(length) + 2 * body.width * body.vocab_size) / min(seconds[1:])
        rows *= 4
