"""Zero-shot probes: what a language model knows of a task before any finetuning, at every checkpoint (section 5 of the paper)."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import scipy.special
from ml_collections import ConfigDict

from gpt1_jax import storage
from gpt1_jax.analysis.stats import metrics
from gpt1_jax.datasets import sources
from gpt1_jax.datasets.readers.records import Example, OmittedRows
from gpt1_jax.engine import devices, losses, packing
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.runs import lifecycle, predictions
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import probes
from gpt1_jax.trainers import config_checks


class Probe(NamedTuple):
    """How a task is asked.

    Attributes:
        curve: its name in Figure 2 (right); empty where the figure has none.
        texts: (an example's texts, the config) -> what is given and what is scored (`text.probes`), for every choice.
        total: a choice's score is the sum of its tokens' log-probabilities instead of their mean.
        threshold: where an example has one score only: the split whose labels choose the threshold above which it is of the second
            class. The paper does not say how it was chosen; here it is the one with the best Matthews correlation.
    """

    curve: str
    texts: Callable[[Sequence[str], ConfigDict], list[tuple[str, str]]]
    total: bool = False
    threshold: str = ""


PROBES = {
    "cola": Probe("acceptability", lambda texts, config: probes.sentence(texts), threshold="train"),
    "sst2": Probe(
        "sentiment",
        lambda texts, config: probes.continuation(texts, config.sst2.append, config.sst2.words),
        total=True,
    ),
    "race": Probe("qa", lambda texts, config: probes.answers(texts, contexts=2)),
    "dprd": Probe("winograd", lambda texts, config: probes.substitution(texts)),
    "story_cloze_2016": Probe("", lambda texts, config: probes.answers(texts, contexts=1)),
    "story_cloze_2018": Probe("", lambda texts, config: probes.answers(texts, contexts=1)),
}


class ProbeSplit(NamedTuple):
    """One split of a task: its examples, the streams of all of them, one after the other, and what was read."""

    examples: list[Example]
    streams: list[probes.Stream]
    about: dict

    @property
    def labels(self) -> list[int]:
        return [example.label for example in self.examples]


@TRAINERS.register("zero_shot")
def zero_shot(config: ConfigDict, path: str) -> dict:
    """Probes every checkpoint of the run config.init.path; `path` is the run's folder, and what comes back is also its result.json.

    The scores of a checkpoint are a file of probed/, written whole: a run that was killed goes on after the last of them.
    """
    config_checks.check(config)
    with lifecycle.open_run(path, config.to_dict()) as run:
        if run.result is not None:
            return run.result
        begin = time.time()
        devices.check_batch_size(config.batch_size)
        source = PretrainedRun(config.init.path)
        names = _names(config, run.log.line)
        scale = _scale(config, names)
        asked = {
            (name, split): _questions(config, source, name, split, run.log.line)
            for name in names
            for split in _splits(name)
        }
        about = {f"{name}/{split}": questions.about for (name, split), questions in asked.items()}
        fingerprints = {split: facts["sha256"] for split, facts in about.items()}
        fingerprints |= {
            "tokenizer": source.tokenizer.fingerprint,
            "checkpoints": _fingerprint(source),
        }
        lifecycle.check_data(run.workdir, fingerprints)
        about = {"source": config.data.source, "splits": about}
        storage.write_json(run.workdir / "data.json", about | {"fingerprints": fingerprints})

        run.log.line(
            f"probing {source.workdir}, a {source.body}, after updates {', '.join(map(str, source.steps))}"
        )
        probed = _probe(run, source, names, _scoring(config, source, asked), asked, scale)
        summaries = {}
        for name in names:
            split = _splits(name)[-1]
            facts = {"curve": PROBES[name].curve, "metric": TASKS[name].metrics[0], "split": split}
            facts |= {key: asked[name, split].about[key] for key in ("rows", "cut")} | scale[name]
            summaries[name] = facts | {
                "steps": {str(step): probed[step][name] for step in source.steps}
            }
        result = {
            "trainer": "zero_shot",
            "body": source.body,
            "init": {"path": config.init.path},
            "steps": source.steps,
            "probes": summaries,
            "data": about,
            "seconds": round(time.time() - begin, 1),
            "device": jax.devices()[0].device_kind,
        }
        return run.finish(result)


def _names(config: ConfigDict, say: Callable[[str], None]) -> list[str]:
    """The probes that config.tasks names, else those whose data is there."""
    if unknown := [name for name in config.tasks if name not in PROBES]:
        raise UserError(
            f"config.tasks: no probe is called {unknown[0]!r}; choose among: {', '.join(PROBES)}"
        )
    if config.tasks:
        return list(dict.fromkeys(config.tasks))
    place, reasons = {"source": config.data.source, "path": config.data.path}, {}
    for name in PROBES:
        try:
            if missing := [
                split for split in _splits(name) if not sources.has(TASKS[name], split, **place)
            ]:
                reasons[name] = f"its split {missing[0]} is not there"
        except UserError as error:
            reasons[name] = str(error)
    for name, reason in reasons.items():
        say(f"{name} is left out: {reason}")
    if len(reasons) == len(PROBES):
        where = (
            f"config.data.path: {config.data.path!r} has the data of none of {', '.join(PROBES)}"
        )
        raise UserError(f"{where}; name a folder that has (cola: {reasons['cola']})")
    return [name for name in PROBES if name not in reasons]


def _splits(name: str) -> list[str]:
    """What is read of a task: the split that chooses a threshold, and last the one that is judged, which is never hidden."""
    task, threshold = TASKS[name], PROBES[name].threshold
    return [*[threshold] * bool(threshold), (*task.validation, *task.test)[0]]


def _scale(config: ConfigDict, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """What is 0 and what is 1 in each probe's relative performance: chance and the declared ceiling."""
    ceilings, scale = config.ceilings.to_dict(), {}
    for name in names:
        chance = 1 / len(TASKS[name].labels) if TASKS[name].metrics[0] == "accuracy" else 0.0
        if ceilings[name] <= chance:
            raise UserError(
                f"config.ceilings.{name}: {ceilings[name]} is not above chance, {chance}; give a higher one"
            )
        scale[name] = {"chance": chance, "ceiling": ceilings[name]}
    return scale


def _questions(
    config: ConfigDict, source: PretrainedRun, name: str, split: str, say: Callable[[str], None]
) -> ProbeSplit:
    """The split's examples as streams; UserError for one that cannot be asked, beyond config.data.max_bad_rows."""
    task, tokenizer = TASKS[name], source.tokenizer
    place = {
        "source": config.data.source,
        "path": config.data.path,
        "max_bad_rows": config.data.max_bad_rows,
    }
    read = sources.load(task, split, **place, say=say)
    opening = probes.start(config.start, tokenizer)
    omitted = OmittedRows(config.data.max_bad_rows, say)
    examples, streams = [], []
    for example in read.examples[: config.data.examples or None]:
        try:
            texts = PROBES[name].texts(example.segments, config)
            ids = [tokenizer.encode(pair) for pair in texts]
            choices = [
                probes.stream(opening, given, scored, source.sizes["context"])
                for given, scored in ids
            ]
        except ValueError as reason:
            omitted.add_malformed(f"{name} {split}, row {example.id}", reason)
            continue
        if name == "sst2" and ids[0] == ids[1]:
            raise UserError(
                f"config.sst2.words: {config.sst2.words} are the same tokens to this run; give words that differ"
            )
        examples.append(example)
        streams += choices
    if not examples:
        raise UserError(
            f"{name} {split}: no row is left to probe; lower config.data.max_bad_rows and repair the data"
        )
    facts = sources.describe(task, split, read._replace(examples=examples))
    other = (
        f"; the published split has {task.sizes[split]}: scores do not compare"
        if facts["published"] is False
        else ""
    )
    cut = sum(stream.cut for stream in streams)
    long = (
        f"; of {cut} of {len(streams)} streams, longer than {source.sizes['context'] + 1} tokens, the beginning is left out"
        if cut
        else ""
    )
    say(f"{name} {split}: {facts['rows']} rows, {facts['labels']}{other}{long}")
    return ProbeSplit(examples, streams, facts | {"cut": cut})


def _fingerprint(source: PretrainedRun) -> str:
    """Of all the run's checkpoints; equal ones give equal params."""
    checksums = {step: source.meta(step)["crc32"] for step in source.steps}
    return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()


class _Scored(packing.PackedExamples):
    """Streams, one an example, whose weights are 1 on the scored tokens alone."""

    def __init__(self, streams: Sequence[probes.Stream]):
        super().__init__([[stream.ids] for stream in streams], None)
        self._first = np.array([stream.first for stream in streams])

    def __getitem__(self, indices):
        batch = super().__getitem__(indices)
        scored = np.arange(batch["tokens"].shape[-1]) >= self._first[indices][:, None, None]
        return {"tokens": batch["tokens"], "weights": batch["weights"] * scored}


def _scoring(
    config: ConfigDict, source: PretrainedRun, asked: Mapping[tuple[str, str], ProbeSplit]
) -> Callable[[Mapping], dict]:
    """Params -> of each split asked, the scores of its examples' choices [N C].

    The softmax is over the tokens' rows alone. The table's other rows, positions, are no answer to anything.
    """
    streams = [stream for questions in asked.values() for stream in questions.streams]
    lengths = np.array([len(stream.ids) - stream.first for stream in streams])
    ends = np.cumsum([len(questions.streams) for questions in asked.values()])
    vocab_size = source.tokenizer.vocab_size
    model = LanguageModel(factory.make_body(source.body, vocab_size, source.sizes))

    def step(params, batch, _):
        tokens, weights = batch["tokens"][:, 0], batch["weights"][:, 0]
        hidden, table = model.apply({"params": params}, tokens[:, :-1], train=False)
        rows = table[:vocab_size]
        return devices.gather(
            losses.language_model(
                hidden, rows, tokens[:, 1:], weights[:, 1:], max_targets=batch["max_targets"].value
            )
        )

    step = devices.parallelise(step, backend=config.backend)
    room = lambda batch: devices.split(packing.with_max_targets(batch, jax.device_count()))
    batches = [
        (chosen, room(batch))
        for chosen, batch in packing.evaluation_batches(_Scored(streams), config.batch_size)
    ]

    def score(params):
        means, params = np.zeros(len(streams)), devices.replicate(params)
        for chosen, batch in batches:
            means[chosen] = -jax.device_get(step(params, batch, np.int32(0)))[: len(chosen)]
        scores = {}
        for (name, split), mean, length in zip(
            asked, np.split(means, ends[:-1]), np.split(lengths, ends[:-1]), strict=True
        ):
            each = mean * length if PROBES[name].total else mean
            scores[name, split] = each.reshape(len(asked[name, split].examples), -1)
        return scores

    return score


def _probe(
    run: lifecycle.OpenRun,
    source: PretrainedRun,
    names: Sequence[str],
    score: Callable[[Mapping], dict],
    asked: Mapping[tuple[str, str], ProbeSplit],
    scale: Mapping[str, Mapping[str, float]],
) -> dict[int, dict]:
    """Update -> probe -> what `_evaluate_probe` gives, of every checkpoint; of those that are known, from their files."""
    files = {step: run.workdir / "probed" / f"{step}.json" for step in source.steps}
    # All before the first score: later the processes of a run might not see the same files.
    probed = {step: storage.read_json(file) for step, file in files.items() if file.exists()}
    known, left = max(probed, default=0), [step for step in source.steps if step not in probed]
    with run.log.bar("probing") as advance:
        for step in left:
            scores = score(source.params(step))
            if step == left[0]:
                run.log.start(
                    known
                )  # not before: a mistake that shows with the first checkpoint leaves no folder
            probed[step] = {
                name: _evaluate_probe(run, name, step, asked, scores, **scale[name])
                for name in names
            }
            run.log.metrics(
                step,
                {
                    f"{name}_{key}": value
                    for name, facts in probed[step].items()
                    for key, value in facts.items()
                },
            )
            if jax.process_index() == 0:
                files[step].parent.mkdir(exist_ok=True)
                storage.write_json(files[step], probed[step])
            advance(len(probed), len(source.steps))
    return probed


def _evaluate_probe(
    run: lifecycle.OpenRun,
    name: str,
    step: int,
    asked: Mapping[tuple[str, str], ProbeSplit],
    scores: Mapping,
    chance: float,
    ceiling: float,
) -> dict[str, float]:
    """A probe's score, raw and relative, and its threshold where it has one; the answers go to predictions/."""
    *chooser, judged = _splits(name)
    task, questions, found, facts = TASKS[name], asked[name, judged], scores[name, judged], {}
    if chooser:
        threshold = metrics.threshold(
            asked[name, chooser[0]].labels, scores[name, chooser[0]][:, 0]
        )
        found, facts = (
            np.concatenate([np.full_like(found, threshold), found], axis=1),
            {"threshold": threshold},
        )
    answers = found.argmax(axis=1)
    if jax.process_index() == 0:
        file = run.workdir / "predictions" / f"{name}_{step}.tsv"
        predictions.write(
            file, questions.examples, answers, scipy.special.softmax(found, axis=1), task.labels
        )
    (value,) = metrics.score(task.metrics[:1], questions.labels, answers).values()
    return {"score": value, "relative": (value - chance) / (ceiling - chance), **facts}
