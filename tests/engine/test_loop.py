"""Test the loop's order, its stops and its checks; the steps are plain functions that count."""

import contextlib
import math
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax import signals
from gpt1_jax.engine import loop, meter, preemption
from gpt1_jax.engine.save_timer import SaveTimer
from gpt1_jax.engine.step import NOT_FINITE
from gpt1_jax.errors import UserError
from gpt1_jax.runs import log

BATCH = {"tokens": np.zeros((4, 6), np.int32)}


@pytest.fixture
def run_log(tmp_path):
    with contextlib.closing(log.Log(tmp_path)) as opened:
        opened.start(0)
        yield opened


class Recorder:
    """Run the loop with a step that counts, and record the calls of the loop.

    Args:
        run_log: the log of the meter.
        losses: step -> loss; 1 for other steps.
        not_finite: step -> elements of its state that are not finite; 0 for other steps.
    """

    def __init__(self, run_log, losses=None, not_finite=None):
        self.meter = meter.Meter(run_log.metrics, 2, 1e9, lambda step: {"lr": step / 10})
        self.losses, self.not_finite = losses or {}, not_finite or {}
        self.steps = 0
        self.hook_calls, self.progress, self.batches = [], [], []

    def step(self, state, batch, number):
        assert batch["tokens"].shape == (2, 2, 6) and int(number) == state["steps"]
        self.steps += 1
        loss = self.losses.get(int(number) + 1, 1.0)
        metrics = {"loss": jnp.float32(loss), "grad_norm": jnp.float32(1)}
        metrics[NOT_FINITE] = jnp.int32(self.not_finite.get(int(number) + 1, 0))
        return {"steps": state["steps"] + 1}, metrics

    def batch_at(self, number):
        self.batches.append(number)
        return BATCH

    def hook(self, name, every, **options):
        def call(step, state):
            self.hook_calls.append((name, step, state["steps"]))

        return loop.Hook(every, call, **options)

    def run(self, *hooks, start=0, steps=7):
        with preemption.PreemptionHandler() as preemption_handler:
            return loop.train(
                self.step,
                {"steps": start},
                self.batch_at,
                start=start,
                steps=steps,
                flops=lambda tokens, length: tokens * length,
                meter=self.meter,
                hooks=hooks,
                advance=lambda done, total: self.progress.append((done, total)),
                preemption_handler=preemption_handler,
            )


def test_hooks_are_called_in_order_at_regular_chosen_and_last_steps(run_log):
    recorder = Recorder(run_log)
    state = recorder.run(recorder.hook("evaluate", 3), recorder.hook("save", 4, steps=(1,)))
    assert state == {"steps": 7} and recorder.batches == list(range(7))
    expected = [
        ("save", 1),
        ("evaluate", 3),
        ("save", 4),
        ("evaluate", 6),
        ("evaluate", 7),
        ("save", 7),
    ]
    assert [(name, step) for name, step, _ in recorder.hook_calls] == expected
    # Each hook received the state of its own step.
    assert all(step == state_steps for _, step, state_steps in recorder.hook_calls)
    assert recorder.progress == [(step, 7) for step in range(1, 8)]


def test_resumed_loop_continues_after_the_start(run_log):
    recorder = Recorder(run_log)
    recorder.run(recorder.hook("save", 2), start=3)
    assert recorder.batches == [3, 4, 5, 6]
    assert [step for _, step, _ in recorder.hook_calls] == [4, 6, 7]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_loss_that_is_not_finite_stops_before_any_hook_receives_it(run_log, value, every):
    recorder = Recorder(run_log, losses={5: value})
    with pytest.raises(UserError, match=rf"^step 5: loss is {value}; lower config\.optim\.lr"):
        recorder.run(recorder.hook("save", every), steps=100)
    saved = [step for _, step, _ in recorder.hook_calls]
    assert saved == [step for step in range(1, 5) if step % every == 0]
    assert recorder.steps <= 5 + loop.MAX_STEPS_IN_FLIGHT


@pytest.mark.parametrize("problem", [{"losses": {7: math.nan}}, {"not_finite": {7: 3}}])
def test_last_step_that_is_not_finite_is_detected(run_log, problem):
    recorder = Recorder(run_log, **problem)
    with pytest.raises(UserError, match="step 7"):
        recorder.run(recorder.hook("save", 100))
    assert recorder.hook_calls == []


def test_state_that_is_not_finite_stops_before_any_hook_receives_it(run_log):
    recorder = Recorder(run_log, not_finite={4: 3})
    with pytest.raises(UserError, match="^step 4: 3 numbers of the updated params and moments are"):
        recorder.run(recorder.hook("save", 1))
    assert [step for _, step, _ in recorder.hook_calls] == [1, 2, 3]


@pytest.mark.parametrize("number", signals.SIGNALS, ids=lambda number: number.name)
def test_signal_saves_before_it_stops(number, run_log):
    recorder = Recorder(run_log)
    before = signal.getsignal(number)

    def batch_at(step):
        if step == 3:
            os.kill(os.getpid(), number)
        return BATCH

    recorder.batch_at = batch_at
    with pytest.raises(preemption.Preempted) as stopped:
        recorder.run(
            recorder.hook("evaluate", 100, on_preemption=False),
            recorder.hook("save", 100),
            steps=50,
        )
    assert stopped.value.code == 128 + number
    assert (stopped.value.step, stopped.value.signal) == (4, number.name)
    assert recorder.hook_calls == [("save", 4, 4)] and recorder.steps == 4
    assert signal.getsignal(number) is before


def test_signal_before_the_first_step_is_left_to_the_caller(run_log):
    recorder = Recorder(run_log)

    def batch_at(step):
        os.kill(os.getpid(), signal.SIGINT)
        return BATCH

    recorder.batch_at = batch_at
    with pytest.raises(KeyboardInterrupt):
        recorder.run(recorder.hook("save", 1))
    assert recorder.hook_calls == []


@pytest.mark.parametrize(
    ("minutes", "seconds", "saved"),
    [
        (0.0, 1e6, [4, 8, 9]),
        (1.0, 10.0, [4, 8, 9]),  # the intervals in steps are shorter
        (1.0, 25.0, [3, 4, 7, 8, 9]),  # the minute counts from the last save, of either kind
        (0.5, 30.0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_saves_are_due_by_time_and_by_steps(minutes, seconds, saved, run_log):
    recorder, now = Recorder(run_log), [0.0]
    timer = SaveTimer(minutes, 100, clock=lambda: now[0])
    compute = recorder.step

    def step(state, batch, number):
        now[0] += seconds
        return compute(state, batch, number)

    def save(step, state):
        timer.restart()
        recorder.hook_calls.append(step)

    recorder.step = step
    recorder.run(loop.Hook(4, save, is_due=timer.is_due), steps=9)
    assert recorder.hook_calls == saved
