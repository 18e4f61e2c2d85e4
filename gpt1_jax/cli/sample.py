r"""Text that a model writes: prompts of your own, carried on by the model of a run.

    gpt1 sample --checkpoint=runs/exp_books --prompt="once upon a time" --length=100 --top_p=0.9

--prompt may be given again: the prompts are one batch. Without one they are read from standard input, one a line. A prompt without text
is a newline, after which pretraining's paragraphs begin; before a text it has to be given: --prompt=$'\nonce upon a time'. The first text
is shown as it comes, its prompt with it, in the spelling of the tokenizer; the others are written beside it and follow when it ends.
Where there are several, a line with its number heads each. The same prompts, settings and seed give the same texts.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from absl import flags

from gpt1_jax.cli import command
from gpt1_jax.errors import UserError

if TYPE_CHECKING:
    from gpt1_jax.text.bpe import Tokenizer

ROWS = 16  # of a batch at most: more prompts are more batches, so that their keys and values always fit in memory


class Settings(NamedTuple):
    """What the flags say, each under its own name."""

    checkpoint: str
    prompt: Sequence[str]
    length: int = 64
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False
    seed: int = 0
    samples: int = 1


FLAGS = flags.FlagValues()
_DEFAULT = Settings._field_defaults
flags.DEFINE_string(
    "checkpoint",
    "",
    "Folder of a run, of pretraining or finetuning, or one of its checkpoints, DIR/checkpoints/STEP.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "prompt",
    [],
    "Text to continue; may be given several times. Without it, one prompt a line of standard input.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "length",
    _DEFAULT["length"],
    "Tokens to write for each text; a text ends at the model's context at the latest.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "temperature", _DEFAULT["temperature"], "Divisor of the logits.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "top_k",
    _DEFAULT["top_k"],
    "Sample from the K most probable tokens only; 0 is all.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "top_p",
    _DEFAULT["top_p"],
    "Sample from the fewest most probable tokens that hold this probability.",
    flag_values=FLAGS,
)
flags.DEFINE_bool("greedy", _DEFAULT["greedy"], "Take the most probable token.", flag_values=FLAGS)
flags.DEFINE_integer("seed", _DEFAULT["seed"], "Seed of the samples.", flag_values=FLAGS)
flags.DEFINE_integer("samples", _DEFAULT["samples"], "Texts for each prompt.", flag_values=FLAGS)


# What is expected, how to tell, and of which settings; nan fits nowhere.
RULES = (
    ("a whole number from 1", lambda value: value >= 1, ("length", "samples")),
    ("a whole number from 0", lambda value: value >= 0, ("top_k",)),
    ("a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32, ("seed",)),
    ("a number from 1e-6", lambda value: 1e-6 <= value < math.inf, ("temperature",)),
    ("a number above 0 and up to 1", lambda value: 0 < value <= 1, ("top_p",)),
)


def check(settings: Settings) -> None:
    """UserError for the first setting whose value cannot be; it does not look at the prompts."""
    for expected, fits, names in RULES:
        for name in names:
            if not fits(value := getattr(settings, name)):
                hint = (
                    "; for the most probable token, give --greedy"
                    if name == "temperature"
                    else f"; give another --{name}"
                )
                raise UserError(f"--{name}: {value!r} found, {expected} expected{hint}")
    if not settings.checkpoint:
        raise UserError("--checkpoint: is missing; name the folder of a run")


def write(settings: Settings, out: TextIO) -> None:
    """Writes the texts to `out`; UserError where the checkpoint or a prompt cannot be taken."""
    import jax
    import numpy as np

    from gpt1_jax.models import factory, sampling
    from gpt1_jax.models.heads import LanguageModel
    from gpt1_jax.runs import reader
    from gpt1_jax.text.bpe import SPECIALS

    run = reader.open_saved(settings.checkpoint, "--checkpoint")
    run.meta(run.step)  # refuses a tokenizer that is not the checkpoint's
    words = run.tokenizer.vocab_size
    special = len(SPECIALS) if isinstance(run, reader.FinetunedRun) else 0
    model = LanguageModel(factory.make_body(run.body, words + special, run.sizes))
    context = model.body.context
    prompts = _encoded(run.tokenizer, settings.prompt, context)
    rows = [prompt for prompt in prompts for _ in range(settings.samples)]
    if max(map(len, rows)) + settings.length > context + 1:
        print(f"gpt1_jax: texts end at the model's context of {context} tokens", file=sys.stderr)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(settings.seed), np.arange(len(rows))
    )
    rule = sampling.SamplingParams(
        settings.greedy, settings.temperature, settings.top_k, settings.top_p
    )
    params = jax.device_put(run.params(run.step))
    headings = (
        [f"--- {number} of {len(rows)}\n" for number in range(1, len(rows) + 1)]
        if len(rows) > 1
        else [""]
    )
    for first in range(0, len(rows), ROWS):
        batch = slice(first, first + ROWS)
        drawn = sampling.generate(
            model, params, rows[batch], settings.length, keys[batch], rule, vocabulary=words
        )
        _show(run.tokenizer, rows[batch], drawn, headings[batch], out)


def _encoded(tokenizer: "Tokenizer", prompts: Sequence[str], context: int) -> list[list[int]]:
    """The prompts' ids; UserError for one that is not UTF-8, or is longer than the context."""
    newline = tokenizer.newline or 0  # 0, unknown, where a tokenizer from elsewhere has none
    for number, prompt in enumerate(prompts, 1):
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise UserError(f"--prompt: number {number} is not text in UTF-8; convert it")
    encoded = []
    for prompt, ids in zip(
        prompts, tokenizer.encode(prompts), strict=True
    ):  # which strips the ends of a text
        before, after = (
            "\n" in space
            for space in (prompt[: -len(prompt.lstrip()) or None], prompt[len(prompt.rstrip()) :])
        )
        encoded.append([newline] * before + ids + [newline] * after if ids else [newline])
    for number, ids in enumerate(encoded, 1):
        if len(ids) > context:
            raise UserError(
                f"--prompt: number {number} has {len(ids)} tokens, but the model's context is {context}; shorten it"
            )
    return encoded


