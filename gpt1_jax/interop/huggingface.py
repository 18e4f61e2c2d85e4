"""Runs from and to folders in Hugging Face's `openai-gpt` format, which transformers loads offline.

    gpt1 import --source=DIR --workdir=runs/exp_openai [--text=approximate]
    gpt1 export --workdir=runs/exp_books --output=DIR [--lm]

The workdir that import makes is a pretraining run for config.init.path. Export takes a run of pretraining or of finetuning, or one of its
checkpoints (DIR/checkpoints/STEP); --lm leaves the head of a finetuned model out. Of the Transformer only: transformers has no such LSTM.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from gpt1_jax import storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.interop import hf_tokenizer, hf_weights, model_card
from gpt1_jax.runs import reader

MODEL_TYPE = "openai-gpt"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
# Their names for the sizes of a body.
SIZES = {"n_positions": "context", "n_layer": "layers", "n_embd": "width", "n_head": "heads"}
DROPOUT = {
    "embd_pdrop": "embd_dropout",
    "attn_pdrop": "attn_dropout",
    "resid_pdrop": "resid_dropout",
}
# What their code does in one way and ours in no other; "gelu" is the tanh form in this model's code.
FIXED = {"model_type": MODEL_TYPE, "afn": "gelu", "layer_norm_epsilon": 1e-5}
DEFAULTS = {"afn": "gelu", "layer_norm_epsilon": 1e-5, **dict.fromkeys(DROPOUT, 0.1)}  # of theirs


def import_run(source: str, workdir: str, text: str = "") -> dict:
    """Makes `workdir` a pretraining run of the weights and vocabulary in the folder `source`; gives its result.json.

    Rows of the table above the plain vocabulary (tokens that somebody added) are left out, and so are heads; config.json's "origin" says
    which. Finetuning appends its own three rows.

    Args:
        text: how texts become words (`vocabulary.read`).

    Raises:
        UserError: the folder is not of an openai-gpt model as transformers saves it, or the workdir cannot be made.
    """
    folder = pathlib.Path(source).expanduser()
    if not source or not folder.is_dir():
        raise UserError(
            f"--source: {source!r} is no folder; name one with config.json and {WEIGHTS}"
        )
    if not workdir:
        raise UserError("--workdir: is missing; name the folder of the run to make")
    sizes, rows = _sizes(folder / "config.json")
    tokenizer = hf_tokenizer.read(folder, text)
    params, heads = hf_weights.to_params(_tensors(folder), sizes, rows, str(folder))
    plain = tokenizer.vocab_size
    if rows < plain:
        raise UserError(
            f"{folder}: has {plain} words in its vocabulary and {rows} in its table; give the two that belong together"
        )
    left_out = heads + ([f"tokens_embed.weight[{plain}:{rows}]"] if rows > plain else [])
    origin = {
        "format": f"Hugging Face {MODEL_TYPE}",
        "source": source,
        "text": text,
        "words": tokenizer.word_pipeline,
        "left_out": left_out,
    }
    params["tokens"] = params["tokens"][:plain]
    return reader.write_pretrained(
        workdir, {"name": "transformer", **sizes, "dtype": "float32"}, params, tokenizer, origin
    )


def _sizes(path: pathlib.Path) -> tuple[dict[str, Any], int]:
    """The body's arguments and the rows of its table of tokens, of a config.json; UserError where the model is another."""
    config = DEFAULTS | hf_tokenizer.read_json(path)
    for name, value in FIXED.items():
        if config.get(name) != value:
            raise UserError(
                f"{path}: {name} is {config.get(name)!r}, {value!r} expected; only such a model computes as ours does"
            )
    for name in (*SIZES, "vocab_size"):
        if not isinstance(config.get(name), int) or config[name] < 1:
            raise UserError(
                f"{path}: {name} is {config.get(name)!r}, a whole number from 1 expected; give the model's own config.json"
            )
    if config["n_embd"] % config["n_head"]:
        raise UserError(
            f"{path}: n_head {config['n_head']} does not divide n_embd {config['n_embd']}; give the model's own config.json"
        )
    for name in DROPOUT:
        if not isinstance(config[name], int | float) or not 0 <= config[name] < 1:
            raise UserError(
                f"{path}: {name} is {config[name]!r}, a number from 0 to below 1 expected; give the model's own config.json"
            )
    sizes = {ours: config[theirs] for theirs, ours in (SIZES | DROPOUT).items()}
    return sizes | {"ffn": 4 * config["n_embd"]}, config["vocab_size"]


