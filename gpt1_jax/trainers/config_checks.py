"""What the values of settings may be; checked before a run makes its folder, so that a slip costs a second and leaves nothing."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from gpt1_jax.datasets.tasks import probed_tasks
from gpt1_jax.errors import UserError
from gpt1_jax.registry import MODELS
from gpt1_jax.runs.lifecycle import flatten

# What is expected, how to tell, and of which settings; nan fits nowhere.
RULES = (
    (
        "a whole number from 1",
        lambda value: value >= 1,
        ("steps", "epochs", "seeds", "batch_size", "optim.accumulate", "tokenizer.vocab_size")
        + (
            "model.context",
            "model.layers",
            "model.width",
            "model.heads",
            "model.ffn",
            "model.units",
        )
        + ("eval.every", "checkpoint.every", "checkpoint.keep", "log.every"),
    ),
    (
        "a number from 0",
        lambda value: 0 <= value < math.inf,
        ("seed", "lm_coef", "optim.lr", "optim.decay", "optim.warmup_steps", "workers")
        + ("eval.windows", "eval.sample", "data.examples", "data.max_bad_rows"),
    ),
    ("a number above 0", lambda value: 0 < value < math.inf, ("optim.eps", "optim.clip")),
    (
        "a number from 0 to below 1",
        lambda value: 0 <= value < 1,
        ("model.embd_dropout", "model.attn_dropout", "model.resid_dropout", "clf_dropout")
        + ("optim.b1", "optim.b2", "optim.warmup_fraction", "data.validation"),
    ),
    (
        "updates, such as '(1000,2000)',",
        lambda value: all(isinstance(step, int) for step in value),
        ("checkpoint.keep_steps",),
    ),
    (
        "two different words, such as \"('bad','good')\",",
        lambda value: (
            len(value) == 2
            and all(isinstance(word, str) and word.strip() for word in value)
            and value[0] != value[1]
        ),
        ("sst2.words",),
    ),
    (
        "a number above 0 and up to 1",
        lambda value: 0 < value <= 1,
        tuple(f"ceilings.{name}" for name in probed_tasks()),
    ),
    ("pmap or shard_map", lambda value: value in ("pmap", "shard_map"), ("backend",)),
    ("float32 or bfloat16", lambda value: value in ("float32", "bfloat16"), ("model.dtype",)),
)


def check(config: ConfigDict, section: str = "") -> None:
    """UserError for the first setting whose value cannot be; settings left empty are somebody else's to fill.

    Args:
        section: where `config` stands in that of the command, with a dot at its end.
    """
    values = flatten(config.to_dict())
    for expected, fits, names in RULES:
        for name in names:
            if values.get(name) is not None and not fits(values[name]):
                full = f"config.{section}{name}"
                raise UserError(
                    f"{full}: {values[name]!r} found, {expected} expected; give another --{full}"
                )


def body(name: str, sizes: Mapping[str, Any]) -> Callable:
    """The body called `name` in MODELS; UserError unless `sizes`, the config's model section, are what it takes."""
    entry = MODELS[name]
    others = {
        "vocab_size",
        "table_dropout",
        "parent",
        "name",
    }  # the data's, config.published's, and two that every flax module has
    takes = inspect.signature(entry).parameters.keys() - others
    if odd := takes ^ sizes.keys():
        raise UserError(
            f"config.model: a {name} takes {', '.join(sorted(takes))}; {', '.join(sorted(odd))} of this section do not fit or are "
            "missing: pick the body in --config"
        )
    return entry
