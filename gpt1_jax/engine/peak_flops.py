"""Measure the speed of a device in matrix products, against which FLOP utilization is computed."""

import functools
import time

import jax


@functools.cache
def matmul_flops(dtype: str) -> float:
    """Return the floating-point operations per second of one device in a large matrix product.

    The measurement is made once for each `dtype`.
    """
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