def _tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of the folder's safetensors, of one file or of several; UserError where there are none, or a file is damaged."""
    if (folder / WEIGHTS).is_file():
        files = [WEIGHTS]
    elif (folder / INDEX).is_file():
        places = hf_tokenizer.read_json(folder / INDEX).get("weight_map")
        if not isinstance(places, dict) or not all(
            isinstance(name, str) for name in places.values()
        ):
            raise UserError(
                f"{folder / INDEX}: has no weight_map from tensors to files; give a folder that save_pretrained has written"
            )
        files = sorted(set(places.values()))
    elif (folder / "pytorch_model.bin").is_file():
        raise UserError(
            f"{folder}: holds pytorch_model.bin alone, a pickle, which may run code when it is read; "
            "load it with transformers where you trust it, and save_pretrained writes model.safetensors"
        )
    else:
        raise UserError(
            f"{folder}: holds no {WEIGHTS}; give a folder that save_pretrained has written"
        )
    found = {}
    for name in files:
        if pathlib.PurePath(name).name != name:
            raise UserError(
                f"{folder / INDEX}: {name!r} is not a file beside it; give a folder that save_pretrained has written"
            )
        try:
            with safetensors.safe_open(folder / name, framework="numpy") as file:
                for key in file.keys():
                    kind = file.get_slice(key).get_dtype()
                    if key.endswith(hf_weights.BUFFERS):
                        continue
                    if kind not in ("F32", "F16"):
                        raise UserError(
                            f"{folder / name}: {key} is {kind}, F32 or F16 expected; save the model in float32"
                        )
                    found[key] = file.get_tensor(key)
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(
                f"{folder / name}: cannot be read ({first_line(error)}); copy it again"
            ) from None
    return found


class _Head(NamedTuple):
    """What stands on the body: the class that loads it, its tensors, and what config.json says of it."""

    architecture: str
    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]


LANGUAGE_MODEL = _Head("OpenAIGPTLMHeadModel", {}, {})


def export_run(path: str, output: str, lm: bool = False) -> list[str]:
    """Writes the folder `output`, whole or not at all, and gives the names of its files. The same run gives the same bytes.

    Args:
        path: the run's folder, or one of its checkpoints.
        lm: of a finetuned run, leave its head out.

    Raises:
        UserError: `path` is not a run of a Transformer; transformers has no place for its feed-forward width or its head; `output` exists
            and is not empty, or cannot be written.
    """
    run = reader.open_saved(path, "--workdir")
    if run.body != "transformer":
        raise UserError(
            f"--workdir: {run.workdir} is a run of the {run.body}, which transformers does not have; name one of the transformer"
        )
    if run.sizes["ffn"] != 4 * run.sizes["width"]:
        ffn, width = run.sizes["ffn"], run.sizes["width"]
        raise UserError(
            f"--workdir: {run.workdir} has ffn {ffn}, but {MODEL_TYPE} 4 x its width {width}; it cannot be written in that format"
        )
    run.meta(run.step)
    params = run.params(run.step)
    finetuned = isinstance(run, reader.FinetunedRun)
    head = _head(run, params) if finetuned and not lm else LANGUAGE_MODEL
    content = hf_weights.from_params(params, run.sizes["layers"]) | head.tensors
    parameters = sum(array.size for array in content.values())
    with _whole(output) as folder:
        safetensors.numpy.save_file(content, folder / WEIGHTS, metadata={"format": "pt"})
        config = _config(run, len(params["tokens"]), head)
        storage.write_json(folder / "config.json", config)
        (folder / WEIGHTS).chmod(
            (folder / "config.json").stat().st_mode
        )  # the library lets its owner alone read it
        storage.write_json(
            folder / "generation_config.json",
            {"bos_token_id": config["bos_token_id"], "pad_token_id": 0},
        )
        hf_tokenizer.write(folder, run.tokenizer, run.sizes["context"], specials=finetuned)
        (folder / "README.md").write_text(
            model_card.text(run, parameters, head.architecture), encoding="utf-8"
        )
        written = sorted(file.name for file in folder.iterdir())
    return written


