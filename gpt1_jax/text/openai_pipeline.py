"""Split texts into words exactly as the published text pipeline does.

The pipeline is ftfy -> text_standardize -> spaCy's English tokenizer -> lower case.
`standardize.py` approximates it without the two libraries. A newline is a word. The original makes
one word of a newline and the space after it, but that word has the same token.

Source: openai/finetune-transformer-lm, text_utils.py.
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
CACHE_LIMIT = 1 << 19  # distinct chunks in the cache, about 150 MB

# ftfy changes nothing but curly quotes in a line without these characters. An ampersand is one of
# them, because it may begin an HTML entity.
NEEDS_FTFY = re.compile("[^\t\n -%'-~\u2013\u2014\u2018\u2019\u201c\u201d\u2026]")
CURLY_QUOTES = (("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'))

# text_standardize puts spaces around runs of one of these signs. Its pattern was probably meant to
# include the backslash, but it includes the plus twice.
REPLACEMENTS = (
    ("\u2014", "-"),
    ("\u2013", "-"),
    ("\u2015", "-"),
    ("\u2026", "..."),
    ("\u00b4", "'"),
)
SEPARATED = re.compile(r"""([-~!";?+,)(/*\[\]}{|_])\1*""")


def libraries() -> str:
    """Return the installed libraries and their versions, such as "ftfy 6.3, spacy 3.8".

    The words depend on these versions.

    Raises:
        UserError: a library is missing.
    """
    versions = {name: _library(name).__version__.split(".")[:2] for name in LIBRARIES}
    return ", ".join(f"{name} {'.'.join(version)}" for name, version in versions.items())


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)  # takes seconds, so not before the first text
    except ImportError:
        raise UserError(
            f"the published text pipeline: needs {name}, which is not installed; "
            "pip install 'gpt1_jax[openai]', or import the weights again with --text=approximate"
        ) from None


class Pipeline:
    """Split texts into words and apply a function to the words. Threads may share an instance.

    Nearly all chunks between white space have the same words wherever they stand, and chunks
    repeat, so their results are cached. The result is that of the libraries on the whole text.

    Args:
        process: maps consecutive words to a list that is not empty; the results are concatenated.
        versions: the `libraries()` that must be installed.
    """

    def __init__(self, process: Callable[[list[str]], list[Any]], versions: str):
        self._process, self._versions = process, versions
        self._lock, self._cache = threading.Lock(), {}
        self._english: Any = None
        self._without_special_cases: Any = None

    def __call__(self, text: str) -> list[Any]:
        """Return the results for the words of the text.

        Raises:
            UserError: a library is missing or has another version.
        """
        with self._lock:
            # spaCy also caches every string, so a full cache restarts both.
            if self._english is None or len(self._cache) > CACHE_LIMIT:
                self._start()
            result, newline = [], self._process(["\n"])
            for line in _standardize(text).split("\n"):
                chunks = line.split()
                if chunks and result:
                    result += newline
                if chunks:
                    result += self._process_line(chunks)
            return result

    def _start(self) -> None:
        installed = libraries()
        if installed != self._versions:
            raise UserError(
                f"the published text pipeline: {installed} are installed, but the tokenizer's ids "
                f"are those of {self._versions}; install these versions, "
                "or import the weights again"
            )
        self._english = _library("spacy").blank("en").tokenizer
        affixes = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
        # The same tokenizer without special cases, such as "Mr." and ":o)".
        self._without_special_cases = type(self._english)(
            self._english.vocab, **{name: getattr(self._english, name) for name in affixes}
        )
        self._cache = {}

    def _process_line(self, chunks: list[str]) -> list[Any]:
        results: list[Any] = list(map(self._cache.get, chunks))
        if not all(results):
            for chunk in chunks:
                if chunk not in self._cache:
                    self._cache[chunk] = self._process_chunk(chunk)
            results = [self._cache[chunk] for chunk in chunks]
            if not all(results):
                return self._process(_lower_words(self._english(" ".join(chunks))))
        return list(itertools.chain.from_iterable(results))

    def _process_chunk(self, chunk: str) -> list[Any]:
        """Return the result for the chunk, or [] if it may depend on neighboring chunks.

        spaCy searches the tokens of the whole text for special cases. A match that reaches over a
        space is discarded, but can hide another: "x:o" is "x", ":o", but in "x:o )" it is "x", ":",
        "o". The result is independent of neighbors if the whole chunk is a special case or
        contains none.
        """
        tokens = self._english(chunk)
        texts = [token.text for token in tokens]
        plain_texts = [token.text for token in self._without_special_cases(chunk)]
        if chunk in self._english.rules or texts == plain_texts:
            return self._process(_lower_words(tokens))
        return []


def _lower_words(tokens) -> list[str]:
    return [token.text.lower() for token in tokens]


def _standardize(text: str) -> str:
    """Return the text after ftfy and text_standardize, except for the amount of white space."""
    text = fix_text(text)
    for old, new in REPLACEMENTS:
        text = text.replace(old, new)
    return SEPARATED.sub(r" \g<0> ", text)


def fix_text(text: str) -> str:
    """Return ftfy.fix_text(text), but call ftfy only for lines that it may change."""
    if NEEDS_FTFY.search(text):
        lines, unescape = text.split("\n"), "auto"
        lines = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
        for number, line in enumerate(lines):
            if NEEDS_FTFY.search(line):
                lines[number] = _library("ftfy").fix_text(line, unescape_html=unescape)
            if "<" in line:  # as in ftfy: the text may be HTML, so later entities stay as they are
                unescape = False
        text = "".join(lines)
    for old, new in CURLY_QUOTES:
        text = text.replace(old, new)
    return text
