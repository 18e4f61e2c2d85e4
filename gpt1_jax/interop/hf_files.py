"""Read the files of a folder that transformers has written: JSON and safetensors."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors

from gpt1_jax import inputs
from gpt1_jax.errors import UserError, first_line

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PICKLE = "pytorch_model.bin"
# Suffixes of the constants that older versions of transformers also store.
CONSTANTS = (".attn.bias", ".attn.masked_bias", "position_ids")
HINT = "give a folder that save_pretrained has written"


def read_object(path: pathlib.Path, fields: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Return the content of a file that holds one JSON object with these fields.

    Raises:
        UserError: the file is missing, is not JSON, or holds another value.
    """
    return inputs.read_object(path, fields, hint=HINT, damaged="copy the file again")


def read_shapes(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
    """Return tensor name -> shape from the headers of the files; read no tensor.

    Raises:
        UserError: as `read_tensors`.
    """
    shapes = {}
    for name in _weight_files(folder):
        for file, tensor in _open_file(folder / name):
            shapes[tensor] = tuple(file.get_slice(tensor).get_shape())
    return shapes


def read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the tensors of the folder's safetensors by name, without stored constants.

    Raises:
        UserError: there are no safetensors, a file is damaged, or a tensor is not F32 or F16.
    """
    tensors = {}
    for name in _weight_files(folder):
        for file, tensor in _open_file(folder / name):
            tensors[tensor] = file.get_tensor(tensor)
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
    content = read_object(index, {"weight_map": dict, "weight_map.*": str})
    names = sorted(set(content["weight_map"].values()))
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise UserError(f"{index}: {name!r} is not a file in the same folder; {HINT}")
    return names


def _open_file(path: pathlib.Path) -> Iterator[tuple[Any, str]]:
    """Yield (open file, tensor name) of the tensors in a file, without stored constants."""
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
                yield file, name
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path}: cannot be read ({first_line(error)}); copy the file again"
        ) from None
