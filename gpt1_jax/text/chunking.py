"""Cut and reflow texts of any length as streams of chunks.

A cut never splits a word, after `limit_words` has split the words that are too long to learn from.
"""

import re
from collections.abc import Callable, Iterable, Iterator

# A cut may only lie at white space that both the normalizer and `Tokenizer.encode` drop, where no
# combining character follows.
LINE_END = re.compile(r"(?<=\S)[ \t\r]*\n[ \t\r\n]*(?=\S)")
# Within a line, cut between two words, or else after a mark that is always its own word.
SPACE = re.compile(r"(?<=\w) (?=\w)")
MARK = re.compile("(?<=[,;!?\u3001\u3002\uff01\uff0c\uff1b\uff1f])(?=[^\\W_])")

# Longest word in characters; no dictionary has one of a quarter of it. The time to learn merges
# grows with the square of a word's length: 3 s for 64,000 letters, many minutes for 1 MB of base64
# or DNA.
WORD_LIMIT = 1000
# A run without white space and without the marks that are always their own words. A word lies
# within one run.
RUN = re.compile('[^\\s!";?+,)(*\\[\\]}{_\u3001\u3002\uff01\uff0c\uff1b\uff1f]+')


def limit_words(
    chunks: Iterable[str], report: Callable[[int], object] = lambda cuts: None
) -> Iterator[str]:
    """Yield a text, given as chunks, with a space after every `WORD_LIMIT` characters of a run.

    The parts of such a run become separate words: no merge and no combining character reaches over
    the cut. The result does not depend on where the chunks end. Other texts are unchanged.

    Args:
        chunks: the text.
        report: called with the number of spaces that are added to a chunk, if there are any.
    """
    length = 0  # characters since the last cut of the run at the end of the previous chunks
    for chunk in chunks:
        limited = chunk
        if length + max(map(len, chunk.split()), default=0) > WORD_LIMIT:
            limited = _limit_runs(chunk, length)
        if len(limited) > len(chunk):
            report(len(limited) - len(chunk))
        yield limited
        end = _length_of_last_run(limited)
        length = length + end if end == len(limited) else end


def _limit_runs(chunk: str, length: int) -> str:
    """Return a chunk with spaces in its long runs; `length` characters of the first precede it."""
    pieces, position = [], 0
    for run in RUN.finditer(chunk):
        start = WORD_LIMIT - length if run.start() == 0 else run.start() + WORD_LIMIT
        for cut_at in range(start, run.end(), WORD_LIMIT):
            pieces.append(chunk[position:cut_at])
            position = cut_at
    return " ".join([*pieces, chunk[position:]])


def _length_of_last_run(chunk: str) -> int:
    """Return the number of characters at the end of the chunk that belong to one run."""
    end = chunk[-2 * WORD_LIMIT :]
    for run in RUN.finditer(end):
        if run.end() == len(end):
            return run.end() - run.start()
    return 0


def cut(chunks: Iterable[str], size: int) -> Iterator[str]:
    """Yield a text, given as chunks, in pieces of `size` to slightly over 2 * `size` characters.

    A run of characters without a space or mark is never cut, so its piece may be longer. The joined
    pieces are the text without white space at its ends, followed by a newline. A blank text has no
    pieces. The ids of the text are the concatenated ids of the pieces, with the id of the newline
    after each piece that `ends_line`. Neighboring pieces may be joined before they are encoded.
    """
    rest = ""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk.lstrip()
        start = 0
        while end := _find_cut(rest, start + size, size):
            yield rest[start:end]
            start = end
        rest = rest[start:]
    rest = rest.rstrip()
    if rest:
        yield rest + "\n"


def _find_cut(text: str, start: int, size: int) -> int:
    """Return the first cut from `start` on, or 0 if more text is needed to find one.

    The cut is at the end of a line if a line ends within `size` characters.
    """
    if len(text) < start + size:
        return 0
    match = None
    if "\n" in text[start : start + size]:  # LINE_END is slow: it tests every character
        match = LINE_END.search(text, start, start + size)
    match = match or SPACE.search(text, start) or MARK.search(text, start)
    return match.end() if match else 0


def ends_line(piece: str) -> bool:
    """Return whether a newline follows the last word of the piece."""
    return "\n" in piece[len(piece.rstrip()) :]


def reflow(chunks: Iterable[str]) -> Iterator[str]:
    """Yield a hard-wrapped text with each paragraph on one line.

    Blank lines separate paragraphs. The result does not depend on where the chunks end.
    """
    space = ""  # white space since the last word of the previous chunks
    for chunk in chunks:
        words = chunk.strip()
        if not words:
            space = _shorten_space(space + chunk)
            continue
        begin = chunk.index(words[0])
        yield _separator(space + chunk[:begin])
        yield "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", words))
        space = _shorten_space(chunk[begin + len(words) :])


def _shorten_space(space: str) -> str:
    """Return the shortest white space that separates like `space`."""
    return "\n" * min(space.count("\n"), 2) or space[:1]


def _separator(space: str) -> str:
    """Return the newline between paragraphs, the space between words, or "" for no white space."""
    if space.count("\n") > 1:
        return "\n"
    return " " if space else ""
