"""Compare the fused attention kernels with the plain way: outputs, all gradients, and time.

A Transformer of one block, whose MLP is small, runs both ways with the same params and the same
dropout masks. The rows are whole texts, or texts with a shared prefix and four segments.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from accelerator_parts.common import SIZES, attempt, pretraining_config, repeat, step_bytes
from gpt1_jax.models import factory
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer

VOCABULARY = 1_000


class Case(NamedTuple):
    """Describe a comparison: whether rows have segments, and the dropout rate of the weights."""

    segments: bool
    rate: float

    @property
    def name(self) -> str:
        return f"{'segments' if self.segments else 'causal'} dropout {self.rate}"


def measure(size: str) -> Iterator[dict]:
    """Yield the rows of this part.

    Errors are the largest differences between the fused and the plain way. In bfloat16, the
    differences between the plain way and the plain way in float32 ("rounding") are the yardstick.
    """
    references = {}
    axes = (0.1, 0.0), (False, True), ("float32", "bfloat16")
    for rate, segments, dtype in itertools.product(*axes):
        case = Case(segments, rate)
        yield attempt(f"{dtype} {case.name}", _compare, size, dtype, case, references)


def _compare(size: str, dtype: str, case: Case, references: dict[Case, Mapping]) -> dict:
    # In float32 without TensorFloat-32, which would hide errors of the kernels.
    precision = "highest" if dtype == "float32" else None
    with jax.default_matmul_precision(precision):
        plain, plain_row = _run(size, dtype, case, "plain")
        if dtype == "float32":
            references[case] = plain
        fused, fused_row = _run(size, dtype, case, "fused")
    row = _errors(fused, plain, "")
    if dtype == "bfloat16" and case in references:
        row |= _errors(plain, references[case], "rounding_")
    row |= {f"plain_{name}": value for name, value in plain_row.items()}
    return row | {f"fused_{name}": value for name, value in fused_row.items()}


def _run(size: str, dtype: str, case: Case, attention: str) -> tuple[Mapping[str, Any], dict]:
    """Return outputs and gradients by name, and the time and memory of the program."""
    config = pretraining_config(size, "transformer")
    rows, length, width = config.batch_size, config.model.context, config.model.width
    make_body = functools.partial(
        Transformer,
        VOCABULARY,
        context=length,
        layers=1,
        width=width,
        heads=config.model.heads,
        ffn=128,
        embd_dropout=0.0,
        resid_dropout=0.0,
    )
    body = make_body(attn_dropout=case.rate, attention=attention, dtype=dtype)
    params = factory.init_params(LanguageModel(make_body()), 0, np.zeros((1, length), np.int32))
    # Larger than at initialization, so that attention is not uniform.
    params = jax.tree.map(lambda leaf: 4 * leaf if leaf.ndim > 1 else leaf, params)
    random = np.random.default_rng(0)
    tokens = random.integers(0, VOCABULARY, (rows, length), np.int32)
    segment_ids = _segment_ids(rows, length) if case.segments else None
    real = np.ones((rows, length), bool) if segment_ids is None else segment_ids >= 0
    cotangent = random.standard_normal((rows, length, width), np.float32) * real[..., None]

    def objective(params, tokens, segment_ids, cotangent):
        hidden = body.apply(
            {"params": params},
            method=lambda body: body(tokens, body.embedding(True), True, segment_ids),
            rngs={"dropout": jax.random.key(1)},
        ).astype(jnp.float32)
        return (hidden * cotangent).sum(), hidden

    program = jax.jit(jax.value_and_grad(objective, has_aux=True))
    arguments = jax.device_put((params, tokens, segment_ids, cotangent))
    compiled = program.lower(*arguments).compile()
    (_, hidden), gradients = jax.device_get(compiled(*arguments))
    seconds = repeat(lambda _: compiled(*arguments), SIZES[size].seconds / 8)
    row = {
        "ms": round(1e3 * seconds, 3),
        "gib": round(step_bytes(compiled.memory_analysis()) / 2**30, 3),
    }
    return {"outputs": hidden * real[..., None], "gradients": gradients}, row


def _segment_ids(rows: int, length: int) -> np.ndarray:
    """Return segment ids [B L] of a prefix of half a row, four segments, and some padding."""
    prefix, padding = length // 2, length // 16
    segment = (length - prefix - padding) // 4
    parts = np.arange(length - prefix) // segment + 1
    row = np.concatenate([np.zeros(prefix, np.int32), np.where(parts > 4, -1, parts)])
    return np.tile(row.astype(np.int32), (rows, 1))


def _errors(found: Mapping, expected: Mapping, prefix: str) -> dict:
    """Return the largest errors of outputs and gradients, relative to the largest element."""
    gradients = jax.tree.map(_relative_error, found["gradients"], expected["gradients"])
    return {
        f"{prefix}output_error": _relative_error(found["outputs"], expected["outputs"]),
        f"{prefix}gradient_error": max(jax.tree.leaves(gradients)),
    }


def _relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest element, with two digits.

    Raises:
        FloatingPointError: an element is not finite.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    if not np.isfinite(error):
        raise FloatingPointError(f"the error is {error}")
    return float(f"{error:.2g}")
