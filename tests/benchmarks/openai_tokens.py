"""The published tokenizer on whole files: ours against the original algorithm, and what our approximation of its words costs.

    python tests/benchmarks/openai_tokens.py --texts='novels/*.txt' --source=finetune-transformer-lm/model

Every file is one text. Prints, of each and of all: tokens of the original (tests/original_tokens.py); how many of ours differ, exact
pipeline, which must be none; the share of the tokens that the approximate pipeline gives too, and of the lines that it gives whole
(longest common subsequence of each line); megabytes a second of the three, the exact one after a warm-up of its libraries only. Then the
words on which the approximation differs most often.
"""

import collections
import difflib
import glob
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from original_tokens import Original

from gpt1_jax.interop import openai
from gpt1_jax.text import openai_pipeline, standardize

_TEXTS = flags.DEFINE_string("texts", "", "Files, as a pattern.")
_SOURCE = flags.DEFINE_string("source", "", "The folder with the published vocabulary.")
_WORST = flags.DEFINE_integer("worst", 40, "Disagreements to print.")
KINDS = ("original", "exact", "approximate")


def lines(row: Sequence, newline) -> list[list]:
    """The row cut at its newlines."""
    found = [[]]
    for item in row:
        found.append([]) if item == newline else found[-1].append(item)
    return found


def pairs(exact: Sequence, approximate: Sequence, newline) -> Iterator[tuple[list, list]]:
    """The lines of the two side by side; of texts that fall into unlike numbers of lines, the whole."""
    ours, theirs = lines(exact, newline), lines(approximate, newline)
    yield from (
        zip(ours, theirs, strict=True)
        if len(ours) == len(theirs)
        else [(list(exact), list(approximate))]
    )


def unlike(left: Sequence, right: Sequence) -> Iterator[tuple[Sequence, Sequence]]:
    """The parts in which the two differ."""
    for kind, begin, end, start, stop in difflib.SequenceMatcher(
        None, left, right, autojunk=False
    ).get_opcodes():
        if kind != "equal":
            yield left[begin:end], right[start:stop]


def main(_):
    source, files = pathlib.Path(_SOURCE.value), sorted(glob.glob(_TEXTS.value))
    original = Original.published(source)
    rows = len(original.encoder)
    exact, approximate = (
        openai.read_tokenizer(source, text, rows) for text in ("published", "approximate")
    )
    words, normalizer, splitter = (
        openai_pipeline.Pipeline(list, exact.words),
        standardize.normalizer(),
        standardize.pre_tokenizer(),
    )
    calls = dict(
        zip(
            KINDS,
            (
                original.encode,
                lambda text: exact.encode([text])[0],
                lambda text: approximate.encode([text])[0],
            ),
            strict=True,
        )
    )
    seconds, counts, worst, size = (
        collections.Counter(),
        collections.Counter(),
        collections.Counter(),
        0,
    )
    for call in calls.values():
        call("A first text, with caf\u00e9 and \u00a3.")
    for file in files:
        text, ids = pathlib.Path(file).read_text(encoding="utf-8"), {}
        size += len(text.encode())
        for kind, call in calls.items():
            begin = time.perf_counter()
            ids[kind] = call(text)
            seconds[kind] += time.perf_counter() - begin
        here = collections.Counter(tokens=len(ids["exact"]))
        if ids["exact"] != ids["original"]:
            here["differ"] = (
                sum(max(map(len, parts)) for parts in unlike(ids["original"], ids["exact"])) or 1
            )
        for left, right in pairs(ids["exact"], ids["approximate"], exact.newline):
            here["lines"] += 1
            here["lines kept"] += left == right
            here["lost"] += (
                sum(len(part) for part, _ in unlike(left, right)) if left != right else 0
            )
        said = [
            word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text.strip()))
        ]
        for left, right in pairs(words(text), said, "\n"):
            worst.update(
                (" ".join(mine), " ".join(other))
                for mine, other in (unlike(left, right) if left != right else ())
            )
        counts += here
        print(f"{pathlib.Path(file).name}: {line(here)}", flush=True)
    print(f"all {len(files)} files, {size / 1e6:.2f} MB: {line(counts)}")
    print("MB/s: " + ", ".join(f"{kind} {size / 1e6 / seconds[kind]:.2f}" for kind in KINDS))
    for (mine, other), count in worst.most_common(_WORST.value):
        print(f"{count:6d}  {mine!r} but approximately {other!r}")


def line(count: collections.Counter) -> str:
    kept, whole = 1 - count["lost"] / count["tokens"], count["lines kept"] / count["lines"]
    return f"{count['tokens']} tokens, {count['differ']} differ from the original; approximate: {kept:.4%} of tokens, {whole:.3%} of lines"


if __name__ == "__main__":
    app.run(main)
