"""Probe every checkpoint of a pretraining run without finetuning (section 5 of the paper)."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from gpt1_jax import inputs, storage
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.readers.records import OmittedRows
from gpt1_jax.datasets.task import Task
from gpt1_jax.datasets.tasks import probed_tasks
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.runs import lifecycle, predictions
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import probes
from gpt1_jax.trainers import config_checks, probing


@TRAINERS.register("zero_shot")
def zero_shot(config: ConfigDict, path: str) -> dict:
    """Probe every checkpoint of the run config.init.path. Return the content of result.json.

    Each checkpoint's scores are one file in probed/. A run that was killed continues with the first
    checkpoint that has no such file.

    Args:
        config: see configs/zero_shot.py.
        path: folder of this run.
    """
    config_checks.check(config)
    with lifecycle.open_run(path, config.to_dict()) as run:
        if run.result is not None:
            if run.has_moved:
                _load(config, run)
            return run.result
        return _zero_shot(config, run)


class ProbeInputs(NamedTuple):
    """Hold what is probed.

    Attributes:
        source: the pretraining run.
        tasks: the tasks.
        splits: their splits, by the names of task and split.
        data: the record of the splits, for data.json and result.json.
    """

    source: PretrainedRun
    tasks: list[Task]
    splits: dict[tuple[str, str], probing.ProbeSplit]
    data: dict


def _load(config: ConfigDict, run: lifecycle.OpenRun) -> ProbeInputs:
    """Load the pretraining run and the splits; compare them with data.json, and write it."""
    source = PretrainedRun(config.init.path)
    tasks = _select_tasks(config, run.log.line)
    splits, metadata = {}, {}
    for task in tasks:
        for name in task.probe_splits:
            split, metadata[f"{task.name}/{name}"] = _load_split(
                config, task, name, source, run.log.line
            )
            splits[task.name, name] = split
    data = {"source": config.data.source, "splits": metadata}
    _record_data(run, source, data)
    return ProbeInputs(source, tasks, splits, data)


def _zero_shot(config: ConfigDict, run: lifecycle.OpenRun) -> dict:
    """Load the splits, probe the checkpoints and write the result."""
    begin = time.time()
    config_checks.check_batch_size(config.batch_size)
    source, tasks, splits, data = _load(config, run)
    steps = ", ".join(map(str, source.steps))
    run.log.line(f"probing {source.workdir} ({source.body}) after steps {steps}")
    body = factory.make_body(source.body, source.tokenizer.vocab_size, source.sizes)
    model = LanguageModel(body)
    scorer = probing.ChoiceScorer(model, splits, config.batch_size, config.backend)
    results = _probe_checkpoints(run, source, tasks, splits, scorer)
    result = {
        "trainer": "zero_shot",
        "body": source.body,
        "init": {"path": config.init.path},
        "steps": source.steps,
        "probes": {
            task.name: _probe_summary(task, data["splits"])
            | {"steps": {str(step): results[step][task.name] for step in source.steps}}
            for task in tasks
        },
        "data": data,
        "seconds": round(time.time() - begin, 1),
        "device": jax.devices()[0].device_kind,
    }
    return run.finish(result)


def _select_tasks(config: ConfigDict, log_line: Callable[[str], None]) -> list[Task]:
    """Return the tasks to probe, with the probe settings of the config.

    They are those of config.tasks, by default all that have a probe and data.

    Raises:
        UserError: a name is unknown, no task has data, or a setting does not suit a task.
    """
    known = probed_tasks()
    for name in config.tasks:
        if name not in known:
            raise UserError(
                f"config.tasks: no probe is called {name!r}; choose among: {', '.join(known)}"
            )
    names = list(dict.fromkeys(config.tasks)) or _tasks_with_data(config, known, log_line)
    return [_configure(config, TASKS[name]) for name in names]


def _tasks_with_data(
    config: ConfigDict, names: Sequence[str], log_line: Callable[[str], None]
) -> list[str]:
    """Return the tasks whose splits exist. Log why the others are skipped."""
    reasons = {name: _missing_data(config, TASKS[name]) for name in names}
    available = [name for name in names if not reasons[name]]
    for name in names:
        if reasons[name]:
            log_line(f"{name} is skipped: {reasons[name]}")
    if not available:
        raise UserError(
            f"config.data.path: {config.data.path!r} has no data of {', '.join(names)} "
            f"({names[0]}: {reasons[names[0]]}); name a folder with the data of one of them"
        )
    return available


def _missing_data(config: ConfigDict, task: Task) -> str:
    """Return why the task cannot be probed; "" if its splits exist."""
    try:
        for split in task.probe_splits:
            if not sources.has(task, split, source=config.data.source, path=config.data.path):
                return f"split {split} is missing"
    except UserError as error:
        return str(error)
    return ""


def _configure(config: ConfigDict, task: Task) -> Task:
    """Return the task with the ceiling and the options that the config gives its probe."""
    assert task.probe
    ceiling = config.ceilings.to_dict()[task.name]
    if ceiling <= task.chance:
        raise UserError(
            f"config.ceilings.{task.name}: {ceiling} is not above chance, {task.chance}; "
            "give a higher one"
        )
    options = task.probe.options
    if task.name == "sst2":
        options = {"append": config.sst2.append, "words": config.sst2.words}
    probe = dataclasses.replace(task.probe, ceiling=ceiling, options=options)
    return dataclasses.replace(task, probe=probe)


def _load_split(
    config: ConfigDict,
    task: Task,
    name: str,
    source: PretrainedRun,
    log_line: Callable[[str], None],
) -> tuple[probing.ProbeSplit, dict]:
    """Return the split as streams, and its description for the run's record.

    Raises:
        UserError: the split cannot be read, or too many of its rows cannot be probed.
    """
    data, context = config.data, source.sizes["context"]
    rows = sources.load(
        task,
        name,
        source=data.source,
        path=data.path,
        max_bad_rows=data.max_bad_rows,
        log_line=log_line,
    )
    if task.name == "sst2":
        _check_words(config, source)
    split = probing.encode_split(
        task,
        sources.subset(task, rows.examples, data.examples, seed=0),  # the same for all runs
        f"{task.name} {name}",
        tokenizer=source.tokenizer,
        opening=probes.start(config.start, source.tokenizer),
        context=context,
        omitted=OmittedRows(data.max_bad_rows, log_line),
    )
    if not split.examples:
        raise UserError(
            f"{task.name} {name}: no row is left to probe; repair the data and lower "
            "config.data.max_bad_rows"
        )
    metadata = sources.describe(task, name, rows._replace(examples=split.examples))
    line = f"{task.name} {name}: {metadata['rows']} rows, {metadata['labels']}"
    if metadata["published"] is False:
        line += f"; the published split has {task.sizes[name]} rows: scores do not compare"
    if split.cut:
        line += f"; {split.cut} of {len(split.streams)} streams are cut on the left"
        line += f" to {context + 1} tokens"
    log_line(line)
    return split, metadata | {"cut": split.cut}


def _check_words(config: ConfigDict, source: PretrainedRun) -> None:
    """Raise UserError if the tokenizer does not distinguish the words of config.sst2."""
    first, second = source.tokenizer.encode(list(config.sst2.words))
    if first == second:
        raise UserError(
            f"config.sst2.words: {config.sst2.words} are the same tokens to this run; "
            "give words that differ"
        )


def _record_data(run: lifecycle.OpenRun, source: PretrainedRun, data: Mapping) -> None:
    """Write data.json. Raise UserError if the run began with other data or checkpoints."""
    checksums = {step: source.meta(step)["crc32"] for step in source.steps}
    checkpoints = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
    fingerprints = {name: split["ordered_sha256"] for name, split in data["splits"].items()}
    fingerprints |= {"tokenizer": source.tokenizer.fingerprint, "checkpoints": checkpoints}
    lifecycle.check_data(run.workdir, fingerprints)
    storage.write_json(run.new_path("data.json"), {**data, "fingerprints": fingerprints})


def _probe_checkpoints(
    run: lifecycle.OpenRun,
    source: PretrainedRun,
    tasks: Sequence[Task],
    splits: Mapping[tuple[str, str], probing.ProbeSplit],
    scorer: probing.ChoiceScorer,
) -> dict[int, dict[str, dict[str, float]]]:
    """Return step -> task -> metrics for every checkpoint. Read earlier results from files."""
    files = {step: run.workdir / "probed" / f"{step}.json" for step in source.steps}
    # Before the first score: later the processes of a run might not see the same files.
    fields = {f"{task.name}.{name}": float for task in tasks for name in ("score", "relative")}
    repeat = "remove the file, and repeat the command"
    results = {
        step: inputs.read_object(file, fields, damaged=repeat)
        for step, file in files.items()
        if file.exists()
    }
    start = max(results, default=0)
    pending = [step for step in source.steps if step not in results]
    with run.log.bar("probing") as advance:
        for step in pending:
            scores = scorer(source.params(step))
            if step == pending[0]:
                # Only now: after an error in the first checkpoint, open_run removes the folder.
                run.log.start(start)
            results[step] = {}
            for task in tasks:
                result = probing.evaluate_probe(task, splits, scores)
                results[step][task.name] = result.metrics
                _write_predictions(run, task, step, result)
            run.log.metrics(
                step,
                {
                    f"{name}_{metric}": value
                    for name, values in results[step].items()
                    for metric, value in values.items()
                },
            )
            if jax.process_index() == 0:
                storage.write_json(files[step], results[step])
            advance(len(results), len(source.steps))
    return results


def _write_predictions(
    run: lifecycle.OpenRun, task: Task, step: int, result: probing.ProbeResult
) -> None:
    """Write predictions/TASK_STEP.tsv."""
    if jax.process_index() == 0:
        predictions.write(
            run.workdir / "predictions" / f"{task.name}_{step}.tsv",
            result.examples,
            result.predictions,
            result.probabilities,
            task.labels,
        )


def _probe_summary(task: Task, metadata: Mapping[str, Mapping]) -> dict:
    """Return the facts on a probe that the report needs."""
    assert task.probe
    split = task.probe_splits[-1]
    return {
        "curve": task.probe.curve,
        "metric": task.metrics[0],
        "split": split,
        "rows": metadata[f"{task.name}/{split}"]["rows"],
        "cut": metadata[f"{task.name}/{split}"]["cut"],
        "chance": task.chance,
        "ceiling": task.probe.ceiling,
    }
