"""Parse the text of a compiled XLA program (`compiled.as_text()`) into its instructions."""

import collections
import functools
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

# The bits of an element. Types that are not listed (token, opaque) hold no data.
BITS = {
    **dict.fromkeys(("s4", "u4", "f4e2m1fn"), 4),
    **dict.fromkeys(("pred", "s8", "u8", "f8e4m3fn", "f8e5m2", "f8e4m3b11fnuz"), 8),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 16),
    **dict.fromkeys(("f32", "s32", "u32"), 32),
    **dict.fromkeys(("f64", "s64", "u64", "c64"), 64),
    "c128": 128,
}
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_MEMORY_SPACE = re.compile(r"S\((\d+)\)")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_NAME = re.compile(r"%([\w.\-]+)")


class Array(NamedTuple):
    """Hold an array of a shape: its sizes, and whether it is in the memory of the device.

    XLA for TPU keeps some arrays in the memory of the chip itself (VMEM, SMEM), and some in that of
    the host.
    """

    elements: int
    bytes: int
    in_device_memory: bool


class Instruction(NamedTuple):
    """Hold one instruction.

    Attributes:
        name: its name.
        opcode: its operation.
        arrays: the arrays of its result; a tuple is flattened.
        operands: the names of its operands.
        argument: the text between its parentheses, for constants and parameters.
        attributes: the text after its operands.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    argument: str
    attributes: str

    @property
    def bytes(self) -> int:
        """Return the bytes of the result, in any memory."""
        return sum(array.bytes for array in self.arrays)

    @property
    def elements(self) -> int:
        """Return the number of elements of the result."""
        return sum(array.elements for array in self.arrays)

    def attribute(self, name: str) -> str:
        """Return the name or the word after `name=` in the attributes; "" if there is none."""
        found = re.search(rf"\b{name}=\"?%?([\w.\-$]+)", self.attributes)
        return found[1] if found else ""

    def alternatives(self) -> list[str]:
        """Return the computations of a conditional."""
        found = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if found:
            return _NAME.findall(found[1])
        return [self.attribute("true_computation"), self.attribute("false_computation")]

    @property
    def op_name(self) -> str:
        """Return the name of the operation in the source that became this instruction, or ""."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""


class Computation:
    """Hold the instructions of a computation.

    Args:
        instructions: name -> instruction, in their order.
        root: the name of the instruction whose result the computation returns.
    """

    def __init__(self, instructions: Mapping[str, Instruction], root: str):
        self.instructions, self.root = instructions, root
        self._users = collections.defaultdict(list)
        self._parameters = {}
        for instruction in instructions.values():
            if instruction.opcode == "parameter":
                self._parameters[int(instruction.argument)] = instruction.name
            for position, operand in enumerate(instruction.operands):
                self._users[operand].append((instruction, position))

    def parameter(self, number: int) -> str:
        """Return the name of a parameter."""
        return self._parameters[number]

    def users(self, name: str) -> list[tuple[Instruction, int]]:
        """Return the instructions that read `name`, with the position among their operands."""
        return self._users.get(name, [])


class Program(NamedTuple):
    """Hold all computations by name, and the name of the one that is executed."""

    computations: Mapping[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """Return the program that `compiled.as_text()` describes."""
    computations: dict[str, Computation] = {}
    entry = name = root = ""
    instructions: dict[str, Instruction] = {}
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY ")) and line.endswith("{"):
            name, instructions, root = line.removeprefix("ENTRY ").lstrip("%").split()[0], {}, ""
            entry = name if line.startswith("ENTRY ") else entry
        elif line.startswith("}") and name:
            computations[name], name = Computation(instructions, root), ""
        elif name and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(*found.groups()[1:])
            instructions[instruction.name] = instruction
            root = instruction.name if found[1] else root
    return Program(computations, entry)


def _instruction(name: str, shape: str, opcode: str, rest: str) -> Instruction:
    end = rest.find("), ")
    end = len(rest) - 1 if end < 0 else end  # the last character is the closing parenthesis
    argument, attributes = rest[:end], rest[end + 1 :]
    return Instruction(
        name, opcode, arrays(shape), tuple(_NAME.findall(argument)), argument, attributes
    )


@functools.lru_cache(maxsize=4096)
def arrays(shape: str) -> tuple[Array, ...]:
    """Return the arrays of a shape such as "(f32[8,128]{1,0:T(8,128)S(1)}, s32[])"."""
    found = []
    for kind, dimensions, layout in _ARRAY.findall(shape):
        sizes = filter(None, dimensions.replace("<=", "").split(","))
        elements = math.prod(int(size) for size in sizes)
        space = _MEMORY_SPACE.search(layout)
        in_device_memory = space is None or space[1] == "0"
        found.append(Array(elements, -(-elements * BITS.get(kind, 0) // 8), in_device_memory))
    return tuple(found)
