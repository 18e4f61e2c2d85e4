"""Convert between the config.json of an `openai-gpt` model and the sizes of a Transformer body."""

import pathlib
from typing import Any

from gpt1_jax import inputs
from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_files
from gpt1_jax.interop.hf_heads import Head
from gpt1_jax.runs import reader

MODEL_TYPE = "openai-gpt"
# Names in config.json -> arguments of the body.
SIZES = {"n_positions": "context", "n_layer": "layers", "n_embd": "width", "n_head": "heads"}
DROPOUT = {
    "embd_pdrop": "embd_dropout",
    "attn_pdrop": "attn_dropout",
    "resid_pdrop": "resid_dropout",
}
# Settings for which gpt1_jax supports one value. "gelu" is the tanh form in the code of this model.
FIXED = {"model_type": MODEL_TYPE, "afn": "gelu", "layer_norm_epsilon": 1e-5}
# Values of transformers for settings that a config.json omits.
DEFAULTS = {"afn": "gelu", "layer_norm_epsilon": 1e-5, **dict.fromkeys(DROPOUT, 0.1)}


def read_sizes(path: pathlib.Path) -> tuple[dict[str, Any], int]:
    """Return the arguments of the body and the rows of the token embedding.

    Args:
        path: a config.json.

    Raises:
        UserError: the file is missing or damaged, or gpt1_jax has no such model.
    """
    config = DEFAULTS | hf_files.read_object(path)
    for name, value in FIXED.items():
        if config.get(name) != value:
            raise UserError(
                f"{path}: {name} is {config.get(name)!r}, {value!r} is expected; give a model with "
                "this value, gpt1_jax supports no other"
            )
    for name in (*SIZES, "vocab_size"):
        if not inputs.is_kind(config.get(name), int) or config[name] < 1:
            raise _bad_value(path, name, config.get(name), "a whole number from 1")
    for name in DROPOUT:
        if not inputs.is_kind(config[name], float) or not 0 <= config[name] < 1:
            raise _bad_value(path, name, config[name], "a number from 0 to below 1")
    if config["n_embd"] % config["n_head"]:
        raise UserError(
            f"{path}: n_head {config['n_head']} does not divide n_embd {config['n_embd']}; give "
            "the model's own config.json"
        )
    sizes = {argument: config[name] for name, argument in (SIZES | DROPOUT).items()}
    return sizes | {"ffn": 4 * config["n_embd"]}, config["vocab_size"]


def _bad_value(path: pathlib.Path, name: str, value: Any, expected: str) -> UserError:
    return UserError(
        f"{path}: {name} is {value!r}, {expected} is expected; give the model's own config.json"
    )


def from_run(run: reader.SavedRun, token_rows: int, head: Head) -> dict[str, Any]:
    """Return the content of config.json for a run.

    The newline is the first token (bos), because a text begins after a newline in pretraining and
    in probes. There is no last token (eos), because a newline also ends a paragraph.

    Args:
        run: a run of the Transformer.
        token_rows: rows of the token embedding.
        head: the head of the exported model.
    """
    return {
        "architectures": [head.architecture],
        "dtype": "float32",
        "tie_word_embeddings": True,
        **FIXED,
        "vocab_size": token_rows,
        **{name: run.sizes[argument] for name, argument in (SIZES | DROPOUT).items()},
        "bos_token_id": run.tokenizer.newline,
        "eos_token_id": None,
        "pad_token_id": 0,
        **head.config,
    }
