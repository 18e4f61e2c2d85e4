"""Test that SIGTERM is recorded inside the block, and only there."""

import os
import signal

from gpt1_jax.engine.preemption import TERMINATED, PreemptionHandler


def test_sigterm_is_recorded_and_a_second_one_ends_the_process():
    before = signal.getsignal(signal.SIGTERM)
    with PreemptionHandler() as handler:
        assert not handler.should_stop(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert handler.should_stop(1) and handler.should_stop(2)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


def test_exit_code_is_that_of_a_terminated_process():
    assert TERMINATED == 143
