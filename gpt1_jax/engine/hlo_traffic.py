"""Count the bytes that a compiled XLA program moves, by operation.

The count is a function of the program's text, so it needs no device and has no noise. Each
instruction that the program executes (`hlo_walk.executed`) reads its operands once and writes its
result once. These rules refine the count:

- Slicing (slice, dynamic-slice, gather) reads what it returns. Updating a part of an argument
  (dynamic-update-slice, scatter) writes that part; scatter also reads it. Fusions read and write
  their arguments in part, too (`hlo_fusions.Fusions`).
- XLA for TPU keeps some arrays on the chip (VMEM). `Traffic.bytes` counts them when they are copied
  from or to the memory of the device. `Traffic.touched` counts them as if they were in that memory,
  and no copies. On a GPU both numbers are equal: nothing is known about the caches.
- The work space of a library call, and the padding of a TPU's tiles, are not counted.
"""

import collections
import re
from collections.abc import Sequence
from typing import NamedTuple

from gpt1_jax.engine.hlo_fusions import Fusions
from gpt1_jax.engine.hlo_text import Array, Computation, Instruction, Program
from gpt1_jax.engine.hlo_walk import executed

_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "domain"),
    *("partition-id", "replica-id", "optimization-barrier", "add-dependency"),
}
# Custom calls that only name or reserve memory.
_FREE_CALLS = ("AllocateBuffer", "Bitcast", "AssumeGatherIndicesInBound", "Sharding")
_COPY_STARTS = {"copy-start", "slice-start", "dynamic-slice-start"}


class Operation(NamedTuple):
    """Describe the instructions that come from one operation of the source.

    Attributes:
        name: the name of the operation, equal for all blocks of a body.
        count: the number of executed instructions.
        bytes, touched: see `Traffic`.
    """

    name: str
    count: int
    bytes: int
    touched: int


class Traffic(NamedTuple):
    """Hold what a run of a program moves.

    Attributes:
        bytes: the bytes that are read from and written to the memory of the device.
        touched: the bytes of all operands and results, in whatever memory they are.
        operations: the operations, those with the most bytes first.
    """

    bytes: int
    touched: int
    operations: list[Operation]


def traffic(program: Program) -> Traffic:
    """Return what a run of the program of one device moves."""
    counts, moved, touched = (collections.Counter() for _ in range(3))
    on_device, anywhere = _Sizes(program, False), _Sizes(program, True)
    for computation, instruction, times, _ in executed(program):
        device_bytes = on_device.moved(computation, instruction)
        all_bytes = anywhere.moved(computation, instruction)
        if device_bytes or all_bytes:
            name = operation_name(_named(computation, instruction))
            counts[name] += times
            moved[name] += device_bytes * times
            touched[name] += all_bytes * times
    operations = [Operation(name, counts[name], moved[name], touched[name]) for name in counts]
    operations.sort(key=lambda operation: (operation.bytes, operation.touched), reverse=True)
    return Traffic(sum(moved.values()), sum(touched.values()), operations)


class _Sizes:
    """Compute the bytes that an instruction moves.

    Args:
        program: the program that holds it.
        anywhere: count arrays that are not in the memory of the device too, and no copies.
    """

    def __init__(self, program: Program, anywhere: bool):
        self._fusions, self._anywhere = Fusions(program), anywhere

    def moved(self, computation: Computation, instruction: Instruction) -> int:
        """Return the bytes that one execution of an instruction of `computation` moves."""
        if _is_free(instruction):
            return 0
        opcode = instruction.opcode
        operands = [computation.instructions[name] for name in instruction.operands]
        if opcode in _COPY_STARTS:
            return 0 if self._anywhere else _copied(instruction, operands[0])
        if opcode.endswith("-start") and opcode != "all-reduce-start":
            return self._size(instruction.arrays)  # the result repeats the operands
        read = 0
        for position, operand in enumerate(operands):
            part = self._fusions.needed(computation, instruction, position)
            read += round(self._size(operand.arrays) * part)
        return read + self._written(computation, instruction)

    def _size(self, arrays: Sequence[Array]) -> int:
        return sum(array.bytes for array in arrays if self._anywhere or array.in_device_memory)

    def _written(self, computation: Computation, instruction: Instruction) -> int:
        """Return the bytes of the result that one execution writes."""
        arrays = instruction.arrays
        if instruction.attribute("custom_call_target").startswith(("__cublas", "__cudnn")):
            return self._size(arrays[:-1] or arrays)  # the last one of several is work space
        parts = self._fusions.written(computation, instruction.name)
        if len(parts) != len(arrays):
            return self._size(arrays)
        pairs = zip(parts, arrays, strict=True)
        return sum(round(part * self._size([array])) for part, array in pairs)


def _copied(instruction: Instruction, source: Instruction) -> int:
    """Return the bytes of an asynchronous copy, from and to the memory of the device."""
    if instruction.opcode == "copy-start":  # (target, source, context)
        target, size = instruction.arrays[0], source.bytes
    else:  # ((source), target, context)
        target = instruction.arrays[len(source.arrays)]
        size = target.bytes
    return size * (source.arrays[0].in_device_memory + target.in_device_memory)


def _named(computation: Computation, instruction: Instruction) -> Instruction:
    """Return the instruction that names what `instruction` is for.

    A copy to or from the chip is for its first user. If it has none, the program returns the copy,
    and the instruction that computed it names it.
    """
    user = instruction
    while user.opcode in _COPY_STARTS or _is_free(user):
        if user.opcode == "tuple" or not computation.users(user.name):
            break
        user = computation.users(user.name)[0][0]
    if not _is_free(user):
        return user
    while instruction.operands and (instruction.opcode in _COPY_STARTS or _is_free(instruction)):
        instruction = computation.instructions[instruction.operands[0]]
    return instruction


def _is_free(instruction: Instruction) -> bool:
    """Return whether an instruction only names or reserves memory, or ends another one."""
    target = instruction.attribute("custom_call_target")
    return (
        instruction.opcode in _FREE
        or instruction.opcode.endswith(("-done", "-update"))
        or any(name in target for name in _FREE_CALLS)
    )


def operation_name(instruction: Instruction) -> str:
    """Return the operation of the source, with one name for all blocks; else the opcode."""
    name = re.sub(r"\bjit\(\w+\)/(shard_map/)?", "", instruction.op_name)
    name = name.removeprefix("while/body/closed_call/")  # the loop that accumulates gradients
    return re.sub(r"\bh\d+\b", "h*", name) or instruction.opcode
