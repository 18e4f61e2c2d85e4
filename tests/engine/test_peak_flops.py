"""Test the measurement of a device's speed."""

from gpt1_jax.engine import peak_flops


def test_matmul_speed_is_plausible_and_measured_once():
    speed = peak_flops.matmul_flops("float32")
    assert 1e8 < speed < 1e16 and peak_flops.matmul_flops("float32") == speed
