"""Compare models with those of transformers and write small folders in their format."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

TOLERANCE = 1e-5


def language_model(sizes: dict, token_rows: int):
    """Return (params, ids) -> hidden states and logits of the tokens, by this project's body."""
    body = MODELS["transformer"](token_rows, **sizes)

    @jax.jit
    def outputs(params, ids):
        hidden, embedding = LanguageModel(body).apply({"params": params}, ids, train=False)
        return hidden, hidden @ embedding[:token_rows].T

    return outputs


def max_error(outputs, model, ids: np.ndarray) -> tuple[float, float]:
    """Compare hidden states and logits with those of a model of transformers.

    Returns:
        The largest difference, and the largest number among those of transformers.
    """
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids), output_hidden_states=True)
    pairs = list(zip(outputs, (theirs.hidden_states[-1], theirs.logits), strict=True))
    error = max(np.abs(np.asarray(array) - tensor.numpy()).max() for array, tensor in pairs)
    return float(error), float(max(tensor.abs().max() for _, tensor in pairs))


def write_vocabulary(folder: pathlib.Path, size: int) -> None:
    """Write vocab.json and merges.txt with so many entries, a newline and a few letters."""
    entries = ["<unk>", "a", "b", "\n", "a</w>", "b</w>", "\n</w>", "ab</w>"]
    entries += [f"word{number}" for number in range(size - len(entries))]
    vocab = {entry: number for number, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


def run_card(folder: pathlib.Path) -> dict:
    """Run the Python code of the folder's model card and return its variables."""
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    variables = {}
    exec(code.replace('folder = "."', f"folder = {str(folder)!r}"), variables)
    return variables
