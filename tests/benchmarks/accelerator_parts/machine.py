"""Describe the machine, and measure its products and copies."""

import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from accelerator_parts.common import attempt, repeat
from gpt1_jax.engine import peak_flops

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "transformers")


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part."""
    yield attempt("versions", _versions)
    for dtype in ("bfloat16", "float32"):
        yield attempt(f"product {dtype}", _product, dtype)
    yield attempt("copy", _copy, 2**30 if size == "full" else 2**24)


def _versions() -> dict:
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "device": device.device_kind,
        "devices": jax.device_count(),
        "memory_gib": round(stats.get("bytes_limit", 0) / 2**30, 1),
        "platform": device.client.platform_version.splitlines()[0],
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the repository; None in a copy without its history."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        folder = __file__.rpartition("/")[0]
        return subprocess.check_output(command, cwd=folder, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _product(dtype: str) -> dict:
    return {"tflops": round(peak_flops.matmul_flops(dtype) / 1e12, 2)}


def _copy(count: int) -> dict:
    """Return the speed of reading and writing `count` bytes. Elements of one byte are slower."""
    x = jnp.zeros(count // 4, jnp.float32)
    seconds = repeat(lambda _: _add_one(x), 0.5)
    return {"gb_per_s": round(2 * count / seconds / 1e9, 1)}


_add_one = jax.jit(lambda x: x + 1)
