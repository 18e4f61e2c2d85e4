"""Score examples with a language model without finetuning (section 5 of the paper).

Letters: N examples, C choices of an example, each of which is one token stream.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from gpt1_jax.analysis.stats import metrics
from gpt1_jax.datasets.readers.records import Example, OmittedRows
from gpt1_jax.datasets.task import Task
from gpt1_jax.engine import devices, losses, packing
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.text import probes
from gpt1_jax.text.bpe import Tokenizer


class ProbeSplit(NamedTuple):
    """Hold one split of a probed task.

    Attributes:
        task: the task.
        examples: the N examples.
        streams: the N * C streams, those of an example one after the other.
    """

    task: Task
    examples: list[Example]
    streams: list[probes.Stream]

    @property
    def labels(self) -> list[Any]:
        """Return the N class ids."""
        return [example.label for example in self.examples]

    @property
    def cut(self) -> int:
        """Return the number of streams that were longer than the context."""
        return sum(stream.cut for stream in self.streams)


def encode_split(
    task: Task,
    examples: Sequence[Example],
    where: str,
    *,
    tokenizer: Tokenizer,
    opening: Sequence[int],
    context: int,
    omitted: OmittedRows,
) -> ProbeSplit:
    """Return the examples as token streams.

    Args:
        task: the task; its probe makes the texts.
        examples: rows of one split.
        where: names of the task and the split, for messages.
        tokenizer: the tokenizer of the language model.
        opening: token ids at the start of every stream.
        context: number of positions of the language model.
        omitted: counter of malformed rows.

    Raises:
        UserError: more rows cannot be probed than `omitted` allows.
    """
    assert task.probe
    encoded, streams = [], []
    for example in examples:
        try:
            pairs = task.probe.texts(example.segments, **task.probe.options)
            choices = [
                probes.stream(opening, *tokenizer.encode(pair), context=context) for pair in pairs
            ]
        except ValueError as reason:
            omitted.add_malformed(f"{where}, row {example.id}", reason)
            continue
        encoded.append(example)
        streams += choices
    return ProbeSplit(task, encoded, streams)


class _ScoredStreams(packing.PackedExamples):
    """Pack one stream per example. The weights are 1 on the scored tokens and 0 elsewhere."""

    def __init__(self, streams: Sequence[probes.Stream]):
        super().__init__([[stream.ids] for stream in streams], None)
        self._first = np.array([stream.first for stream in streams])

    def __getitem__(self, indices):
        batch = super().__getitem__(indices)
        scored = np.arange(batch["tokens"].shape[-1]) >= self._first[indices][:, None, None]
        return {"tokens": batch["tokens"], "weights": batch["weights"] * scored}


class ChoiceScorer:
    """Compute the scores of all choices from the params of a language model.

    The softmax is over the token rows of the embedding, without the rows of positions.

    Args:
        model: the language model.
        splits: the splits to score, by the names of task and split.
        batch_size: streams per batch, over all devices.
        backend: as for `devices.parallelize`.
    """

    def __init__(
        self,
        model: LanguageModel,
        splits: Mapping[tuple[str, str], ProbeSplit],
        batch_size: int,
        backend: str,
    ):
        streams = [stream for split in splits.values() for stream in split.streams]
        self._splits = splits
        self._lengths = np.array([len(stream.ids) - stream.first for stream in streams])
        self._step = devices.parallelize(_scoring_step(model), backend=backend)
        self._batches = [
            (indices, devices.split(packing.with_max_targets(batch, jax.device_count())))
            for indices, batch in packing.evaluation_batches(_ScoredStreams(streams), batch_size)
        ]

    def __call__(self, params: Mapping) -> dict[tuple[str, str], Float[np.ndarray, "N C"]]:
        """Return the scores of every split, by its key."""
        means, params = np.zeros(len(self._lengths)), devices.replicate(params)
        for indices, batch in self._batches:
            loss = jax.device_get(self._step(params, batch, np.int32(0)))
            means[indices] = -loss[: len(indices)]
        scores, start = {}, 0
        for key, split in self._splits.items():
            end = start + len(split.streams)
            values = means[start:end]
            if split.task.probe and split.task.probe.total:
                values = values * self._lengths[start:end]
            scores[key] = values.reshape(len(split.examples), -1)
            start = end
        return scores


def _scoring_step(model: LanguageModel) -> Callable:
    """Return the step that computes the mean negative log-likelihood of each stream."""

    def step(params, batch, _):
        tokens, weights = batch["tokens"][:, 0], batch["weights"][:, 0]
        outputs: Any = model.apply({"params": params}, tokens[:, :-1], train=False)
        hidden, embedding = outputs
        rows = embedding[: model.body.vocab_size]
        loss = losses.language_model(
            hidden, rows, tokens[:, 1:], weights[:, 1:], max_targets=batch["max_targets"].value
        )
        return devices.gather(loss)

    return step


class ProbeResult(NamedTuple):
    """Hold the result of one probe.

    Attributes:
        examples: the N scored examples.
        predictions: class ids.
        probabilities: softmax of the scores over the K classes.
        metrics: "score", the task's first metric; "relative", the score scaled so that chance is 0
            and the ceiling is 1; "threshold" if the probe has one.
    """

    examples: list[Example]
    predictions: Int[np.ndarray, "N"]
    probabilities: Float[np.ndarray, "N K"]
    metrics: dict[str, float]


def evaluate_probe(
    task: Task,
    splits: Mapping[tuple[str, str], ProbeSplit],
    scores: Mapping[tuple[str, str], Float[np.ndarray, "N C"]],
) -> ProbeResult:
    """Return the result of a task's probe.

    Args:
        task: the task.
        splits: the splits, by the names of task and split.
        scores: the scores of their choices.
    """
    assert task.probe
    scored_split = task.name, task.probe_splits[-1]
    choices, extra = scores[scored_split], {}
    if task.probe.threshold:
        key = task.name, task.probe.threshold
        extra["threshold"] = metrics.threshold(splits[key].labels, scores[key][:, 0])
        choices = np.concatenate([np.full_like(choices, extra["threshold"]), choices], axis=1)
    predictions = choices.argmax(axis=1)
    (score,) = metrics.score(task.metrics[:1], splits[scored_split].labels, predictions).values()
    relative = (score - task.chance) / (task.probe.ceiling - task.chance)
    return ProbeResult(
        splits[scored_split].examples,
        predictions,
        scipy.special.softmax(choices, axis=1),
        {"score": score, "relative": relative, **extra},
    )
