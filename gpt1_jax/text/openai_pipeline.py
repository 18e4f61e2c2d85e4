"""The published text pipeline, word for word: ftfy -> text_standardize -> spaCy's English tokenizer -> lower case.

Source: openai/finetune-transformer-lm, text_utils.py. `standardize.py` approximates it without the two libraries. A newline is a word of
its own, as the original's token of a newline and the space after it became one.
"""

import importlib
import itertools
import re
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from gpt1_jax.errors import UserError

LIBRARIES = ("ftfy", "spacy")
LIMIT = 1 << 19  # distinct chunks that are remembered, some 150 MB

# ftfy leaves a line of these characters alone but for its curly quotes. An ampersand may begin an HTML entity.
OTHER = re.compile("[^\t\n -%'-~\u2013\u2014\u2018\u2019\u201c\u201d\u2026]")
CURLY = (("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'))

# text_standardize: a run of one of these signs stands alone. Its pattern meant to name the backslash, too, and names the plus twice.
REPLACED = (("\u2014", "-"), ("\u2013", "-"), ("\u2015", "-"), ("\u2026", "..."), ("\u00b4", "'"))
SEPARATED = re.compile(r"""([-~!";?+,)(/*\[\]}{|_])\1*""")


def libraries() -> str:
    """The libraries and their versions, on which the words depend, as "ftfy 6.3, spacy 3.8"; UserError where one is missing."""
    return ", ".join(
        f"{name} {'.'.join(_library(name).__version__.split('.')[:2])}" for name in LIBRARIES
    )


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)  # seconds, so not before the first text
    except ImportError:
        raise UserError(
            f"the published text pipeline: needs {name}, which is not installed; pip install 'gpt1_jax[openai]', or import the weights "
            "again with --text=approximate"
        ) from None


class Pipeline:
    """Text -> what `of` makes of its words, one after the other; calls of several threads take turns.

    Nearly all chunks between white space fall into the same words wherever they stand, and the chunks of a language repeat: what
    becomes of them is remembered. The result is that of the libraries on the whole text.

    Args:
        of: words -> a list, not empty, of one word after the other.
        wanted: the `libraries()` whose words are wanted.
    """

    def __init__(self, of: Callable[[list[str]], list[Any]], wanted: str):
        self._of, self._wanted = of, wanted
        self._lock, self._known = threading.Lock(), {}
        self._english = self._bare = None

    def __call__(self, text: str) -> list[Any]:
        """Raises UserError where a library is missing or of another version than wanted."""
        with self._lock:
            if (
                self._english is None or len(self._known) > LIMIT
            ):  # spaCy too remembers every string that it has met
                self._start()
            lines = [chunks for line in _standardized(text).split("\n") if (chunks := line.split())]
            parts = [self._line(chunks) for chunks in lines]
            newline = self._of(["\n"])
            between = itertools.chain.from_iterable((newline, part) for part in parts)
            return list(itertools.chain.from_iterable(itertools.islice(between, 1, None)))

    def _start(self) -> None:
        if (found := libraries()) != self._wanted:
            raise UserError(
                f"the published text pipeline: {found} are installed, but the tokenizer's ids are those of {self._wanted}; install "
                "these versions, or import the weights again"
            )
        self._english = _library("spacy").blank("en").tokenizer
        affixes = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
        # The same without its special cases, such as "Mr." and ":o)".
        self._bare = type(self._english)(
            self._english.vocab, **{name: getattr(self._english, name) for name in affixes}
        )
        self._known = {}

    def _line(self, chunks: list[str]) -> list[Any]:
        found = list(map(self._known.get, chunks))
        if not all(found):
            for chunk in chunks:
                if chunk not in self._known:
                    self._known[chunk] = self._alone(chunk)
            found = [self._known[chunk] for chunk in chunks]
            if not all(found):
                return self._of(_words(self._english(" ".join(chunks))))
        return list(itertools.chain.from_iterable(found))

    def _alone(self, chunk: str) -> list[Any]:
        """What `of` makes of the chunk, or nothing where that may depend on its neighbours.

        spaCy looks for special cases in the tokens of the whole text, and one that reaches over a space, which it then gives up, can
        keep another from being found: "x:o" is "x", ":o", but in "x:o )" it is "x", ":", "o". Where a special case is the whole
        chunk, or none is found in it, there is nothing to lose.
        """
        tokens = self._english(chunk)
        if chunk in self._english.rules or [token.text for token in tokens] == [
            token.text for token in self._bare(chunk)
        ]:
            return self._of(_words(tokens))
        return []


def _words(tokens) -> list[str]:
    return [token.text.lower() for token in tokens]


def _standardized(text: str) -> str:
    """The text after ftfy and text_standardize, but for how much white space there is."""
    text = _fixed(text)
    for old, new in REPLACED:
        text = text.replace(old, new)
    return SEPARATED.sub(r" \g<0> ", text)


def _fixed(text: str) -> str:
    """ftfy.fix_text(text), which goes line by line, with the lines spared that it can be told not to change."""
    if OTHER.search(text):
        lines, unescape = text.split("\n"), "auto"
        lines = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
        for number, line in enumerate(lines):
            if OTHER.search(line):
                lines[number] = _library("ftfy").fix_text(line, unescape_html=unescape)
            if "<" in line:  # from here on entities may be meant as they stand
                unescape = False
        text = "".join(lines)
    for old, new in CURLY:
        text = text.replace(old, new)
    return text
