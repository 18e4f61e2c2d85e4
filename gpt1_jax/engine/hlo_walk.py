"""Walk through the instructions that a compiled XLA program executes, with their repetitions."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpt1_jax.engine.hlo_text import Computation, Instruction, Program

_KNOWN = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_SAME_VALUE = {"copy", "bitcast", "reshape", "convert", "optimization-barrier"}


class Executed(NamedTuple):
    """Hold an instruction that the program executes.

    Attributes:
        computation: the computation that holds it.
        instruction: the instruction.
        times: how often a run of the program executes it.
        asynchronous: it runs beside other instructions.
    """

    computation: Computation
    instruction: Instruction
    times: int
    asynchronous: bool


def executed(program: Program) -> Iterator[Executed]:
    """Yield the instructions that the program executes.

    Loops, calls and asynchronous operations are replaced by the instructions of their computations.
    A loop whose repetitions cannot be told (`trip_count`) is executed once. Of a conditional, the
    longest branch is executed. Fusions are single instructions.
    """
    yield from _executed(program, program.entry, 1, False)


def _executed(program: Program, name: str, times: int, asynchronous: bool) -> Iterator[Executed]:
    computation = program.computations[name]
    for instruction in computation.instructions.values():
        opcode = instruction.opcode
        if opcode == "while":
            repetitions = trip_count(program, computation, instruction)
            repeated = times * (1 if repetitions is None else repetitions)
            for part in ("condition", "body"):
                part = instruction.attribute(part)
                yield from _executed(program, part, repeated, asynchronous)
        elif opcode == "conditional":
            longest = max(
                instruction.alternatives(),
                key=lambda name: len(program.computations[name].instructions),
            )
            yield from _executed(program, longest, times, asynchronous)
        elif opcode in ("call", "async-start"):
            called = instruction.attribute("calls") or instruction.attribute("to_apply")
            beside = asynchronous or opcode == "async-start"
            yield from _executed(program, called, times, beside)
        else:
            yield Executed(computation, instruction, times, asynchronous)


def unknown_loops(program: Program) -> list[Instruction]:
    """Return the loops whose repetitions cannot be told."""
    return [
        instruction
        for computation in program.computations.values()
        for instruction in computation.instructions.values()
        if instruction.opcode == "while" and trip_count(program, computation, instruction) is None
    ]


def trip_count(program: Program, caller: Computation, loop: Instruction) -> int | None:
    """Return the repetitions of a while loop; None if they cannot be told.

    XLA often states them. Otherwise the loop must count: its condition compares a whole number of
    its state with a limit (`i < n`), the number starts at a constant, and the body adds a constant.
    `jax.lax.scan`, `map` and `fori_loop` with constant limits give such loops.

    Args:
        program: the program.
        caller: the computation that holds the loop.
        loop: the while instruction.
    """
    known = _KNOWN.search(loop.attributes)
    if known:
        return int(known[1])
    condition = program.computations[loop.attribute("condition")]
    test = _unwrapped(program, condition.instructions[condition.root])
    if test.opcode != "compare" or test.attribute("direction") != "LT":
        return None
    number, limit_name = test.operands
    index = _state_index(condition, number)
    start = _initial(caller, loop, index)
    limit = _constant(condition, limit_name)
    if limit is None:
        limit = _initial(caller, loop, _state_index(condition, limit_name))
    step = _step(program, program.computations[loop.attribute("body")], index)
    if start is None or limit is None or not step:
        return None
    return max(-(-(limit - start) // step), 0)


def _unwrapped(program: Program, instruction: Instruction) -> Instruction:
    """Return the operation of a fusion that holds only one, applied to the fusion's operands."""
    if instruction.opcode != "fusion":
        return instruction
    inner = program.computations[instruction.attribute("calls")]
    operation = inner.instructions[inner.root]
    arguments = [inner.instructions[name] for name in operation.operands]
    if any(argument.opcode != "parameter" for argument in arguments):
        return instruction
    operands = tuple(instruction.operands[int(argument.argument)] for argument in arguments)
    return operation._replace(operands=operands)


def _origin(computation: Computation, name: str) -> Instruction | None:
    """Return the instruction that computes a value, without the copies after it."""
    instruction = computation.instructions.get(name)
    while instruction is not None and instruction.opcode in _SAME_VALUE:
        instruction = computation.instructions.get(instruction.operands[0])
    return instruction


def _constant(computation: Computation, name: str) -> int | None:
    instruction = _origin(computation, name)
    if instruction is None or instruction.opcode != "constant":
        return None
    return int(instruction.argument) if instruction.argument.lstrip("-").isdecimal() else None


def _state_index(computation: Computation, name: str) -> int | None:
    """Return the place in the state of the loop from which a value is read."""
    instruction = _origin(computation, name)
    if instruction is None or instruction.opcode != "get-tuple-element":
        return None
    state = _origin(computation, instruction.operands[0])
    if state is None or state.opcode != "parameter":
        return None
    return int(instruction.attribute("index"))


def _initial(caller: Computation, loop: Instruction, index: int | None) -> int | None:
    """Return the constant from which a number of the loop's state starts."""
    state = _origin(caller, loop.operands[0])
    if index is None or state is None or state.opcode != "tuple":
        return None
    return _constant(caller, state.operands[index])


def _step(program: Program, body: Computation, index: int | None) -> int | None:
    """Return the constant that the body adds to a number of the loop's state."""
    root = body.instructions[body.root]
    if index is None or root.opcode != "tuple":
        return None
    added = _origin(body, root.operands[index])
    added = None if added is None else _unwrapped(program, added)
    if added is None or added.opcode != "add":
        return None
    for number, other in (added.operands, reversed(added.operands)):
        if _state_index(body, number) == index:
            return _constant(body, other)
    return None
