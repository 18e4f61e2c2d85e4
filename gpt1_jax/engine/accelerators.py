"""Describe the accelerators that XLA can compile for without one: their public specifications.

accelerators.json holds the numbers and their sources.
"""

import functools
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpt1_jax import storage
from gpt1_jax.errors import UserError

MAX_GPUS = 8  # of one host


class Accelerator(NamedTuple):
    """Hold the specifications of a TPU chip or a GPU.

    Attributes:
        name: the name in tables.
        memory: the bytes that a program can use.
        bandwidth: bytes per second from and to the memory.
        flops: the format of the factors of a matrix product -> operations per second.
        interconnect: bytes per second that a device sends and receives, together.
        source: the address of the specifications.
        dimensions: the axes of a slice of TPUs; 0 for a GPU.
        compiler: fields of the description of a GPU that XLA needs.
    """

    name: str
    memory: int
    bandwidth: float
    flops: Mapping[str, float]
    interconnect: float
    source: str
    dimensions: int = 0
    compiler: Mapping[str, Any] = {}

    def product_format(self, dtype: str) -> str:
        """Return the format in which the device multiplies factors of `dtype`.

        These are JAX's defaults: for float32, TensorFloat-32 on a GPU and bfloat16 on a TPU.
        """
        return "tensorfloat32" if dtype == "float32" and not self.dimensions else "bfloat16"

    def peak_flops(self, dtype: str) -> float:
        """Return the operations per second of a device in matrix products of `dtype`."""
        return self.flops[self.product_format(dtype)]


class Target(NamedTuple):
    """Hold what a program is compiled for: `shape` devices of one accelerator."""

    name: str
    accelerator: Accelerator
    shape: tuple[int, ...]

    @property
    def devices(self) -> int:
        """Return the number of devices."""
        return math.prod(self.shape)


@functools.cache
def accelerators() -> dict[str, Accelerator]:
    """Return the accelerators by the first part of a target's name."""
    rows = storage.read_json(pathlib.Path(__file__).parent / "accelerators.json")
    return {name: Accelerator(**row) for name, row in rows.items() if name != "about"}


def find_target(name: str) -> Target:
    """Return the target `name`: a slice of TPUs such as "v5e:2x4", or GPUs such as "h100:8".

    Raises:
        UserError: there is no such target.
    """
    kind, colon, size = name.partition(":")
    accelerator = accelerators().get(kind)
    if accelerator is None:
        raise _unknown(name)
    if not accelerator.dimensions:
        if colon and (not size.isdecimal() or not 1 <= int(size) <= MAX_GPUS):
            raise _unknown(name)
        return Target(name, accelerator, (int(size) if colon else 1,))
    axes = r"[1-9]\d*"
    if not re.fullmatch("x".join([axes] * accelerator.dimensions), size):
        raise _unknown(name)
    return Target(name, accelerator, tuple(int(axis) for axis in size.split("x")))


def _unknown(name: str) -> UserError:
    known = accelerators().items()
    slices = [
        f"{kind}:{'2x2x1' if row.dimensions == 3 else '2x4'}"
        for kind, row in known
        if row.dimensions
    ]
    gpus = [kind for kind, row in known if not row.dimensions]
    return UserError(
        f"config.compile_for: {name!r} is not a target; choose a slice of TPUs of any size "
        f"({', '.join(slices)}), a GPU ({', '.join(gpus)}), or up to {MAX_GPUS} GPUs of one host "
        f"({gpus[0]}:{MAX_GPUS})"
    )
