"""End a training run: delete what a finished run does not need, and write its result."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from gpt1_jax.engine import checkpoint_pruning
from gpt1_jax.errors import UserError
from gpt1_jax.runs import pruning
from gpt1_jax.runs.lifecycle import OpenRun


def finish(config: ConfigDict, run: OpenRun, result: Mapping[str, Any]) -> dict:
    """Prune the checkpoints as config.checkpoint.finished says; write result.json and return it.

    The checkpoints come first: a job that waits for result.json then finds those that stay. A run
    that is killed in between computes the result again from its last checkpoint.
    """
    if config.checkpoint.finished == "params" and jax.process_index() == 0:
        try:
            checkpoint_pruning.prune(pruning.plan(run.workdir, config.to_dict(), result))
        except UserError as error:  # the run has its result all the same
            run.log.line(f"the checkpoints stay as they are: {error}")
    return run.finish(result)
