"""Test the averages and the speed of the lines of the log."""

import contextlib
import json

import pytest

from gpt1_jax.engine import meter
from gpt1_jax.runs import log


@pytest.mark.parametrize("peak", [50.0, None])
def test_meter_averages_between_lines_and_leaves_out_pauses(tmp_path, monkeypatch, peak):
    clock = [100.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: clock[0])
    with contextlib.closing(log.Log(tmp_path)) as run_log:
        run_log.start(0)
        tested = meter.Meter(
            run_log.metrics,
            2,
            peak,
            lambda step: {"lr": step / 10},
            lambda means: {"double": 2 * means["loss"]},
        )
        for step, (loss, seconds) in enumerate(((1.0, 1), (3.0, 3), (5.0, 1), (6.0, 1)), start=1):
            clock[0] += seconds
            if step == 2:
                with tested.paused():
                    clock[0] += 1000
            tested.add(step, {"loss": loss}, tokens=40, flops=100.0)
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert first == {
        "step": 2,
        "loss": 2.0,
        "double": 4.0,
        "lr": 0.2,
        "tokens_per_s": 20.0,
        **({"mfu": 1.0} if peak else {}),
    }
    assert second == {
        "step": 4,
        "loss": 5.5,
        "double": 11.0,
        "lr": 0.4,
        "tokens_per_s": 40.0,
        **({"mfu": 2.0} if peak else {}),
    }


def test_restored_meter_continues_its_line_bit_by_bit():
    lines, losses = [], [0.1, 0.2, 1e16, 0.7]

    def start():
        return meter.Meter(lambda step, row: lines.append(row["loss"]), 4, 1.0, lambda step: {})

    for interruption in range(5):
        tested = start()
        for step, loss in enumerate(losses, start=1):
            if step == interruption:
                state = json.loads(json.dumps(tested.state()))
                tested = start()
                tested.restore(state)
            tested.add(step, {"loss": loss}, tokens=1, flops=1)
    assert len(lines) == 5 and set(lines) == {sum(losses) / 4}
