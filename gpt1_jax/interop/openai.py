"""Convert OpenAI's published weights and vocabulary to a pretraining run, for config.init.path.

    gpt1 import --source=finetune-transformer-lm/model --workdir=runs/exp_openai

The source is the folder model/ of openai/finetune-transformer-lm: params_shapes.json, params_0.npy
to params_9.npy, encoder_bpe_40000.json and vocab_40000.bpe. params_shapes.json defines the sizes.
"""

import itertools
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.interop import hf_weights
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe, vocabulary

SHAPES, ENCODER, MERGES = "params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"
PARAMS = tuple(f"params_{number}.npy" for number in range(10))
HEAD_WIDTH = 64  # features of an attention head
TENSORS_PER_BLOCK = 12
DROPOUT = {"embd_dropout": 0.1, "attn_dropout": 0.1, "resid_dropout": 0.1}
HINT = "give the folder of the published files"


def import_run(source: pathlib.Path, workdir: str, text: str) -> str:
    """Make a pretraining run of the published files; return a line that describes the run.

    Args:
        source: the folder of the published files.
        workdir: the folder of the run to make.
        text: how texts are split into words (see `read_tokenizer`).

    Raises:
        UserError: a file is missing or damaged, or the workdir cannot be made.
    """
    sizes, token_rows = read_sizes(source)
    tokenizer = read_tokenizer(source, text, token_rows)
    shapes = published_shapes(sizes, token_rows)
    params = read_params(source, shapes)
    result = reader.write_pretrained(
        workdir,
        {"name": "transformer", **sizes, **DROPOUT, "dtype": "float32"},
        params,
        tokenizer,
        {"format": "openai/finetune-transformer-lm", "text": text},
    )
    numbers = ", ".join(f"{name} {size}" for name, size in {**sizes, "tokens": token_rows}.items())
    words = tokenizer.word_pipeline or "gpt1_jax.text.standardize, an approximation"
    return (
        f"{workdir}: {numbers}; {sum(map(math.prod, shapes.values()))} params, sha256 "
        f"{result['params_sha256']}; words by {words}"
    )


def published_shapes(sizes: Mapping[str, int], token_rows: int) -> dict[str, tuple[int, ...]]:
    """Return param name -> published shape in the published order, which begins with positions.

    A published kernel has a further first axis, because it is a convolution over one position.

    Args:
        sizes: arguments of the body: context, layers, width, ffn.
        token_rows: rows of the token embedding.
    """
    shapes = hf_weights.shapes(sizes, token_rows)
    ordered = {"positions": shapes["positions"], **shapes}
    return {
        name: (1, *shape) if name.endswith("kernel") else shape for name, shape in ordered.items()
    }


def read_sizes(source: pathlib.Path) -> tuple[dict[str, int], int]:
    """Return the sizes of the body and the rows of the token embedding.

    Raises:
        UserError: the file of shapes is missing or damaged, or its shapes are not those of a GPT-1
            Transformer.
    """
    file = source / SHAPES
    content = storage.read_json(file, hint=HINT)
    try:
        shapes = [tuple(map(int, shape)) for shape in content]
        (context, width), (token_rows, _), ffn = shapes[0], shapes[1], shapes[8][-1]
    except (TypeError, ValueError, IndexError, OverflowError):
        raise UserError(
            f"{file}: does not hold the shapes of positions, tokens and blocks; take the published "
            "file"
        ) from None
    sizes = {
        "context": context,
        "layers": math.ceil((len(shapes) - 2) / TENSORS_PER_BLOCK),
        "width": width,
        "heads": width // HEAD_WIDTH,
        "ffn": ffn,
    }
    if width % HEAD_WIDTH or min(*sizes.values(), token_rows) < 1:
        raise UserError(
            f"{file}: the first shape is {shapes[0]}, a width that is a multiple of {HEAD_WIDTH} "
            "and no empty axis are expected; take the published file"
        )
    _check_shapes(file, shapes, published_shapes(sizes, token_rows))
    return sizes, token_rows


def _check_shapes(
    file: pathlib.Path, shapes: list[tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    # The number of layers is rounded up, so there are never more shapes than expected.
    pairs = itertools.zip_longest(shapes, expected.items())
    for number, (shape, (name, expected_shape)) in enumerate(pairs, 1):
        if shape != expected_shape:
            raise UserError(
                f"{file}: shape {number} is {shape or 'missing'}, {expected_shape} is expected "
                f"({name}); take the published file"
            )


def read_params(source: pathlib.Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the params as a nested dict of float32 arrays.

    Args:
        source: the folder of the published files.
        shapes: the result of `published_shapes`.

    Raises:
        UserError: a file is missing or damaged, or the files do not hold as many numbers as the
            shapes.
    """
    flat = np.concatenate([_read_array(source / name) for name in PARAMS])
    ends = list(itertools.accumulate(map(math.prod, shapes.values())))
    if len(flat) != ends[-1]:
        raise UserError(
            f"{source / PARAMS[0]} to {PARAMS[-1]}: hold {len(flat)} numbers, {ends[-1]} are "
            f"expected by {SHAPES}; copy the files again"
        )
    params = {}
    for (name, shape), array in zip(shapes.items(), np.split(flat, ends[:-1]), strict=True):
        params[name] = array.reshape(shape[1:] if name.endswith("kernel") else shape)
    return unflatten_dict(params, sep="/")


def _read_array(file: pathlib.Path) -> np.ndarray:
    """Return the numbers of one params file, a vector of float32."""
    try:
        array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{file}: no such file; give the folder with all of {PARAMS[0]} to {PARAMS[-1]}"
        ) from None
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise UserError(
            f"{file}: cannot be read as an array of numbers ({first_line(error)}); copy it again"
        ) from None
    content = "several arrays"
    if isinstance(array, np.ndarray):
        content = f"{array.dtype} of shape {array.shape}"
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 1:
        raise UserError(f"{file}: holds {content}, a vector of float32 is expected; copy it again")
    if not np.isfinite(array).all():
        raise UserError(f"{file}: holds a number that is not finite; copy it again")
    return array


def read_tokenizer(source: pathlib.Path, text: str, token_rows: int) -> bpe.Tokenizer:
    """Return the tokenizer with the published vocabulary.

    Args:
        source: the folder of the published files.
        text: how texts are split into words: "published" by text/openai_pipeline.py, "approximate"
            by text/standardize.py.
        token_rows: rows of the token embedding.

    Raises:
        UserError: a file is missing or damaged, the files do not belong together or to the
            weights, or a library of the published pipeline is missing.
    """
    file = source / ENCODER
    vocab = storage.read_json(file, hint=HINT)
    if not isinstance(vocab, dict) or not all(type(number) is int for number in vocab.values()):
        raise UserError(f"{file}: does not map BPE pieces to ids; take the published file")
    if len(vocab) != token_rows:
        raise UserError(
            f"{file}: holds {len(vocab)} ids, but {SHAPES} has {token_rows} token rows; give files "
            "that belong together"
        )
    merges = _read_merges(source / MERGES)
    try:
        return bpe.assemble(vocab, merges, published_words=text == "published")
    except ValueError as error:
        raise UserError(
            f"{file} and {MERGES}: {first_line(error)}; take the published files"
        ) from None


def _read_merges(file: pathlib.Path) -> list[tuple[str, str]]:
    """Return the pairs of BPE pieces in the order of their merges."""
    try:
        content = file.read_bytes().decode()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{file}: cannot be read ({reason}); {HINT}") from None
    try:
        return vocabulary.parse_merges(content)
    except ValueError as reason:
        raise UserError(f"{file}: {reason}; take the published file") from None
