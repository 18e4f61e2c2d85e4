r"""Continue a text with the language model of a run.

    gpt1 sample --checkpoint=runs/exp_books --prompt="once upon a time" --length=100 --top_p=0.9

--prompt may be given several times; without it, the prompts are the lines of standard input. An
empty prompt is a newline, which begins each paragraph in pretraining. Before a text, write the
newline yourself: --prompt=$'\nonce upon a time'. Texts are printed in the spelling of the
tokenizer, each after its prompt; a control character is printed as \x1b or the like. The first text
appears token by token; the others follow when it ends, each under a line with its number. The same
prompts, settings and seed give the same texts.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from absl import flags

from gpt1_jax.cli import command
from gpt1_jax.errors import UserError, printable

if TYPE_CHECKING:
    from gpt1_jax.text.bpe import Tokenizer

MAX_TEXTS = 1_000_000  # texts of a call; bounds the memory of their ids and keys
MAX_ROWS = 16  # rows in a batch; bounds the memory of the KV cache


class Settings(NamedTuple):
    """Hold the values of the flags."""

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
    "Folder of a pretraining or finetuning run, or one of its checkpoints, DIR/checkpoints/STEP.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "prompt",
    [],
    "Text to continue; may be given several times. Without it, standard input has one a line.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "length",
    _DEFAULT["length"],
    "Tokens to generate for each text; no text grows beyond the model's context.",
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
    "Sample from the fewest most probable tokens whose probabilities sum to this.",
    flag_values=FLAGS,
)
flags.DEFINE_bool("greedy", _DEFAULT["greedy"], "Take the most probable token.", flag_values=FLAGS)
flags.DEFINE_integer("seed", _DEFAULT["seed"], "Seed of the samples.", flag_values=FLAGS)
flags.DEFINE_integer("samples", _DEFAULT["samples"], "Texts for each prompt.", flag_values=FLAGS)


# (expected value, test, settings). nan passes no test.
RULES = (
    ("a whole number from 1 to 1000000", lambda value: 1 <= value <= MAX_TEXTS, ("length",)),
    ("a whole number from 1 to 1000000", lambda value: 1 <= value <= MAX_TEXTS, ("samples",)),
    ("a whole number from 0 to 1000000", lambda value: 0 <= value <= MAX_TEXTS, ("top_k",)),
    ("a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32, ("seed",)),
    ("a number from 1e-6 to 1e6", lambda value: 1e-6 <= value <= 1e6, ("temperature",)),
    ("a number above 0 and up to 1", lambda value: 0 < value <= 1, ("top_p",)),
)


def check(settings: Settings) -> None:
    """Raise UserError for the first invalid setting; do not look at the prompts."""
    for expected, is_valid, names in RULES:
        for name in names:
            value = getattr(settings, name)
            if not is_valid(value):
                hint = f"give another --{name}"
                if name == "temperature":
                    hint = "for the most probable token, give --greedy"
                raise UserError(f"--{name}: {value!r} found, {expected} expected; {hint}")
    if not settings.checkpoint:
        raise UserError("--checkpoint: is missing; name the folder of a run")


def write(settings: Settings, out: TextIO) -> None:
    """Write the texts to `out`; raise UserError if the checkpoint or a prompt cannot be used."""
    import jax
    import numpy as np

    from gpt1_jax.models import factory, sampling
    from gpt1_jax.models.heads import LanguageModel
    from gpt1_jax.runs import reader
    from gpt1_jax.text.bpe import SPECIALS

    run = reader.open_saved(settings.checkpoint, "--checkpoint")
    run.meta(run.step)  # raises UserError if the tokenizer is not that of the checkpoint
    vocab_size = run.tokenizer.vocab_size
    special_rows = len(SPECIALS) if isinstance(run, reader.FinetunedRun) else 0
    model = LanguageModel(factory.make_body(run.body, vocab_size + special_rows, run.sizes))
    context = model.body.context
    prompts = encode_prompts(run.tokenizer, settings.prompt, context)
    if len(prompts) * settings.samples > MAX_TEXTS:
        raise UserError(
            f"--samples: {settings.samples} texts for each of {len(prompts)} prompts are too many; "
            f"at most {MAX_TEXTS} texts are written by one call"
        )
    rows = [prompt for prompt in prompts for _ in range(settings.samples)]
    if max(map(len, rows)) + settings.length > context + 1:
        print(f"gpt1_jax: texts end at the model's context of {context} tokens", file=sys.stderr)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(settings.seed), np.arange(len(rows))
    )
    sampling_params = sampling.SamplingParams(
        settings.greedy, settings.temperature, settings.top_k, settings.top_p
    )
    params = jax.device_put(run.params(run.step))
    headings = [""]
    if len(rows) > 1:
        headings = [f"--- {number} of {len(rows)}\n" for number in range(1, len(rows) + 1)]
    for first in range(0, len(rows), MAX_ROWS):
        batch = slice(first, first + MAX_ROWS)
        new_tokens = sampling.generate(
            model,
            params,
            rows[batch],
            settings.length,
            keys[batch],
            sampling_params,
            vocabulary=vocab_size,
        )
        _print_texts(run.tokenizer, rows[batch], new_tokens, headings[batch], out)


def encode_prompts(tokenizer: "Tokenizer", prompts: Sequence[str], context: int) -> list[list[int]]:
    """Return the ids of each prompt, with a newline token for newlines around the text.

    Raises:
        UserError: a prompt is not UTF-8 or is longer than the context.
    """
    newline = tokenizer.newline or 0  # 0 is unknown: some imported tokenizers have no newline
    for number, prompt in enumerate(prompts, 1):
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise UserError(f"--prompt: number {number} is not text in UTF-8; convert it")
    encoded = []
    for prompt, ids in zip(prompts, tokenizer.encode(prompts), strict=True):
        # The encoding strips white space around a text.
        if not ids:
            encoded.append([newline])
            continue
        before = prompt[: len(prompt) - len(prompt.lstrip())]
        after = prompt[len(prompt.rstrip()) :]
        encoded.append([newline] * ("\n" in before) + ids + [newline] * ("\n" in after))
    for number, ids in enumerate(encoded, 1):
        if len(ids) > context:
            raise UserError(
                f"--prompt: number {number} has {len(ids)} tokens, but the model's context is "
                f"{context}; shorten it"
            )
    return encoded


def _print_texts(
    tokenizer: "Tokenizer",
    rows: Sequence[Sequence[int]],
    new_tokens: Iterator,
    headings: Sequence[str],
    out: TextIO,
) -> None:
    """Print the first text token by token, then the other texts, each under its heading."""
    texts = [list(row) for row in rows]
    print(headings[0], end="", file=out)
    printed = _print_rest(tokenizer, texts[0], "", out)
    for tokens in new_tokens:
        for text, token in zip(texts, tokens.tolist(), strict=True):
            if token >= 0:
                text.append(token)
        printed = _print_rest(tokenizer, texts[0], printed, out)
    print(file=out)
    for heading, text in zip(headings[1:], texts[1:], strict=True):
        print(f"{heading}{printable(tokenizer.decode(text))}", file=out)
    out.flush()


def _print_rest(tokenizer: "Tokenizer", ids: Sequence[int], printed: str, out: TextIO) -> str:
    """Print the text of `ids` after `printed`, its beginning; return the whole text.

    A new token only adds to the end of the text, because the space of a word comes after it.
    """
    text = tokenizer.decode(ids)
    print(printable(text[len(printed) :]), end="", file=out, flush=True)
    return text


def _read_prompts() -> list[str]:
    """Return the lines of standard input; raise UserError if there are none."""
    if sys.stdin.isatty():
        print(
            "gpt1_jax: reading prompts, one a line, until the end of input (Ctrl-D)",
            file=sys.stderr,
        )
    if isinstance(sys.stdin, io.TextIOWrapper):  # as Python reads arguments
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    lines = [line.rstrip("\n") for line in sys.stdin]
    if not lines:
        raise UserError(
            '--prompt: is missing, and standard input is empty; --prompt="" is a newline'
        )
    return lines


def main(arguments: list[str]) -> None:
    """Write the texts that the flags describe to standard output."""
    command.reject_positional(arguments)
    values: dict[str, Any] = {name: FLAGS[name].value for name in Settings._fields}
    settings = Settings(**values)
    check(settings)
    settings = settings._replace(prompt=settings.prompt or _read_prompts())
    from gpt1_jax.engine import devices

    devices.initialize("off")  # turns on the persistent compilation cache
    write(settings, sys.stdout)
