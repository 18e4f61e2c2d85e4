"""Count the bytes that a compiled XLA program moves, by operation.

The count is a function of the program's text, so it needs no device and has no noise. Each
instruction that the program executes (`hlo_walk.executed`) reads its operands once and writes its
result once. These rules refine the count:

- Slicing (slice, dynamic-slice, gather) reads what it returns. Updating a part of an argument
  (dynamic-update-slice, scatter) writes that part; scatter also reads it. The same holds inside a
  fusion, for those of its arguments that are used in no other way.
- XLA for TPU keeps some arrays on the chip (VMEM). `Traffic.bytes` counts them when they are copied
  from or to the memory of the device. `Traffic.touched` counts them as if they were in that memory,
  and no copies. On a GPU both numbers are equal: nothing is known about the caches.
- The work space of a library call is not counted.
"""

import collections
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpt1_jax.engine.hlo_text import Array, Computation, Instruction, Program
from gpt1_jax.engine.hlo_walk import executed

_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "domain"),
    *("partition-id", "replica-id", "optimization-barrier", "add-dependency"),
}
# Custom calls that only name or reserve memory.
_FREE_CALLS = ("AllocateBuffer", "Bitcast", "AssumeGatherIndicesInBound", "Sharding")
_SLICES = {"slice", "dynamic-slice", "gather"}
_UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # opcode -> the operand with the new values
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
        self._computations, self._anywhere = program.computations, anywhere

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
        read = sum(
            self._read(computation, instruction, position, operand.arrays)
            for position, operand in enumerate(operands)
        )
        return read + self._written(computation, instruction)

    def _size(self, arrays: Sequence[Array]) -> int:
        return sum(array.bytes for array in arrays if self._anywhere or array.in_device_memory)

    def _read(
        self,
        computation: Computation,
        user: Instruction,
        position: int,
        operand: Sequence[Array],
    ) -> int:
        """Return the bytes that `user` reads of its operand at `position`, of these arrays."""
        size = self._size(operand)
        if user.opcode == "fusion":
            inner = self._computations[user.attribute("calls")]
            uses = _uses(inner, inner.parameter(position))
            return min(sum(self._read(inner, *use, operand) for use in uses), size)
        if position == 0 and size and user.opcode in _SLICES:
            return operand[0].part(user.elements)  # XLA for TPU may convert what it slices
        if position == 0 and size and user.opcode in _UPDATES:
            update = computation.instructions[user.operands[_UPDATES[user.opcode]]]
            return operand[0].part(update.elements) if user.opcode == "scatter" else 0
        return size

    def _written(self, computation: Computation, instruction: Instruction) -> int:
        """Return the bytes of the result that one execution writes."""
        arrays = instruction.arrays
        if instruction.attribute("custom_call_target").startswith(("__cublas", "__cudnn")):
            return self._size(arrays[:-1] or arrays)  # the last one of several is work space
        written = self._parts(computation, instruction.name)
        if len(written) != len(arrays):
            return self._size(arrays)
        pairs = zip(written, arrays, strict=True)
        return sum(min(part, self._size([array])) for part, array in pairs)

    def _parts(self, computation: Computation, name: str) -> list[int]:
        """Return the bytes that an instruction writes into each array of its result."""
        instruction = computation.instructions[name]
        if instruction.opcode == "fusion":
            inner = self._computations[instruction.attribute("calls")]
            return self._parts(inner, inner.root)
        if instruction.opcode == "tuple":
            return [
                size for part in instruction.operands for size in self._parts(computation, part)
            ]
        if instruction.opcode == "bitcast":
            return self._parts(computation, instruction.operands[0])
        if instruction.opcode in _UPDATES:
            buffer = computation.instructions[instruction.operands[0]]
            while buffer.opcode == "bitcast":
                buffer = computation.instructions[buffer.operands[0]]
            if buffer.opcode in ("parameter", "get-tuple-element"):  # updated in its place
                update = instruction.operands[_UPDATES[instruction.opcode]]
                return [instruction.arrays[0].part(computation.instructions[update].elements)]
        return [array.bytes for array in instruction.arrays]


def _copied(instruction: Instruction, source: Instruction) -> int:
    """Return the bytes of an asynchronous copy, from and to the memory of the device."""
    if instruction.opcode == "copy-start":  # (target, source, context)
        target, size = instruction.arrays[0], source.bytes
    else:  # ((source), target, context)
        target = instruction.arrays[len(source.arrays)]
        size = target.bytes
    return size * (source.arrays[0].in_device_memory + target.in_device_memory)


def _uses(computation: Computation, name: str) -> Iterator[tuple[Instruction, int]]:
    """Yield the users of a value and of its bitcasts, with the position among their operands."""
    for user, position in computation.users(name):
        if user.opcode == "bitcast":
            yield from _uses(computation, user.name)
        elif user.opcode != "tuple":
            yield user, position


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
