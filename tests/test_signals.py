"""Test the handling of signals in processes of their own, also while they are in compiled code."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from gpt1_jax import signals

# A function in C that no signal interrupts, as XLA's compiler. It takes minutes.
COMPILED = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
NAMES = {number: number.name for number in signals.SIGNALS}
ALL = pytest.mark.parametrize("number", signals.SIGNALS, ids=NAMES.get)


@contextlib.contextmanager
def process(handler: str, body: str, *before: str):
    """Start Python with `body` inside SignalHandler(`handler`); yield it when the block has begun.

    `before` is the command that starts Python.
    """
    script = (
        "import hashlib, time\nfrom gpt1_jax import signals\n"
        f"with signals.SignalHandler({handler}):\n    print('ready', flush=True)\n    {body}\n"
    )
    started = subprocess.Popen(
        [*before, sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert started.stdout.readline() == "ready\n"
        yield started
    finally:
        started.kill()
        started.communicate()


@ALL
def test_program_with_nothing_to_save_ends_at_once_with_one_line(number):
    for body in (COMPILED, "time.sleep(100)"):
        with process("signals.stop, 0.2", body) as started:
            started.send_signal(number)
            _, errors = started.communicate(timeout=10)
        assert started.returncode == 128 + number
        assert errors == f"gpt1_jax: stopped by {number.name}\n"


@ALL
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=NAMES.get)
def test_second_signal_ends_compiled_code_at_once(number, second):
    with process("lambda number: None", COMPILED) as started:
        started.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(2 * signals.REPETITION)
        started.send_signal(second)
        assert started.wait(10) == 128 + second


def test_repeated_signals_are_one_request():
    body = "time.sleep(2); print('end')"
    with process("lambda number: print(number, flush=True)", body) as started:
        started.send_signal(signal.SIGTERM)
        assert started.stdout.readline() == f"{int(signal.SIGTERM)}\n"
        for number in (signal.SIGTERM, signal.SIGHUP):  # as `timeout` and a shell
            started.send_signal(number)
        time.sleep(2 * signals.REPETITION)
        started.send_signal(signal.SIGHUP)
        out, _ = started.communicate(timeout=10)
    assert started.returncode == 0 and out == "end\n"


def test_nohup_is_respected():
    with process("signals.stop, 0.2", "time.sleep(1); print('end')", "nohup") as started:
        started.send_signal(signal.SIGHUP)
        out, _ = started.communicate(timeout=10)
    assert started.returncode == 0 and out == "end\n"


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    received = []
    with signals.SignalHandler(received.append) as handler:
        assert handler.received is None
        with signals.SignalHandler(received.append):
            os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM] and handler.received is None
        os.kill(os.getpid(), signal.SIGHUP)
        assert received == [signal.SIGTERM, signal.SIGHUP] and handler.received == signal.SIGHUP
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before


def test_children_do_not_receive_what_a_terminal_sends():
    script = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    with signals.keep_from_children():
        out = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
    assert "SIGINT" in out and "SIGHUP" in out and "SIGTERM" not in out
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
