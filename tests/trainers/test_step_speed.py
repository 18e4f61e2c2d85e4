"""Test which batch the cost estimate measures; the seconds of a step come from a function."""

import sys

import jax
import pytest
from cli_fixtures import REPOSITORY

sys.path.insert(0, str(REPOSITORY))
from configs import pretrain
from gpt1_jax.errors import UserError
from gpt1_jax.trainers import step_speed
from gpt1_jax.trainers.step_speed import Batch


class Device:
    """Time steps by a rule, and record the measured batches.

    Args:
        row_seconds: seconds of a row.
        fixed_seconds: seconds of a step without any row.
        memory: largest number of rows of a part that fit into memory.
    """

    def __init__(self, row_seconds, fixed_seconds=0.0, memory=1_000):
        self.row_seconds, self.fixed_seconds, self.memory = row_seconds, fixed_seconds, memory
        self.measured = []

    def step_seconds(self, batch):
        self.measured.append(batch.size)
        if batch.rows > self.memory:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
        return self.fixed_seconds + self.row_seconds * batch.size


@pytest.mark.parametrize(
    ("own", "device", "batch", "measured"),
    [
        (Batch(64, 1), Device(0.01), Batch(64, 1), [4, 64]),
        (Batch(2, 1), Device(0.01), Batch(2, 1), [2]),
        (Batch(16, 4), Device(0.01), Batch(16, 4), [4, 64]),  # with its accumulation
        (Batch(1, 8), Device(0.01), Batch(1, 8), [4, 8]),
        (Batch(64, 1), Device(3.5), Batch(8, 1), [4, 8]),
        (Batch(64, 1), Device(9.0), Batch(4, 1), [4]),
        (Batch(8, 8), Device(1.2), Batch(8, 3), [4, 24]),  # whole parts only
        # Rows of a larger batch take less time, so the batch grows again.
        (Batch(64, 1), Device(0.5, fixed_seconds=8.0), Batch(25, 1), [4, 12, 25]),
    ],
)
def test_largest_part_of_the_batch_within_the_time_is_measured(own, device, batch, measured):
    found, seconds = step_speed.largest_batch(own, device.step_seconds)
    assert (found, device.measured) == (batch, measured)
    assert seconds == device.fixed_seconds + device.row_seconds * batch.size
    assert seconds <= step_speed.MAX_SECONDS or found.size <= step_speed.FIRST_ROWS


@pytest.mark.parametrize(("memory", "measured"), [(20, [4, 64, 32, 16]), (2, [4, 2])])
def test_batch_that_does_not_fit_into_memory_is_halved(memory, measured):
    device = Device(0.01, memory=memory)
    found, _ = step_speed.largest_batch(Batch(64, 1), device.step_seconds)
    assert device.measured == measured and found.size == measured[-1]


def test_row_that_does_not_fit_into_memory_is_refused():
    with pytest.raises(UserError, match=r"^config\.estimate_cost: .* larger device$"):
        step_speed.largest_batch(Batch(64, 1), Device(0.01, memory=0).step_seconds)


def test_other_errors_of_a_step_are_not_hidden():
    def step_seconds(batch):
        raise jax.errors.JaxRuntimeError("INTERNAL: lost")

    with pytest.raises(jax.errors.JaxRuntimeError, match="lost"):
        step_speed.largest_batch(Batch(64, 1), step_seconds)


@pytest.mark.parametrize("body", ["transformer", "lstm"])
def test_step_of_the_run_is_measured_with_its_batch_and_accumulation(body):
    config = pretrain.get_config(f"tiny,{body}")
    changes = {"batch_size": 8, "optim.accumulate": 2, "model.context": 8, "model.width": 16}
    sizes = {"transformer": {"model.layers": 1, "model.ffn": 16}, "lstm": {"model.units": 16}}
    config.update_from_flattened_dict(changes | sizes[body])
    config.tokenizer.vocab_size = 50
    speed = step_speed.measure(config)
    assert speed.description.startswith(f"{body}: ")
    assert speed.description.endswith(" GFLOP/s in steps of 8 rows in 2 parts")
