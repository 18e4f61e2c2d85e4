"""Convert between the params of a body and the tensors of an `openai-gpt` model, by name.

OpenAI's published weights have the same names and shapes. This module reads and writes no files.
The Conv1D of transformers stores its weights as [in, out], like a Flax kernel. Both programs tie
the softmax to the token embedding and have a separate position embedding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from gpt1_jax.errors import UserError

PREFIX = "transformer."  # before the names of the body's tensors in a model with a head
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
# Another name of the token embedding; OpenAIGPTDoubleHeadsModel saves only this one.
TIED = "lm_head.weight"
HEADS = ("score.", "multiple_choice_head.", "classifier.")


def names(layers: int) -> dict[str, str]:
    """Return param name -> tensor name for a body with `layers` blocks.

    Param names are joined with slashes. Tensor names have no prefix.
    """
    tensor_names = dict(EMBEDDINGS)
    for number in range(layers):
        for layer, parts in LAYERS.items():
            prefix = f"h.{number}.{layer.replace('/', '.')}"
            for part, tensor_part in parts.items():
                tensor_names[f"h{number}/{layer}/{part}"] = f"{prefix}.{tensor_part}"
    return tensor_names


def shapes(sizes: Mapping[str, Any], token_rows: int) -> dict[str, tuple[int, ...]]:
    """Return param name -> shape, with names joined by slashes.

    Args:
        sizes: arguments of the body: context, layers, width, ffn.
        token_rows: rows of the token embedding.
    """
    width, ffn = sizes["width"], sizes["ffn"]
    kernels = {
        "attn/c_attn": (width, 3 * width),
        "attn/c_proj": (width, width),
        "mlp/c_fc": (width, ffn),
        "mlp/c_proj": (ffn, width),
    }
    result = {"tokens": (token_rows, width), "positions": (sizes["context"], width)}
    for number in range(sizes["layers"]):
        for layer, parts in LAYERS.items():
            kernel = kernels.get(layer, (width,))
            for part in parts:
                result[f"h{number}/{layer}/{part}"] = kernel if part == "kernel" else kernel[-1:]
    return result


def from_params(params: Mapping, layers: int) -> dict[str, np.ndarray]:
    """Return the body's tensors by name, with the prefix, in float32 and with the same bits."""
    flat = flatten_dict(params, sep="/")
    return {
        PREFIX + tensor_name: np.ascontiguousarray(flat[name], np.float32)
        for name, tensor_name in names(layers).items()
    }


def check_shapes(
    found: Mapping[str, tuple[int, ...]], sizes: Mapping[str, Any], token_rows: int, source: str
) -> None:
    """Check the shapes of a file's tensors, so that nothing is allocated for another model.

    Args:
        found: tensor name -> shape, with the prefix or without it.
        sizes, token_rows, source: as in `to_params`.

    Raises:
        UserError: a tensor is missing, has another shape or is unknown.
    """
    if sizes["layers"] > len(found):
        raise UserError(
            f"{source}: config.json says {sizes['layers']} layers, but there are {len(found)} "
            "tensors; give the config.json and the weights of one model"
        )
    remaining = _without_prefix(found)
    tensor_names, expected = names(sizes["layers"]), shapes(sizes, token_rows)
    if missing := sorted(set(tensor_names.values()) - remaining.keys()):
        raise UserError(
            f"{source}: lacks {', '.join(missing[:3])}; give the whole model, as save_pretrained "
            "writes it"
        )
    for name, tensor_name in tensor_names.items():
        shape = remaining.pop(tensor_name)
        if shape != expected[name]:
            raise UserError(
                f"{source}: {tensor_name} is {shape}, but config.json says {expected[name]}; give "
                "the config.json and the weights of one model"
            )
    unknown = sorted(name for name in remaining if name != TIED and not name.startswith(HEADS))
    if unknown:
        raise UserError(
            f"{source}: holds {', '.join(unknown[:3])}, which openai-gpt does not have; give a "
            "model of that type"
        )


def _without_prefix(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors, or their shapes, by name without the prefix, with the embedding."""
    result = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    if TIED in result:
        result.setdefault(EMBEDDINGS["tokens"], result[TIED])
    return result


def to_params(
    tensors: Mapping[str, np.ndarray], sizes: Mapping[str, Any], token_rows: int, source: str
) -> tuple[dict, list[str]]:
    """Return the params of a body in float32, and the names of the heads' tensors.

    Args:
        tensors: tensors by name, with the prefix or without it.
        sizes: arguments of the body.
        token_rows: rows of the token embedding according to config.json.
        source: name of the folder, for messages.

    Raises:
        UserError: as `check_shapes`; or a tensor is not finite, or the softmax is not tied to the
            token embedding.
    """
    found = {name: array.shape for name, array in tensors.items()}
    check_shapes(found, sizes, token_rows, source)
    remaining, params = _without_prefix(tensors), {}
    for name, tensor_name in names(sizes["layers"]).items():
        array = remaining.pop(tensor_name)
        if not np.isfinite(array).all():
            raise UserError(
                f"{source}: {tensor_name} holds a number that is not finite; save the model again"
            )
        params[name] = array.astype(np.float32, copy=False)
    if TIED in remaining and not np.array_equal(remaining.pop(TIED), params["tokens"]):
        raise UserError(
            f"{source}: {TIED} is not equal to {EMBEDDINGS['tokens']}; give a model with a tied "
            "softmax, gpt1_jax supports no other"
        )
    return unflatten_dict(params, sep="/"), sorted(remaining)
