"""Check the values of a config before a run makes its folder, so that a mistake leaves no files."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from gpt1_jax.datasets.tasks import probed_tasks
from gpt1_jax.errors import UserError
from gpt1_jax.inputs import flatten
from gpt1_jax.models.attention import KINDS
from gpt1_jax.runs.tracker import TRACKERS


class Rule(NamedTuple):
    """Describe the valid values of some config fields.

    Attributes:
        expected: the description of a valid value, for the error message.
        is_valid: returns True for a valid value; nan is never valid.
        names: the dotted names of the fields.
    """

    expected: str
    is_valid: Callable[[Any], bool]
    names: tuple[str, ...]


LARGEST = 2**31 - 1  # steps and rows are counted in 32 bits
MAX_SEEDS = 1_000


def _whole(low: int, high: int, *names: str) -> Rule:
    return Rule(f"a whole number from {low} to {high}", lambda value: low <= value <= high, names)


def _number(low: float, high: float, *names: str) -> Rule:
    return Rule(f"a number from {low:g} to {high:g}", lambda value: low <= value <= high, names)


def _one_of(names: tuple[str, ...], *choices: str) -> Rule:
    *first, last = choices
    return Rule(f"{', '.join(first)} or {last}", lambda value: value in choices, names)


def _are_steps(value: tuple) -> bool:
    return all(isinstance(step, int) and 1 <= step <= LARGEST for step in value)


def _is_step_range(value: tuple) -> bool:
    return not value or (_are_steps(value) and len(value) == 2 and value[0] < value[1])


def _are_names(value: tuple) -> bool:
    return all(isinstance(name, str) for name in value)


def _are_two_words(value: tuple) -> bool:
    are_words = all(isinstance(word, str) and word.strip() for word in value)
    return are_words and len(value) == 2 and value[0] != value[1]


# The upper limits are far above what is useful. They keep a slip of the keyboard from exhausting
# the memory, or from overflowing a number of the libraries.
RULES = (
    _whole(1, LARGEST, "steps", "eval.every", "checkpoint.every", "checkpoint.keep", "log.every"),
    _whole(1, 1_000_000, "batch_size", "optim.accumulate", "epochs", "tokenizer.vocab_size"),
    _whole(1, 100_000, "model.context", "model.width", "model.ffn", "model.units"),
    _whole(1, 1_000, "model.layers", "model.heads"),
    _whole(1, MAX_SEEDS, "seeds", "pretraining_seeds"),
    _whole(0, LARGEST, "optim.warmup_steps", "eval.windows", "data.examples", "data.max_bad_rows"),
    _whole(0, LARGEST, "world.words", "world.train", "world.dev"),
    _whole(0, LARGEST, "check.replay_every"),
    _whole(0, 100_000, "eval.sample"),
    _whole(0, 1_000, "workers"),
    _whole(0, 2**32 - 1, "seed", "world.seed"),
    # Inside the range of float32.
    _number(0, 1e30, "lm_coef", "optim.lr", "optim.decay"),
    _number(1e-30, 1e30, "optim.eps", "optim.clip"),
    _number(0, 1e6, "checkpoint.minutes"),
    Rule(
        "a number from 0 to below 1",
        lambda value: 0 <= value < 1,
        ("model.embd_dropout", "model.attn_dropout", "model.resid_dropout", "clf_dropout")
        + ("optim.b1", "optim.b2", "optim.warmup_fraction", "data.validation"),
    ),
    Rule(
        "a number above 0 and up to 1",
        lambda value: 0 < value <= 1,
        tuple(f"ceilings.{name}" for name in probed_tasks()),
    ),
    Rule("steps from 1, such as '(1000,2000)'", _are_steps, ("checkpoint.keep_steps",)),
    Rule(
        "two increasing steps, such as '(100,110)', or none: '()'", _is_step_range, ("log.profile",)
    ),
    Rule(
        "names, such as \"('rte','cola')\"",
        _are_names,
        ("tasks", "sweep_tasks", "probed_pretrainings"),
    ),
    Rule("two different words, such as \"('bad','good')\"", _are_two_words, ("sst2.words",)),
    _one_of(("backend",), "pmap", "shard_map"),
    _one_of(("model.attention",), *KINDS),
    _one_of(("model.dtype",), "float32", "bfloat16"),
    _one_of(("checkpoint.finished",), "params", "all"),
    _one_of(("log.tracker",), *TRACKERS),
)


def check(config: ConfigDict, section: str = "") -> None:
    """Raise a UserError for the first field with an invalid value. Skip fields that are None.

    Args:
        config: the config of a run, or a section with the same fields.
        section: the prefix of the section in the config of the command, with a dot at its end.
    """
    values = flatten(config.to_dict())
    for rule in RULES:
        for name in rule.names:
            value = values.get(name)
            if value is not None and not rule.is_valid(value):
                flag = f"config.{section}{name}"
                raise UserError(
                    f"{flag}: found {value!r}, expected {rule.expected}; set another --{flag}"
                )


def check_batch_size(batch_size: int, accumulate: int = 1, devices: int | None = None) -> None:
    """Check that the batch divides evenly over the devices, and then into `accumulate` parts.

    Args:
        batch_size: rows of the global batch.
        accumulate: parts of the batch of a device.
        devices: the number of devices; by default those of this job.

    Raises:
        UserError: it does not.
    """
    devices = devices or jax.device_count()
    divisor = devices * accumulate
    if batch_size % divisor:
        raise UserError(
            f"config.batch_size: {batch_size} does not divide over {devices} devices x "
            f"config.optim.accumulate={accumulate}; choose a multiple of {divisor}"
        )
