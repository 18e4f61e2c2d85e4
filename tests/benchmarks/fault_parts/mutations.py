"""Damage the bytes of a file in one of many ways, by a seeded generator."""

import json
import random
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

# Values that a reader may not expect, as JSON.
JSON_VALUES = (
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "NaN",
    "1.5",
    str(2**32),
    str(2**64),
    '""',
    '"word"',
    '"\\ud800"',
    '"a\\tb\\nc"',
    '"\\u0000"',
    '"' + "x" * 100_000 + '"',
    "[]",
    "{}",
    "[1, 2]",
    '{"a": 1}',
    "[" * 3_000 + "]" * 3_000,
)


def truncate(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) or 1)]


def empty(content: bytes, generator: random.Random) -> bytes:
    return b""


def flip_bit(content: bytes, generator: random.Random) -> bytes:
    if not content:
        return b"\x01"
    changed = bytearray(content)
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def flip_many(content: bytes, generator: random.Random) -> bytes:
    for _ in range(20):
        content = flip_bit(content, generator)
    return content


def zero_block(content: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(content) or 1)
    return content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :]


def insert(*pieces: bytes) -> Mutation:
    """Return a mutation that inserts one of the pieces somewhere."""

    def mutation(content: bytes, generator: random.Random) -> bytes:
        position = generator.randrange(len(content) + 1)
        return content[:position] + generator.choice(pieces) + content[position:]

    return mutation


def by_line(change: Callable[[list[bytes], random.Random], None]) -> Mutation:
    """Return a mutation that changes the list of the lines, each with its newline."""

    def mutation(content: bytes, generator: random.Random) -> bytes:
        lines = content.splitlines(keepends=True) or [b"\n"]
        change(lines, generator)
        return b"".join(lines)

    return mutation


def _drop_line(lines: list[bytes], generator: random.Random) -> None:
    lines.pop(generator.randrange(len(lines)))


def _repeat_line(lines: list[bytes], generator: random.Random) -> None:
    lines.insert(0, generator.choice(lines))


def _swap_lines(lines: list[bytes], generator: random.Random) -> None:
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]


def _drop_cell(lines: list[bytes], generator: random.Random) -> None:
    number = generator.randrange(len(lines))
    lines[number] = lines[number].rpartition(b"\t")[0] + b"\n"


def change_json(content: bytes, generator: random.Random) -> bytes:
    """Replace, delete or rename a random value of a JSON document or of one line of JSON lines."""
    try:
        return _change_value(content.decode(), generator).encode()
    except (ValueError, RecursionError):
        lines = content.splitlines(keepends=True)
        if not lines:
            return content
        number = generator.randrange(len(lines))
        try:
            lines[number] = _change_value(lines[number].decode(), generator).encode() + b"\n"
        except (ValueError, RecursionError):
            return flip_many(content, generator)
        return b"".join(lines)


def _change_value(text: str, generator: random.Random) -> str:
    root = {"": json.loads(text)}
    places = list(_places(root))
    holder, key = generator.choice(places)
    action = generator.choice(("replace", "replace", "replace", "delete", "rename"))
    marker = "\x01replaced\x01"
    if action == "replace" or holder is root or isinstance(holder, list):
        holder[key] = marker
    elif action == "delete":
        del holder[key]
    else:
        holder[f"{key}x"] = holder.pop(key)
    return json.dumps(root[""]).replace(json.dumps(marker), generator.choice(JSON_VALUES))


def _places(holder):
    """Yield (container, key) of every value, at most 50 of a container."""
    items = holder.items() if isinstance(holder, dict) else enumerate(holder)
    for key, value in list(items)[:50]:
        yield holder, key
        if isinstance(value, dict | list):
            yield from _places(value)


ANY = {
    "truncated": truncate,
    "empty": empty,
    "one bit flipped": flip_bit,
    "20 bits flipped": flip_many,
    "64 bytes zeroed": zero_block,
}
TEXT = ANY | {
    "not UTF-8": insert(b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"),
    "control characters": insert(b"\x00", b"\x1b[31m", b"\r", b"\x85", "\u2028".encode()),
    "separators": insert(b"\t", b'"', b"\n", b"\n\n", b",", b"\\"),
    "a long word": insert(b"x" * 200_000),
    "a byte order mark": lambda content, generator: b"\xef\xbb\xbf" + content,
    "Windows line ends": lambda content, generator: content.replace(b"\n", b"\r\n"),
    "no last newline": lambda content, generator: content.rstrip(b"\n"),
    "a line dropped": by_line(_drop_line),
    "a line repeated": by_line(_repeat_line),
    "lines swapped": by_line(_swap_lines),
    "a cell dropped": by_line(_drop_cell),
}
JSON = ANY | {
    "a value changed": change_json,
    "a value changed again": change_json,
    "values changed": lambda content, generator: change_json(
        change_json(content, generator), generator
    ),
    "a byte order mark": TEXT["a byte order mark"],
    "half a surrogate pair": lambda content, generator: content.replace(b'": "', b'": "\\ud800', 1),
    "not UTF-8": TEXT["not UTF-8"],
    "a list around it": lambda content, generator: b"[" + content + b"]",
    "nested 3,000 deep": lambda content, generator: b"[" * 3_000 + b"]" * 3_000,
}


def change_flag(content: bytes, generator: random.Random) -> bytes:
    """Replace the value of one line NAME=VALUE."""
    lines = content.decode().splitlines()
    number = generator.randrange(len(lines))
    name, _, _ = lines[number].partition("=")
    value = generator.choice([*JSON_VALUES, "a word", "(1, 2)", "('a', 'b')", "~nobody/x", "\x7f"])
    lines[number] = f"{name}={value}"
    return "\n".join(lines).encode()


FLAGS = {"a value changed": change_flag}


def for_file(name: str, content: bytes) -> dict[str, Mutation]:
    """Return the mutations for a file of this name and content."""
    if content.startswith(b"{"):
        return JSON
    if name == "flags":
        return FLAGS
    return TEXT if name.endswith((".txt", ".tsv", ".csv")) else ANY
