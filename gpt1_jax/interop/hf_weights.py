"""Names and shapes of the published tensors, Hugging Face's and ours: one tree of params <-> one row. Nothing is read or written here.

Their Conv1D keeps its weights [in, out], as our kernels are; their softmax is tied to the table of tokens, as ours; positions have a table
of their own in both.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from gpt1_jax.errors import UserError

PREFIX = "transformer."  # of the body's tensors where a head stands on it
EMBEDDINGS = {"tokens": "tokens_embed.weight", "positions": "positions_embed.weight"}
DENSE = {"kernel": "weight", "bias": "bias"}
NORM = {"scale": "weight", "bias": "bias"}
LAYERS = {
    "attn/c_attn": DENSE,
    "attn/c_proj": DENSE,
    "ln_1": NORM,
    "mlp/c_fc": DENSE,
    "mlp/c_proj": DENSE,
    "ln_2": NORM,
}
TIED = "lm_head.weight"  # the table of tokens once more; OpenAIGPTDoubleHeadsModel saves it in place of the other
BUFFERS = (
    ".attn.bias",
    ".attn.masked_bias",
    "position_ids",
)  # how constants end that older versions stored
HEADS = ("score.", "multiple_choice_head.", "classifier.")
TOLERANCE = 1e-5  # how far a class score may be off for want of a bias in their head


def names(layers: int) -> dict[str, str]:
    """Slash-joined name of each param of a body with so many blocks -> its name with them, without the prefix."""
    found = dict(EMBEDDINGS)
    for number in range(layers):
        for layer, parts in LAYERS.items():
            theirs = f"h.{number}.{layer.replace('/', '.')}"
            found |= {
                f"h{number}/{layer}/{part}": f"{theirs}.{name}" for part, name in parts.items()
            }
    return found


def shapes(sizes: Mapping[str, Any], rows: int) -> dict[str, tuple[int, ...]]:
    """Slash-joined name -> shape, of a body of these sizes with so many rows of tokens."""
    width, ffn = sizes["width"], sizes["ffn"]
    kernels = {
        "attn/c_attn": (width, 3 * width),
        "attn/c_proj": (width, width),
        "mlp/c_fc": (width, ffn),
        "mlp/c_proj": (ffn, width),
    }
    found = {"tokens": (rows, width), "positions": (sizes["context"], width)}
    for number in range(sizes["layers"]):
        for layer in LAYERS:
            vector = kernels.get(layer, (width,))[-1:]
            found |= {f"h{number}/{layer}/{part}": vector for part in LAYERS[layer]}
            found |= {f"h{number}/{layer}/kernel": kernels[layer]} if layer in kernels else {}
    return found


def from_params(params: Mapping, layers: int) -> dict[str, np.ndarray]:
    """The body's tensors under their names, float32, the same bits."""
    flat = flatten_dict(params, sep="/")
    return {
        PREFIX + theirs: np.ascontiguousarray(flat[ours], np.float32)
        for ours, theirs in names(layers).items()
    }


def to_params(
    tensors: Mapping[str, np.ndarray], sizes: Mapping[str, Any], rows: int, place: str
) -> tuple[dict, list[str]]:
    """The params of a body of these sizes, float32, and the names of the heads' tensors, which have no place in it.

    Args:
        tensors: by their names, with the prefix or without.
        rows: of the table of tokens, as their config says.
        place: what messages call their file.

    Raises:
        UserError: a tensor is missing, of another shape, not finite, or unknown; a softmax is not tied to the table.
    """
    bare = {name.removeprefix(PREFIX): array for name, array in tensors.items()}
    bare.setdefault(EMBEDDINGS["tokens"], bare.get(TIED))
    ours, wanted = names(sizes["layers"]), shapes(sizes, rows)
    if missing := sorted(name for name in ours.values() if bare.get(name) is None):
        raise UserError(
            f"{place}: lacks {', '.join(missing[:3])}; give the whole model, as save_pretrained writes it"
        )
    params = {}
    for name, theirs in ours.items():
        array = bare.pop(theirs)
        if array.shape != wanted[name]:
            raise UserError(
                f"{place}: {theirs} is {array.shape}, but by config.json it is {wanted[name]}; give the two that belong together"
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"{place}: {theirs} holds a number that is not finite; save the model again"
            )
        params[name] = array.astype(np.float32, copy=False)
    if TIED in bare and not np.array_equal(bare.pop(TIED), params["tokens"]):
        raise UserError(
            f"{place}: {TIED} is not tokens_embed.weight; a softmax of its own has no place in this model"
        )
    heads = sorted(name for name in bare if name.startswith(HEADS))
    if unknown := sorted(bare.keys() - set(heads)):
        raise UserError(
            f"{place}: holds {', '.join(unknown[:3])}, which openai-gpt does not have; give a model of that type"
        )
    return unflatten_dict(params, sep="/"), heads


def without_bias(
    kernel: Float[np.ndarray, "D K"],
    bias: Float[np.ndarray, "K"],
    scale: Float[np.ndarray, "D"],
    shift: Float[np.ndarray, "D"],
) -> tuple[Float[np.ndarray, "K D"], float]:
    """Weights that alone give the class scores h . kernel + bias, for every h that a layer norm of this scale and shift gives.

    Such an h is scale * z + shift with sum(z) = 0, hence (1 / scale) . h = sum(shift / scale) =: c whatever z is: a bias b is the
    weights (b / c) / scale.

    Returns:
        The weights, and by how much scores are off in float32 on 256 states drawn at random: inf where c is 0 or a scale is.
    """
    kernel64, bias64, scale64, shift64 = (
        array.astype(np.float64) for array in (kernel, bias, scale, shift)
    )
    weight = kernel64.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if bias.any():
            weight = weight + np.outer(bias64 / np.sum(shift64 / scale64), 1 / scale64)
        weight = weight.astype(np.float32)
        z = np.random.default_rng(0).standard_normal((256, len(scale)))
        z -= z.mean(axis=1, keepdims=True)
        hidden = (scale64 * z / z.std(axis=1, keepdims=True) + shift64).astype(np.float32)
        off = np.abs(hidden @ weight.T - (hidden @ kernel64 + bias64)).max()
    return weight, float(off) if np.isfinite(off) else float("inf")
