"""Apply a finetuned run to new text."""

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
    """Predict labels and probabilities of new texts with a finetuned run.

    Args:
        path: the run's folder or one of its checkpoints.
        batch_size: examples per device and step.

    Attributes:
        texts: the number of texts of an example of the task.
        header: the column names of the cells that `predict` returns.
        cut: the number of examples so far that were longer than all examples of finetuning. The
            model has too few positions for them, so their texts were cut.

    Raises:
        UserError: the run is not finished, or the task in this version of gpt1_jax differs.
    """

    def __init__(self, path: str, batch_size: int):
        run = FinetunedRun(path, "--checkpoint")
        run.meta(run.step)  # checks the tokenizer
        self._task, self._tokenizer = TASKS[run.task], run.tokenizer
        self._regression = run.config["regression"]
        # Texts are cut by the context of the pretrained model, which has more positions.
        self._context, self._positions = run.streams["context"], run.sizes["context"]
        metadata = classification.task_metadata(self._task)
        if run.streams != metadata | {"context": self._context}:
            raise UserError(
                f"{run.workdir}: {run.task} had other labels or another format than today; "
                "predict with the version of gpt1_jax that made it"
            )
        self._batch_size = batch_size * jax.device_count()
        vocab_size = run.tokenizer.vocab_size + len(bpe.SPECIALS)
        body = factory.make_body(run.body, vocab_size, run.sizes)
        model = classification.classifier(self._task, body, self._regression)
        self._predict_step = classification.predictor(
            model, self._regression, run.config["backend"]
        )
        self._params = devices.replicate(run.params(run.step))
        self.texts, self.cut = self._task.texts, 0
        classes = 0 if self._regression else self._task.outputs
        self.header = predictions.header(self._task.labels, classes)

    def predict(self, examples: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return a row of cells for every example: prediction, then probability of every class.

        Texts are cut as in finetuning, and further if the run has too few positions.
        """
        dataset = packing.PackedExamples(
            self._streams(examples), None, share_prefix=self._task.format == "choice"
        )
        predicted, probabilities = classification.predict(
            self._predict_step,
            self._params,
            dataset,
            self._task,
            self._regression,
            self._batch_size,
        )
        return [
            predictions.cells(prediction, row, self._task.labels)
            for prediction, row in zip(predicted, probabilities, strict=True)
        ]

    def _streams(self, examples: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        task, tokenizer, context = self._task, self._tokenizer, self._context
        streams = classification.streams(task, examples, tokenizer, context)
        too_long = [
            i for i, example in enumerate(streams) if max(map(len, example)) > self._positions
        ]
        self.cut += len(too_long)
        shorter = classification.streams(
            task, [examples[i] for i in too_long], tokenizer, context, self._positions
        )
        for i, example in zip(too_long, shorter, strict=True):
            streams[i] = example
        return streams
