"""List the collectives of a compiled XLA program: their number, their bytes, their overlap."""

from collections.abc import Iterator
from typing import NamedTuple

from gpt1_jax.engine.hlo_text import Computation, Instruction, Program
from gpt1_jax.engine.hlo_walk import executed

KINDS = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)


class Collectives(NamedTuple):
    """Describe the collectives of one kind.

    Attributes:
        kind: the operation, such as "all-reduce".
        count: the number of executions.
        bytes: the sum of the bytes that a device gives, or receives if these are more.
        asynchronous: those of `count` that run beside other instructions.
    """

    kind: str
    count: int
    bytes: int
    asynchronous: int


def collectives(program: Program) -> list[Collectives]:
    """Return the collectives that a run of the program executes, by kind."""
    found = {}
    for computation, instruction, times, asynchronous in executed(program):
        for holder, collective in _within(program, computation, instruction):
            kind = collective.opcode.removesuffix("-start")
            total = found.get(kind, Collectives(kind, 0, 0, 0))
            beside = asynchronous or collective.opcode != kind
            found[kind] = Collectives(
                kind,
                total.count + times,
                total.bytes + _payload(holder, collective, kind) * times,
                total.asynchronous + (times if beside else 0),
            )
    return list(found.values())


def _within(
    program: Program, computation: Computation, instruction: Instruction
) -> Iterator[tuple[Computation, Instruction]]:
    """Yield an instruction if it is a collective, or the collectives that it fuses."""
    if instruction.opcode == "fusion":
        inner = program.computations[instruction.attribute("calls")]
        for fused in inner.instructions.values():
            yield from _within(program, inner, fused)
    elif instruction.opcode.removesuffix("-start") in KINDS:
        yield computation, instruction


def _payload(computation: Computation, collective: Instruction, kind: str) -> int:
    given = sum(computation.instructions[name].bytes for name in collective.operands)
    received = collective.bytes
    if collective.opcode != kind and kind != "all-reduce":
        received -= given  # the result of these starts repeats their operands
    return max(given, received)
