"""A finetuned run at work on new text."""

from collections.abc import Sequence

import jax

from gpt1_jax.engine import devices, packing
from gpt1_jax.errors import UserError
from gpt1_jax.models import factory
from gpt1_jax.registry import TASKS
from gpt1_jax.runs import predictions
from gpt1_jax.runs.reader import FinetunedRun
from gpt1_jax.text import bpe
from gpt1_jax.trainers import classification


class Predictor:
    """Texts -> labels and probabilities, by the run whose folder or checkpoint `path` names; UserError where it is not a finished one.

    Args:
        batch_size: examples at a time on each device.

    Attributes:
        texts: how many texts an example of the task has.
        header: the names of what `lines` gives, after the row's number.
        cut: how many examples so far were longer than all of finetuning's, whose positions the run has, and lost the end of a text.
    """

    def __init__(self, path: str, batch_size: int):
        run = FinetunedRun(path, "--checkpoint")
        run.meta(run.step)
        self._task, self._tokenizer = TASKS[run.task], run.tokenizer
        self._regression = run.config["regression"]
        self._contexts = run.streams["context"], run.sizes["context"]
        if run.streams != classification.task_metadata(self._task) | {"context": self._contexts[0]}:
            raise UserError(
                f"{run.workdir}: {run.task} had other labels or another format than today; label with the version that made it"
            )
        self.cut = 0
        self._batch_size = batch_size * jax.device_count()
        body = factory.make_body(
            run.body, run.tokenizer.vocab_size + len(bpe.SPECIALS), run.sizes
        )
        model = classification.classifier(self._task, body, self._regression)
        self._predict = classification.predictor(model, self._regression, run.config["backend"])
        self._params = devices.replicate(run.params(run.step))
        self.texts = self._task.texts
        self.header = predictions.header(
            self._task.labels, 0 if self._regression else self._task.outputs
        )

    def lines(self, examples: Sequence[Sequence[str]]) -> list[list[str]]:
        """The cells of every example: prediction, and the probability of every class.

        Texts are cut as in finetuning, and further where the run lacks positions.
        """
        context, positions = self._contexts
        streams = classification.streams(self._task, examples, self._tokenizer, context)
        long = [
            number for number, example in enumerate(streams) if max(map(len, example)) > positions
        ]
        self.cut += len(long)
        shorter = classification.streams(
            self._task, [examples[number] for number in long], self._tokenizer, context, positions
        )
        for number, example in zip(long, shorter, strict=True):
            streams[number] = example
        data = packing.PackedExamples(streams, None, share_prefix=self._task.format == "choice")
        found = classification.predict(
            self._predict, self._params, data, self._task, self._regression, self._batch_size
        )
        return [
            predictions.cells(answer, row, self._task.labels)
            for answer, row in zip(*found, strict=True)
        ]