def _config(run: reader.SavedRun, rows: int, head: _Head) -> dict[str, Any]:
    """Their config.json.

    The newline's token is bos: a text begins after one, in pretraining as in probes. There is no eos: a newline ends paragraphs too.
    """
    sizes = {theirs: run.sizes[ours] for theirs, ours in (SIZES | DROPOUT).items()}
    tokens = {"bos_token_id": run.tokenizer.newline, "eos_token_id": None, "pad_token_id": 0}
    kinds = {"architectures": [head.architecture], "dtype": "float32", "tie_word_embeddings": True}
    return kinds | FIXED | {"vocab_size": rows} | sizes | tokens | dict(head.config)


def _head(run: reader.FinetunedRun, params: Mapping) -> _Head:
    """The classifier, in the class of theirs that computes it."""
    task, clf = run.streams, params["clf"]
    if task["format"] == "choice":
        content = {
            "multiple_choice_head.summary.weight": clf["kernel"].T,
            "multiple_choice_head.summary.bias": clf["bias"],
        }
        summary = {
            "num_labels": 1,
            "summary_type": "cls_index",
            "summary_use_proj": True,
            "summary_proj_to_labels": True,
            "summary_activation": None,
            "summary_first_dropout": run.config["clf_dropout"],
        }
        return _Head(
            "OpenAIGPTDoubleHeadsModel",
            {name: np.ascontiguousarray(array) for name, array in content.items()},
            summary,
        )
    last = params[f"h{run.sizes['layers'] - 1}"]["ln_2"]
    # The logits of both orders of a similarity are added: each has half the bias.
    bias = clf["bias"] / 2 if task["format"] == "similarity" else clf["bias"]
    weight, off = hf_weights.without_bias(clf["kernel"], bias, last["scale"], last["bias"])
    if off > hf_weights.TOLERANCE:
        raise UserError(
            f"--workdir: {run.workdir} has a head whose bias cannot be kept in OpenAIGPTForSequenceClassification, which has none "
            f"(scores would be off by {off:.1g}); give --lm to leave the head out"
        )
    labels = model_card.labels(run, len(bias))
    config = {
        "id2label": {str(number): name for number, name in enumerate(labels)},
        "label2id": dict(zip(labels, range(len(labels)), strict=True)),
    }
    config["problem_type"] = (
        "regression" if run.config["regression"] else "single_label_classification"
    )
    return _Head("OpenAIGPTForSequenceClassification", {"score.weight": weight}, config)


@contextlib.contextmanager
def _whole(output: str) -> Iterator[pathlib.Path]:
    """A folder to write in, which is `output` afterwards, and nowhere after an error."""
    if not output:
        raise UserError("--output: is missing; name the folder to write")
    target = pathlib.Path(output).expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--output: {target} exists and is not an empty folder; name another")
    try:
        with storage.atomic_folder(target) as folder:
            yield folder
    except OSError as error:
        raise UserError(
            f"--output: {target} cannot be written ({error.strerror or error}); name another folder"
        ) from None
