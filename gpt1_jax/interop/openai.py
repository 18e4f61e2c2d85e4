"""The published weights and vocabulary as the folder of a pretraining run, which config.init.path takes.

    gpt1 import --source=finetune-transformer-lm/model --workdir=runs/exp_openai

The source is the folder model/ of openai/finetune-transformer-lm: params_shapes.json, params_0.npy to params_9.npy,
encoder_bpe_40000.json and vocab_40000.bpe. The sizes are those of its shapes.
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
from gpt1_jax.text import bpe

SHAPES, ENCODER, MERGES = "params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"
PIECES = tuple(f"params_{number}.npy" for number in range(10))
HEAD = 64  # features of an attention head
DROPOUT = {"embd_dropout": 0.1, "attn_dropout": 0.1, "resid_dropout": 0.1}


def layout(sizes: Mapping[str, int], rows: int) -> dict[str, tuple[int, ...]]:
    """Our name -> the published shape of every tensor, in the published order, which begins with the positions.

    Args:
        sizes: of the body: context, layers, width, ffn.
        rows: token rows.
    """
    shapes = hf_weights.shapes(sizes, rows)
    ordered = {"positions": shapes["positions"]} | shapes
    # The kernels are those of convolutions over one position.
    return {
        name: (1, *shape) if name.endswith("kernel") else shape for name, shape in ordered.items()
    }


def read_sizes(source: pathlib.Path) -> tuple[dict[str, int], int]:
    """The sizes of the body and its token rows, from the shapes; UserError where those are not of `layout`."""
    file = source / SHAPES
    try:
        shapes = [tuple(map(int, shape)) for shape in storage.read_json(file)]
        (context, width), (rows, _), ffn = shapes[0], shapes[1], shapes[8][-1]
    except (TypeError, ValueError, IndexError):
        raise UserError(
            f"{file}: not the shapes of positions, tokens and blocks; take the published file"
        ) from None
    layers = math.ceil((len(shapes) - 2) / 12)
    sizes = {
        "context": context,
        "layers": layers,
        "width": width,
        "heads": width // HEAD,
        "ffn": ffn,
    }
    if width % HEAD or min(*sizes.values(), rows) < 1:
        raise UserError(
            f"{file}: positions of shape {shapes[0]}; a width of {HEAD} a head is expected, and no empty axis"
        )
    wanted = layout(sizes, rows)
    for number, (shape, name) in enumerate(itertools.zip_longest(shapes, wanted), 1):
        if shape != wanted.get(name):
            expected = f"{wanted[name]} expected ({name})" if name else "one more than expected"
            raise UserError(
                f"{file}: shape {number} is {shape or 'missing'}, {expected}; take the published file"
            )
    return sizes, rows


def read_params(source: pathlib.Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The params under our names, float32; UserError where a piece is missing, of another kind, not finite, or numbers are left over."""
    flat = np.concatenate([_piece(source / piece) for piece in PIECES])
    ends = list(itertools.accumulate(map(math.prod, wanted.values())))
    if len(flat) != ends[-1]:
        raise UserError(
            f"{source / PIECES[0]} to {PIECES[-1]}: {len(flat)} numbers, {ends[-1]} expected by {SHAPES}; copy the pieces again"
        )
    params = {}
    for (name, shape), part in zip(wanted.items(), np.split(flat, ends[:-1]), strict=True):
        params[name] = part.reshape(shape[1:] if name.endswith("kernel") else shape)
    return unflatten_dict(params, sep="/")


def _piece(file: pathlib.Path) -> np.ndarray:
    try:
        piece = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"{file}: not there; the weights are {PIECES[0]} to {PIECES[-1]}, all ten"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{file}: cannot be read as an array of numbers ({first_line(error)}); copy it again"
        ) from None
    if not isinstance(piece, np.ndarray) or piece.dtype != np.float32 or piece.ndim != 1:
        found = (
            f"{piece.dtype} of shape {piece.shape}"
            if isinstance(piece, np.ndarray)
            else "several arrays"
        )
        raise UserError(f"{file}: holds {found}, a row of float32 expected; copy it again")
    if not np.isfinite(piece).all():
        raise UserError(f"{file}: holds a number that is not finite; copy it again")
    return piece


def read_tokenizer(source: pathlib.Path, text: str, rows: int) -> bpe.Tokenizer:
    """The published vocabulary, behind the published text pipeline or our approximation of it.

    Args:
        text: "published" or "approximate".
        rows: token rows of the weights.

    Raises:
        UserError: a file is missing or damaged, the two do not belong together or to the weights, or a library of the pipeline is missing.
    """
    file, merges = source / ENCODER, source / MERGES
    vocab = storage.read_json(file)
    if not isinstance(vocab, dict) or not all(type(number) is int for number in vocab.values()):
        raise UserError(f"{file}: not pieces with their ids; take the published file")
    if len(vocab) != rows:
        raise UserError(
            f"{file}: {len(vocab)} ids, but {SHAPES} has {rows} token rows; give files that belong together"
        )
    pairs = [
        tuple(line.split()) for line in _text(merges).rstrip("\n").split("\n")[1:]
    ]  # the first line names the format
    if any(len(pair) != 2 for pair in pairs):
        line = next(number for number, pair in enumerate(pairs) if len(pair) != 2)
        raise UserError(f"{merges}: line {line + 2} is not two pieces; take the published file")
    try:
        return bpe.assemble(vocab, pairs, published_words=text == "published")
    except ValueError as error:
        raise UserError(
            f"{file} and {MERGES}: {first_line(error)}; take the published files"
        ) from None


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(
            f"{file}: cannot be read ({reason}); give the folder of the published files"
        ) from None


def import_run(source: pathlib.Path, workdir: str, text: str) -> str:
    """Makes `workdir` a pretraining run of the published files, and gives a line about it; raises what the readers and `runs.write` do."""
    sizes, rows = read_sizes(source)
    tokenizer = read_tokenizer(source, text, rows)
    wanted = layout(sizes, rows)
    params = read_params(source, wanted)
    origin = {"format": "openai/finetune-transformer-lm", "text": text}
    result = reader.write_pretrained(
        workdir,
        {"name": "transformer", **sizes, **DROPOUT, "dtype": "float32"},
        params,
        tokenizer,
        origin,
    )
    said = ", ".join(f"{name} {size}" for name, size in {**sizes, "tokens": rows}.items())
    words = tokenizer.word_pipeline or "gpt1_jax.text.standardize, which comes near"
    return f"{workdir}: {said}; {sum(map(math.prod, wanted.values()))} params, sha256 {result['params_sha256']}; words by {words}"
