"""Texts as streams: cut where no word is cut, so that a text of any length is read, re-flowed and encoded a little at a time."""

import re
from collections.abc import Iterable, Iterator

# Only white space that the normaliser and `Tokenizer.encode` drop alike may lie at a cut, and nothing that composes with it.
LINE = re.compile(r"(?<=\S)[ \t\r]*\n[ \t\r\n]*(?=\S)")
# Within a line: between two words, else after a mark that is always a word of its own.
WORD = re.compile(r"(?<=\w) (?=\w)")
MARK = re.compile("(?<=[,;!?\u3001\u3002\uff01\uff0c\uff1b\uff1f])(?=[^\\W_])")


def cut(chunks: Iterable[str], size: int) -> Iterator[str]:
    """A text that comes in chunks, in pieces of `size` to a little over twice that; a run without any space or mark is never cut.

    Joined, they are the text without white space at its ends, and a newline after it; a blank text has none. The ids of the text are
    those of the pieces one after the other, with the newline's after each piece that `ends_line`. Pieces can be joined likewise.
    """
    rest = ""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk.lstrip()
        start = 0
        while end := _end(rest, start + size, size):
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest := rest.rstrip():
        yield rest + "\n"


def _end(text: str, start: int, size: int) -> int:
    """Where a piece may end from `start` on: at a line's end if there is one within `size`; 0 where more text may bring one."""
    if len(text) < start + size:
        return 0
    lines = "\n" in text[start : start + size]  # LINE would look at every character
    found = (
        lines
        and LINE.search(text, start, start + size)
        or WORD.search(text, start)
        or MARK.search(text, start)
    )
    return found.end() if found else 0


def ends_line(piece: str) -> bool:
    """Whether a newline follows the last word of the piece."""
    return "\n" in piece[len(piece.rstrip()) :]


def reflow(chunks: Iterable[str]) -> Iterator[str]:
    """Hard-wrapped text, a blank line between paragraphs, with each paragraph on one line."""
    space = ""  # what lies between the chunk before and this one
    for chunk in chunks:
        words = chunk.strip()
        if not words:
            space = _space(space + chunk)
            continue
        begin = chunk.index(words[0])
        yield _between(space + chunk[:begin])
        yield "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", words))
        space = _space(chunk[begin + len(words) :])


def _space(space: str) -> str:
    """The least white space that separates as `space` does."""
    return "\n" * min(space.count("\n"), 2) or space[:1]


def _between(space: str) -> str:
    return "\n" if space.count("\n") > 1 else space and " "
