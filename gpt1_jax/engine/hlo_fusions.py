"""Tell which part of its arguments a fusion reads, and which part of its result it writes."""

from collections.abc import Mapping

from gpt1_jax.engine.hlo_text import Computation, Instruction, Program

SLICES = {"slice", "dynamic-slice", "gather"}
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # opcode -> the operand with the new values
# These need all of an operand for any part of their result, even if both have the same size.
_WHOLE = {
    *("dot", "convolution", "custom-call", "sort", "reduce-window", "select-and-scatter"),
    *("triangular-solve", "cholesky", "fft"),
}


class Fusions:
    """Compute what fusions of a program read and write.

    A fusion computes the elements of its inner values that its result needs, and no others. So an
    argument that is only sliced, even after arithmetic, is read in part.
    """

    def __init__(self, program: Program):
        self._computations = program.computations
        self._used: dict[str, Mapping[str, float]] = {}

    def read(self, fusion: Instruction, position: int) -> float:
        """Return the part of the operand at `position` that a fusion reads, from 0 to 1."""
        name = fusion.attribute("calls")
        used = self._used.get(name)
        if used is None:
            used = self._used[name] = self._used_parts(self._computations[name])
        return used.get(self._computations[name].parameter(position), 0.0)

    def _used_parts(self, computation: Computation) -> dict[str, float]:
        """Return the part of each value that the root of a computation needs."""
        used = {computation.root: 1.0}
        for instruction in reversed(list(computation.instructions.values())):
            part = used.get(instruction.name, 0.0)
            for position, name in enumerate(instruction.operands if part else ()):
                need = self.needed(computation, instruction, position, part)
                used[name] = min(used.get(name, 0.0) + need, 1.0)
        return used

    def needed(
        self, computation: Computation, user: Instruction, position: int, part: float = 1.0
    ) -> float:
        """Return the part of the operand at `position` that `user` needs for `part` of its result.

        A buffer that is updated in its place is not needed, except for what scatter adds to.
        """
        operand = computation.instructions[user.operands[position]]
        elements = max(operand.elements, 1)
        if user.opcode == "fusion":
            return self.read(user, position)
        if position == 0 and user.opcode in SLICES:
            return min(part * user.elements / elements, 1.0)
        if position == 0 and user.opcode in UPDATES and is_updated_in_place(computation, user):
            new = computation.instructions[user.operands[UPDATES[user.opcode]]].elements
            return min(new / elements, 1.0) if user.opcode == "scatter" else 0.0
        is_elementwise = operand.elements == user.elements and user.opcode not in _WHOLE
        return part if is_elementwise or user.opcode == "reduce" else 1.0

    def written(self, computation: Computation, name: str) -> list[float]:
        """Return the part of each array of a result that is written, from 0 to 1."""
        instruction = computation.instructions[name]
        if instruction.opcode == "fusion":
            inner = self._computations[instruction.attribute("calls")]
            return self.written(inner, inner.root)
        if instruction.opcode == "tuple":
            return [
                part for name in instruction.operands for part in self.written(computation, name)
            ]
        if instruction.opcode == "bitcast":
            return self.written(computation, instruction.operands[0])
        if instruction.opcode in UPDATES and is_updated_in_place(computation, instruction):
            new = computation.instructions[instruction.operands[UPDATES[instruction.opcode]]]
            return [min(new.elements / max(instruction.elements, 1), 1.0)]
        return [1.0] * len(instruction.arrays)


def is_updated_in_place(computation: Computation, update: Instruction) -> bool:
    """Return whether the buffer that an instruction updates is an argument, not a new array."""
    buffer = computation.instructions[update.operands[0]]
    while buffer.opcode == "bitcast":
        buffer = computation.instructions[buffer.operands[0]]
    return buffer.opcode in ("parameter", "get-tuple-element")
