"""The loop's order, its stops, and its numbers; the steps are plain functions, so every update is known."""

import contextlib
import json
import math
import os
import signal

import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import fingerprint, loop, meter
from gpt1_jax.errors import UserError
from gpt1_jax.runs import log

BATCH = {"tokens": np.zeros((4, 6), np.int32)}


@pytest.fixture
def run_log(tmp_path):
    with contextlib.closing(log.Log(tmp_path)) as opened:
        opened.start(0)
        yield opened


class Machine:
    """A step that counts, its loss at every update, and what the loop did with it."""

    def __init__(self, run_log, losses=None):
        self.meter = meter.Meter(run_log.metrics, 2, 1e9, lambda step: {"lr": step / 10})
        self.losses, self.taken, self.calls, self.advanced, self.asked = losses or {}, 0, [], [], []

    def step(self, state, batch, number):
        assert batch["tokens"].shape == (2, 2, 6) and int(number) == state["updates"]
        self.taken += 1
        loss = self.losses.get(int(number) + 1, 1.0)
        return {"updates": state["updates"] + 1}, {
            "loss": jnp.float32(loss),
            "grad_norm": jnp.float32(1),
        }

    def batch_at(self, number):
        self.asked.append(number)
        return BATCH

    def hook(self, name, every, **options):
        return loop.Hook(
            every, lambda step, state: self.calls.append((name, step, state["updates"])), **options
        )

    def run(self, *hooks, start=0, steps=7):
        return loop.train(
            self.step,
            {"updates": start},
            self.batch_at,
            start=start,
            steps=steps,
            flops=lambda tokens, length: tokens * length,
            meter=self.meter,
            hooks=hooks,
            advance=lambda done, total: self.advanced.append((done, total)),
        )


def test_hooks_come_in_order_after_their_updates_the_chosen_and_the_last(run_log):
    machine = Machine(run_log)
    state = machine.run(machine.hook("evaluate", 3), machine.hook("save", 4, steps=(1,)))
    assert state == {"updates": 7} and machine.asked == list(range(7))
    expected = [
        ("save", 1),
        ("evaluate", 3),
        ("save", 4),
        ("evaluate", 6),
        ("evaluate", 7),
        ("save", 7),
    ]
    assert [(name, step) for name, step, _ in machine.calls] == expected
    assert all(
        step == updates for _, step, updates in machine.calls
    )  # each saw the state of its own update
    assert machine.advanced == [(step, 7) for step in range(1, 8)]


def test_a_run_goes_on_where_it_stopped(run_log):
    machine = Machine(run_log)
    machine.run(machine.hook("save", 2), start=3)
    assert machine.asked == [3, 4, 5, 6] and [step for _, step, _ in machine.calls] == [4, 6, 7]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_a_loss_that_is_not_finite_stops_the_run_before_any_hook_sees_it(run_log, value, every):
    machine = Machine(run_log, losses={5: value})
    with pytest.raises(UserError, match=rf"^update 5: loss is {value}; lower config\.optim\.lr"):
        machine.run(machine.hook("save", every), steps=100)
    assert [step for _, step, _ in machine.calls] == [
        step for step in range(1, 5) if step % every == 0
    ]
    assert machine.taken <= 5 + loop.MAX_STEPS_IN_FLIGHT


def test_a_loss_that_is_not_finite_at_the_end_is_seen_too(run_log):
    machine = Machine(run_log, losses={7: math.nan})
    with pytest.raises(UserError, match="update 7"):
        machine.run(machine.hook("save", 100))
    assert machine.calls == []


def test_a_signal_to_stop_saves_first(run_log):
    machine = Machine(run_log)
    before = signal.getsignal(signal.SIGTERM)

    def batch_at(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return BATCH

    machine.batch_at = batch_at
    with pytest.raises(SystemExit) as stopped:
        machine.run(machine.hook("evaluate", 100, last=False), machine.hook("save", 100), steps=50)
    assert stopped.value.code == 143
    assert machine.calls == [("save", 4, 4)] and machine.taken == 4
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_meter_averages_between_its_lines_and_leaves_out_pauses(run_log, tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: clock[0])
    speedometer = meter.Meter(
        run_log.metrics,
        2,
        50.0,
        lambda step: {"lr": step / 10},
        lambda means: {"double": 2 * means["loss"]},
    )
    for step, (loss, seconds) in enumerate(((1.0, 1), (3.0, 3), (5.0, 1), (6.0, 1)), start=1):
        clock[0] += seconds
        if step == 2:
            with speedometer.paused():
                clock[0] += 1000
        speedometer.add(step, {"loss": loss}, tokens=40, flops=100.0)
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert first == {
        "step": 2,
        "loss": 2.0,
        "double": 4.0,
        "lr": 0.2,
        "tokens_per_s": 20.0,
        "mfu": 1.0,
    }
    assert second == {
        "step": 4,
        "loss": 5.5,
        "double": 11.0,
        "lr": 0.4,
        "tokens_per_s": 40.0,
        "mfu": 2.0,
    }


def test_a_fingerprint_knows_names_shapes_types_and_bits():
    params = {"a": np.arange(6, dtype=np.float32), "b": {"c": np.zeros(2, np.float32)}}
    digest = fingerprint.params_sha256(params)
    assert fingerprint.params_sha256({"b": {"c": jnp.zeros(2)}, "a": jnp.arange(6.0)}) == digest
    nudged = np.nextafter(params["a"], np.float32(9))
    others = [
        {**params, "a": nudged},
        {**params, "a": params["a"].reshape(2, 3)},
        {**params, "a": params["a"].astype(np.int32)},
    ]
    others += [{"x": params["a"], "b": params["b"]}]
    assert len({digest, *map(fingerprint.params_sha256, others)}) == 5