def _show(
    tokenizer: "Tokenizer",
    rows: Sequence[Sequence[int]],
    drawn: Iterator,
    headings: Sequence[str],
    out: TextIO,
) -> None:
    """Prints the first text while its tokens are drawn, then the others, each under its heading."""
    texts = [list(row) for row in rows]
    print(headings[0], end="", file=out)
    shown = _more(tokenizer, texts[0], "", out)
    for tokens in drawn:
        for text, token in zip(texts, tokens.tolist(), strict=True):
            if token >= 0:
                text.append(token)
        shown = _more(tokenizer, texts[0], shown, out)
    print(file=out)
    for heading, text in zip(headings[1:], texts[1:], strict=True):
        print(f"{heading}{tokenizer.decode(text)}", file=out)
    out.flush()


def _more(tokenizer: "Tokenizer", text: Sequence[int], shown: str, out: TextIO) -> str:
    """Prints what of a text is not `shown` yet, and gives all of it. A token only ever adds to the end: a word's space comes after it."""
    whole = tokenizer.decode(text)
    print(whole[len(shown) :], end="", file=out, flush=True)
    return whole


def _standard_input() -> list[str]:
    """Its lines; UserError where there are none."""
    if sys.stdin.isatty():
        print(
            "gpt1_jax: prompts are read here, one a line, until the end of input (Ctrl-D)",
            file=sys.stderr,
        )
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # as arguments are read
    lines = [line.rstrip("\n") for line in sys.stdin]
    if not lines:
        raise UserError(
            '--prompt: is missing, and standard input gives none; --prompt="" opens with the newline'
        )
    return lines


def main(arguments: list[str]) -> None:
    """Write the texts that the flags describe to standard output."""
    command.only_flags(arguments)
    settings = Settings(**{name: FLAGS[name].value for name in Settings._fields})
    check(settings)
    settings = settings._replace(prompt=settings.prompt or _standard_input())
    from gpt1_jax.engine import devices

    devices.initialize("off")  # with the cache of compiled programs
    write(settings, sys.stdout)
