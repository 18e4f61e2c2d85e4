"""Read the files of a folder that transformers has written: JSON and safetensors."""

import pathlib
from typing import Any

import numpy as np
import safetensors

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PICKLE = "pytorch_model.bin"
# Suffixes of the constants that older versions of transformers also store.
CONSTANTS = (".attn.bias", ".attn.masked_bias", "position_ids")
HINT = "give a folder that save_pretrained has written"


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """Return the content of a file that holds one JSON object.

    Raises:
        UserError: the file is missing, is not JSON, or holds another value.
    """
    content = storage.read_json(path, hint=HINT)
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(f"{path}: holds a {kind}, a JSON object is expected; copy the file again")
    return content


def read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the tensors of the folder's safetensors by name, without stored constants.

    Raises:
        UserError: there are no safetensors, a file is damaged, or a tensor is not F32 or F16.
    """
    tensors = {}
    for name in _weight_files(folder):
        tensors |= _read_file(folder / name)
    return tensors


def _weight_files(folder: pathlib.Path) -> list[str]:
    """Return the names of the weight files: one, or several that an index lists."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    index = folder / INDEX
    if index.is_file():
        return _indexed_files(index)
    if (folder / PICKLE).is_file():
        raise UserError(
            f"{folder}: holds only {PICKLE}, a pickle, which can run code when it is read; if you "
            f"trust it, load it with transformers and call save_pretrained, which writes {WEIGHTS}"
        )
    raise UserError(f"{folder}: holds no {WEIGHTS}; {HINT}")


def _indexed_files(index: pathlib.Path) -> list[str]:
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) for name in weight_map.values()
    ):
        raise UserError(f"{index}: has no weight_map from tensors to files; {HINT}")
    names = sorted(set(weight_map.values()))
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise UserError(f"{index}: {name!r} is not a file in the same folder; {HINT}")
    return names


def _read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    tensors = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in file.keys():
                if name.endswith(CONSTANTS):
                    continue
                dtype = file.get_slice(name).get_dtype()
                if dtype not in ("F32", "F16"):
                    raise UserError(
                        f"{path}: {name} is {dtype}, F32 or F16 is expected; save the model in "
                        "float32"
                    )
                tensors[name] = file.get_tensor(name)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path}: cannot be read ({first_line(error)}); copy the file again"
        ) from None
    return tensors
