"""Test which steps are in the trace of a run, for every way in which the run begins and ends."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import loop, meter, preemption
from gpt1_jax.engine.step import NOT_FINITE
from gpt1_jax.engine.step_trace import StepTrace

BATCH = {"tokens": np.zeros((4, 6), np.int32)}


def run(folder, steps, *, start=0, final=9, before_step=lambda step: None):
    """Run the loop with a trace and a hook at every step; return the lines of the log."""
    lines = []
    double = jax.jit(lambda state: {"x": state["x"] * 2})

    def train_step(state, batch, number):
        before_step(number + 1)
        metrics = {"loss": jnp.float32(1), "grad_norm": jnp.float32(1), NOT_FINITE: jnp.int32(0)}
        return double(state), metrics

    def evaluate(step, state):
        with jax.profiler.TraceAnnotation(f"hook {step}"):
            jax.block_until_ready(state)

    state = {"x": jnp.ones(3)}
    with (
        StepTrace(folder, steps, final, lines.append) as step_trace,
        preemption.PreemptionHandler() as preemption_handler,
    ):
        step_trace.start(start, state)
        loop.train(
            train_step,
            state,
            lambda step: BATCH,
            start=start,
            steps=final,
            flops=lambda tokens, length: 0,
            meter=meter.Meter(lambda step, values: None, 100, 1e9, lambda step: {}),
            hooks=step_trace.around([loop.Hook(1, evaluate)]),
            advance=lambda done, total: None,
            preemption_handler=preemption_handler,
        )
    return lines


def traced(folder) -> tuple[list[int], list[int]]:
    """Return the steps and the hooks in the only trace below `folder`."""
    (path,) = folder.glob("plugins/profile/*/*.xplane.pb")
    trace = jax.profiler.ProfileData.from_file(str(path))
    events = [event for plane in trace.planes for line in plane.lines for event in line.events]
    steps = [dict(event.stats)["step_num"] for event in events if event.name == "train"]
    hooks = [int(event.name.split()[1]) for event in events if event.name.startswith("hook ")]
    return sorted(map(int, steps)), sorted(hooks)


@pytest.mark.parametrize(
    ("steps", "start", "expected"),
    [
        ((3, 5), 0, [3, 4, 5]),
        ((1, 2), 0, [1, 2]),
        ((3, 5), 2, [3, 4, 5]),
        ((3, 5), 3, [4, 5]),  # resumed within the range
        ((8, 20), 0, [8, 9]),  # the run ends within the range
        ((9, 20), 0, [9]),
    ],
)
def test_trace_holds_the_steps_of_the_range_that_are_run(tmp_path, steps, start, expected):
    (line,) = run(tmp_path, steps, start=start)
    assert line.startswith(f"trace from step {expected[0]} to step {expected[-1]}: {tmp_path}")
    assert traced(tmp_path) == (expected, expected[:-1])  # no hook after the last step


@pytest.mark.parametrize(("steps", "start"), [((), 0), ((3, 5), 5), ((10, 20), 0), ((20, 30), 0)])
def test_run_without_a_step_in_the_range_writes_no_trace(tmp_path, steps, start):
    assert run(tmp_path, steps, start=start) == [] and not list(tmp_path.iterdir())


def test_preempted_run_writes_its_trace(tmp_path):
    def before_step(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        run(tmp_path, (3, 8), before_step=before_step)
    assert traced(tmp_path)[0] == [3, 4]
    run(tmp_path / "resumed", (3, 8), start=4)
    assert traced(tmp_path / "resumed")[0] == [5, 6, 7, 8]


def test_failed_run_stops_its_trace_so_that_another_can_start(tmp_path):
    def before_step(step):
        if step == 5:
            raise RuntimeError("a step failed")

    with pytest.raises(RuntimeError, match="a step failed"):
        run(tmp_path / "failed", (3, 8), before_step=before_step)
    assert traced(tmp_path / "failed")[0][:2] == [3, 4]
    run(tmp_path / "next", (3, 8))
    assert traced(tmp_path / "next")[0] == [3, 4, 5, 6, 7, 8]
