"""Load the splits of a task and pack them into the batches of finetuning."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.readers.records import Example
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.engine import checkpoint, losses, order, packing
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS
from gpt1_jax.runs import lifecycle
from gpt1_jax.text import bpe
from gpt1_jax.trainers import classification
from gpt1_jax.trainers.pretrained import FirstStart, Pretrained, read_pretrained


class FinetuneData(NamedTuple):
    """Hold what finetuning reads.

    Attributes:
        task: the task.
        pretrained: the pretraining run to start from.
        examples: split -> examples; the test split of a diagnostic task has that task's name.
        packed: split -> the same examples as padded arrays.
        about: the record of what was read, for data.json and result.json.
        stream_metadata: the record of how examples become token streams, for result.json.
    """

    task: Task
    pretrained: Pretrained
    examples: dict[str, list[Example]]
    packed: dict[str, packing.PackedExamples]
    about: dict[str, Any]
    stream_metadata: dict[str, Any]


def load(config: ConfigDict, run: lifecycle.OpenRun) -> FinetuneData:
    """Read config.task and config.init.path; write data.json and tokenizer.json.

    Raises:
        UserError: the task or the pretraining run does not fit the config, a split cannot be read,
            or the data changed since the run began.
    """
    task = find_task(config.task, config.regression)
    init = config.init
    pretrained = read_pretrained(
        init.path, init.step, init.layers, config.model.to_dict(), _first_start(run.workdir)
    )
    examples, about = read_splits(config.data, task, config.seed, run.log.line)
    packed = pack(config, task, examples, pretrained.tokenizer, pretrained.sizes["context"])
    fingerprints = {split: record["ordered_sha256"] for split, record in about["splits"].items()}
    fingerprints["tokenizer"] = pretrained.tokenizer.fingerprint
    fingerprints["pretrained params"] = pretrained.fingerprint
    lifecycle.check_data(run.workdir, fingerprints)
    record = {**about, "init": {"step": pretrained.step}, "fingerprints": fingerprints}
    storage.write_json(run.new_path("data.json"), record)
    pretrained.tokenizer.save(run.new_path("tokenizer.json"))
    stream_metadata = classification.task_metadata(task) | {"context": pretrained.sizes["context"]}
    return FinetuneData(task, pretrained, examples, packed, about, stream_metadata)


def _first_start(workdir: storage.Path) -> FirstStart | None:
    """Return what data.json records about the initial params; None at the first start."""
    record = storage.read_json(workdir / "data.json", missing=None)
    if record is None:
        return None
    is_saved = any(map(str.isdecimal, storage.names(workdir / checkpoint.FOLDER)))
    return FirstStart(record["init"]["step"], record["fingerprints"]["pretrained params"], is_saved)


def find_task(name: str, regression: bool) -> Task:
    """Return the task `name`.

    Raises:
        UserError: the task is unknown, cannot be finetuned on, or has no scores for `regression`.
    """
    task = TASKS[name]
    if not task.trainable:
        raise UserError(
            f"config.task: {task.name} has no training split or no development split, so "
            "it cannot be finetuned on; choose another task"
        )
    if regression and not task.bins:
        raise UserError(f"config.regression: {task.name} has classes, not scores; set it to False")
    return task


def read_splits(
    data: ConfigDict, task: Task, seed: int, log_line: Callable[[str], None]
) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """Return split -> examples, and the record of what was read.

    With data.examples, `seed` draws the training rows. The hashes in the record are those of all
    rows, because seeds do not make other data.
    """
    location = {"source": data.source, "path": data.path}
    examples, records = {}, {}
    for name, (owner, split) in _available_splits(task, location, data.test).items():
        rows = sources.load(
            owner, split, **location, max_bad_rows=data.max_bad_rows, log_line=log_line
        )
        record = sources.describe(owner, split, rows)
        if split == "train" and data.examples:
            drawn = sources.subset(owner, rows.examples, data.examples, seed)
            rows = rows._replace(examples=drawn)
            hashes = {name: record[name] for name in ("sha256", "ordered_sha256")}
            record = sources.describe(owner, split, rows) | hashes
        line = f"{owner.name} {split}: {record['rows']} rows, {record['labels']}"
        if record["unlabeled"]:
            line += f", {record['unlabeled']} without a gold label left out"
        if record["published"] is False:
            line += f"; the published split has {owner.sizes[split]} rows: scores do not compare"
        log_line(line)
        examples[name], records[name] = rows.examples, record
    return examples, {"source": data.source, "splits": records}


def _available_splits(
    task: Task, location: Mapping[str, str], test: bool
) -> dict[str, tuple[Task, str]]:
    """Return name -> (task, split) for the splits to read.

    Args:
        test: include the test splits, and those of the diagnostic tasks, if the source has them.
    """
    splits = {split: (task, split) for split in ("train", *task.validation)}
    if not test:
        return splits
    for split in task.test:
        if sources.has(task, split, **location):
            splits[split] = (task, split)
    for name in task.diagnostics:
        try:
            available = sources.has(TASKS[name], "test", **location)
        except UserError:  # a diagnostic task is optional, so its absence is no error
            available = False
        if available:
            splits[name] = (TASKS[name], "test")
    return splits


def pack(
    config: ConfigDict,
    task: Task,
    examples: Mapping[str, Sequence[Example]],
    tokenizer: bpe.Tokenizer,
    context: int,
) -> dict[str, packing.PackedExamples]:
    """Return split -> examples as padded arrays; `context` is that of the pretrained model."""
    packed = {}
    for split, rows in examples.items():
        segments = [example.segments for example in rows]
        streams = classification.streams(task, segments, tokenizer, context)
        packed[split] = pack_streams(config, task, [row.label for row in rows], streams)
    return packed


def pack_streams(
    config: ConfigDict,
    task: Task,
    labels: Sequence[float | None],
    streams: Sequence[Sequence[Sequence[int]]],
) -> packing.PackedExamples:
    """Return examples as padded arrays, with labels as the loss takes them; None is hidden.

    Labels are distributions over the classes, or scores in regression. With config.share_prefix,
    the common context of the streams of a choice is stored once. In training the streams then share
    the attention and residual dropout of the context. In the published system each stream has
    separate dropout: the distribution of one stream is the same, but the streams of an example are
    not correlated.
    """
    share_prefix = config.share_prefix and task.format == "choice"
    if None in labels:
        return packing.PackedExamples(streams, None, share_prefix)
    numbers = np.array(labels)
    weights = packing.stream_weights(
        streams,
        numbers,
        per_sequence_mean=config.published.per_sequence_lm_mean,
        every_stream=config.published.lm_loss_on_wrong_answers or task.format != "choice",
    )
    if config.regression:
        targets = numbers.astype(np.float32)
    else:
        targets = losses.soft_bins(numbers, task.outputs)
    return packing.PackedExamples(streams, targets, share_prefix, weights)


def training_batch(
    step: int,
    train: packing.PackedExamples,
    batch_size: int,
    seed: int,
    accumulate: int,
    pack_rows: bool,
) -> dict[str, Any]:
    """Return the global batch of `step`; the other arguments are settings of the config."""
    indices = order.indices(step, size=len(train), batch_size=batch_size, seed=seed)
    return batch_of(indices, train, jax.device_count() * accumulate, pack_rows)


def batch_of(
    indices: Sequence[int] | np.ndarray, train: packing.PackedExamples, parts: int, pack_rows: bool
) -> dict[str, Any]:
    """Return the global batch of some examples, which is cut into `parts`.

    With `pack_rows`, short examples of a part share rows. Rows with a shared prefix stay as they
    are.
    """
    batch = train[indices]
    if pack_rows and "segment_ids" not in batch:
        batch = packing.pack_rows(batch, parts)
    if "stream_weight" in batch:
        batch = packing.normalize_stream_weight(batch)
    return packing.with_max_targets(batch, parts)
