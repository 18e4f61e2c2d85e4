"""The speed of a device in matrix products, as the measure of model FLOP utilisation."""

import functools
import time

import jax


@functools.cache
def matmul_flops(dtype: str) -> float:
    """Floating-point operations a second that one device sustains in a large matrix product of `dtype`, measured once."""
    size = 1024 if jax.default_backend() == "cpu" else 8192
    factor = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    product(factor).block_until_ready()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        product(factor).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds)
