"""Estimate the cost of an ablation: runs, floating-point operations, and hours on a device."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from gpt1_jax.analysis.report import tables
from gpt1_jax.engine import devices
from gpt1_jax.errors import UserError
from gpt1_jax.trainers import disk, flops, rehearsal, rehearsed_steps, step_speed
from gpt1_jax.trainers.ablation_runs import AblationRuns


def estimate_cost(config: ConfigDict, runs: AblationRuns) -> dict[str, float]:
    """Print a line for each kind of run, and the sum. Return {"flops", "hours"}.

    Runs that differ only in their seed are of one kind. The tokens of labeled data are estimated
    from words (`flops.TOKENS_PER_WORD`). If the data is not available, the estimate uses published
    sizes and typical lengths. Compilation, reading and saving are not counted. They take much of
    the time of small models.

    The hours are those on this device, from a measured step. With config.compile_for they are the
    least hours on that target, from a compiled step.

    Args:
        config: configuration of the ablation.
        runs: its runs.
    """
    kinds = _group_seeds(runs)
    bodies = {kind: runs.pretrainings[group[0]].body for kind, group in kinds.items()}
    speeds = {body: _speed(config, body) for body in sorted(set(bodies.values()))}
    rows, total = [], {"flops": 0.0, "hours": 0.0}
    for kind, group in kinds.items():
        first = group[0]
        recipe = runs.pretrainings[first].recipe
        operations = flops.run_flops(config, recipe, runs.configs[first])
        hours = operations / speeds[bodies[kind]] / 3600
        count = len(group)
        rows.append([kind, str(count), f"{operations:.2e}", f"{hours:.3g}", f"{hours * count:.3g}"])
        total["flops"] += operations * count
        total["hours"] += hours * count
    count = str(len(runs.configs))
    rows.append(["all", count, f"{total['flops']:.2e}", "", f"{total['hours']:.3g}"])
    columns = ("runs", "FLOPs each", "hours each", "hours")
    lines = [tables.Row(name, [tables.Cell(text) for text in cells]) for name, *cells in rows]
    print(tables.Table("cost", "Cost estimate", "run", columns, lines).markdown())
    recipes = [(runs.pretrainings[name].recipe, run) for name, run in runs.configs.items()]
    print(disk.summary(recipes))
    text = ", ".join(f"{speed / 1e9:.3g} GFLOP/s for the {body}" for body, speed in speeds.items())
    basis = f"hours on {devices.device_summary()} at {text}, measured in pretraining steps"
    if config.compile_for:
        basis = (
            f"least hours on {config.compile_for} at {text}: what the compiled pretraining steps "
            "allow at most, by their FLOPs and their bytes; nothing was measured"
        )
    print(f"{basis}; compilation, reading and saving are not counted")
    return total


def _group_seeds(runs: AblationRuns) -> dict[str, Sequence[str]]:
    """Return the name without the seed -> the names of the runs with all seeds."""
    kinds = {}
    for name in runs.configs:
        kinds.setdefault(name.rpartition("_")[0], []).append(name)
    return kinds


def _speed(config: ConfigDict, body: str) -> float:
    """Return the floating-point operations per second of the pretraining steps of a body."""
    if not config.compile_for:
        return _measure_speed(config.pretrain[body])
    run = config.pretrain[body].copy_and_resolve_references()
    with run.unlocked():
        run.compile_for = config.compile_for
    found = rehearsal.compile_for(run, rehearsed_steps.pretraining)
    if found.accumulate is None:
        raise UserError(
            f"config.compile_for: the pretraining step of the {body} does not fit "
            f"{config.compile_for}; choose another target or a smaller config.pretrain.{body}"
        )
    return found.step.flops / found.least_seconds


def _measure_speed(config: ConfigDict) -> float:
    """Return the floating-point operations per second of training steps. Print what was measured.

    Args:
        config: configuration of a pretraining run.
    """
    speed = step_speed.measure(config)
    print(speed.description, flush=True)
    return speed.flops
