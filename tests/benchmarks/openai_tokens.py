"""Compare the two text pipelines with the original tokenizer on whole files, in ids and in speed.

    python tests/benchmarks/openai_tokens.py --texts='novels/*.txt' \
        --source=finetune-transformer-lm/model

Each file is one text. For each file and for all files, print

- the number of tokens of the original (tests/original_tokens.py),
- how many tokens of the exact pipeline differ, which must be none,
- the share of tokens, and of whole lines, that the approximate pipeline reproduces (longest common
  subsequence of each line).

Then print the megabytes per second of the three, measured after a first text that loads the
libraries, and the words on which the approximation differs most often.
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
from gpt1_jax.text import bpe, openai_pipeline, standardize

_TEXTS = flags.DEFINE_string("texts", "", "Glob pattern of the files to encode.")
_SOURCE = flags.DEFINE_string("source", "", "Folder with the published vocabulary.")
_WORST = flags.DEFINE_integer("worst", 40, "Number of differing words to print.")


def split_lines(items: Sequence, newline) -> list[list]:
    """Return the lines of a sequence, without the newlines."""
    lines = [[]]
    for item in items:
        if item == newline:
            lines.append([])
        else:
            lines[-1].append(item)
    return lines


def line_pairs(exact: Sequence, approximate: Sequence, newline) -> list[tuple[list, list]]:
    """Return the pairs of lines; if the numbers of lines differ, the pair of whole texts."""
    left, right = split_lines(exact, newline), split_lines(approximate, newline)
    if len(left) != len(right):
        return [(list(exact), list(approximate))]
    return list(zip(left, right, strict=True))


def differences(left: Sequence, right: Sequence) -> Iterator[tuple[Sequence, Sequence]]:
    """Yield the parts in which the two sequences differ."""
    if left == right:
        return
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, begin, end, start, stop in matcher.get_opcodes():
        if kind != "equal":
            yield left[begin:end], right[start:stop]


def compare(ids: dict[str, list[int]], newline: int) -> collections.Counter:
    """Count tokens and lines of one file, and those that differ."""
    counts = collections.Counter(tokens=len(ids["exact"]))
    if ids["exact"] != ids["original"]:
        sizes = [max(map(len, parts)) for parts in differences(ids["original"], ids["exact"])]
        counts["differ"] = sum(sizes) or 1
    for left, right in line_pairs(ids["exact"], ids["approximate"], newline):
        counts["lines"] += 1
        counts["equal lines"] += left == right
        counts["lost"] += sum(len(part) for part, _ in differences(left, right))
    return counts


class WordDifferences:
    """Count the words on which the approximate pipeline differs from the exact one."""

    def __init__(self, exact: bpe.Tokenizer):
        self.counts = collections.Counter()
        self._pipeline = openai_pipeline.Pipeline(list, exact.word_pipeline)
        self._normalizer, self._splitter = standardize.normalizer(), standardize.pre_tokenizer()

    def add(self, text: str) -> None:
        normal = self._normalizer.normalize_str(text.strip())
        approximate = [word for word, _ in self._splitter.pre_tokenize_str(normal)]
        for left, right in line_pairs(self._pipeline(text), approximate, "\n"):
            for parts in differences(left, right):
                self.counts[tuple(map(" ".join, parts))] += 1


def summarize(counts: collections.Counter) -> str:
    tokens = 1 - counts["lost"] / counts["tokens"]
    lines = counts["equal lines"] / counts["lines"]
    return (
        f"{counts['tokens']} tokens, {counts['differ']} differ from the original; "
        f"approximate: {tokens:.4%} of tokens, {lines:.3%} of lines"
    )


def main(_):
    source, files = pathlib.Path(_SOURCE.value), sorted(glob.glob(_TEXTS.value))
    original = Original.published(source)
    rows = len(original.encoder)
    exact = openai.read_tokenizer(source, "published", rows)
    approximate = openai.read_tokenizer(source, "approximate", rows)
    encoders = {
        "original": original.encode,
        "exact": lambda text: exact.encode([text])[0],
        "approximate": lambda text: approximate.encode([text])[0],
    }
    seconds, total, size = collections.Counter(), collections.Counter(), 0
    word_differences = WordDifferences(exact)
    for encode in encoders.values():
        encode("A first text, with caf\u00e9 and \u00a3.")
    for file in files:
        text, ids = pathlib.Path(file).read_text(encoding="utf-8"), {}
        size += len(text.encode())
        for name, encode in encoders.items():
            begin = time.perf_counter()
            ids[name] = encode(text)
            seconds[name] += time.perf_counter() - begin
        counts = compare(ids, exact.newline)
        word_differences.add(text)
        total += counts
        print(f"{pathlib.Path(file).name}: {summarize(counts)}", flush=True)
    print(f"all {len(files)} files, {size / 1e6:.2f} MB: {summarize(total)}")
    print("MB/s: " + ", ".join(f"{name} {size / 1e6 / seconds[name]:.2f}" for name in encoders))
    for (left, right), count in word_differences.counts.most_common(_WORST.value):
        print(f"{count:6d}  {left!r} but approximately {right!r}")


if __name__ == "__main__":
    app.run(main)
