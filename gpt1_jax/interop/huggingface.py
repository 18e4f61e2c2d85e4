"""Convert runs from and to folders in Hugging Face's `openai-gpt` format.

    gpt1 import --source=DIR --workdir=runs/exp_openai [--text=approximate]
    gpt1 export --workdir=runs/exp_books --output=DIR [--lm]

Only the Transformer is supported: transformers has no such LSTM. transformers loads an exported
folder offline.
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping

import safetensors.numpy

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_config, hf_files, hf_heads, hf_tokenizer, hf_weights, model_card
from gpt1_jax.runs import reader


def import_run(source: str, workdir: str, text: str = "") -> dict:
    """Make a pretraining run of the weights and vocabulary in a folder; return its result.json.

    Rows of the token embedding after the plain vocabulary (added tokens) and heads are left out;
    "origin" in the run's config.json lists them. Finetuning appends its own three rows.

    Args:
        source: the folder of an `openai-gpt` model.
        workdir: the folder of the run to make, for config.init.path.
        text: how texts are split into words (see `hf_tokenizer.read`).

    Raises:
        UserError: the folder does not hold an openai-gpt model as transformers saves it, or the
            workdir cannot be made.
    """
    folder = inputs.data_path("--source", source)
    if not source or not folder.is_dir():
        raise UserError(
            f"--source: {source!r} is not a folder; name one with config.json and "
            f"{hf_files.WEIGHTS}"
        )
    if not workdir:
        raise UserError("--workdir: is missing; name the folder of the run to make")
    sizes, token_rows = hf_config.read_sizes(folder / "config.json")
    hf_weights.check_shapes(hf_files.read_shapes(folder), sizes, token_rows, str(folder))
    tokenizer = hf_tokenizer.read(folder, text)
    tensors = hf_files.read_tensors(folder)
    params, left_out = hf_weights.to_params(tensors, sizes, token_rows, str(folder))
    vocab_size = tokenizer.vocab_size
    if token_rows < vocab_size:
        raise UserError(
            f"{folder}: has {vocab_size} entries in its vocabulary, but {token_rows} rows in its "
            "embedding; give the vocabulary and the weights of one model"
        )
    if token_rows > vocab_size:
        left_out.append(f"tokens_embed.weight[{vocab_size}:{token_rows}]")
        params["tokens"] = params["tokens"][:vocab_size]
    origin = {
        "format": f"Hugging Face {hf_config.MODEL_TYPE}",
        "source": source,
        "text": text,
        "words": tokenizer.word_pipeline,
        "left_out": left_out,
    }
    model = {"name": "transformer", **sizes, "dtype": "float32"}
    return reader.write_pretrained(workdir, model, params, tokenizer, origin)


def export_run(path: str, output: str, lm: bool = False) -> list[str]:
    """Write a run as a folder for transformers; return the sorted names of its files.

    The folder is written as a whole or not at all. The same run gives the same bytes.

    Args:
        path: the folder of a pretraining or finetuning run, or one of its checkpoints.
        output: the folder to write.
        lm: leave out the head of a finetuned run.

    Raises:
        UserError: `path` is not a run of a Transformer; transformers cannot represent its
            feed-forward width or its head; `output` is not empty or cannot be written.
    """
    run = reader.open_saved(path, "--workdir")
    _check_body(run)
    run.meta(run.step)  # raises UserError if the tokenizer is not the checkpoint's
    params = run.params(run.step)
    finetuned = isinstance(run, reader.FinetunedRun)
    head = hf_heads.LANGUAGE_MODEL
    if isinstance(run, reader.FinetunedRun) and not lm:
        head = hf_heads.classifier(run, params)
    with _output_folder(output) as folder:
        _write_model(folder, run, params, head)
        hf_tokenizer.write(
            folder,
            run.tokenizer,
            run.sizes["context"],
            specials=finetuned,
            streams=head is not hf_heads.LANGUAGE_MODEL,
        )
        return storage.names(folder)


def _check_body(run: reader.SavedRun) -> None:
    if run.body != "transformer":
        raise UserError(
            f"--workdir: {run.workdir} is a run of the {run.body}, which transformers does not "
            "have; name a run of the transformer"
        )
    for option, published in (("learned_positions", True), ("pre_norm", False)):
        if run.sizes.get(option, published) != published:
            raise UserError(
                f"--workdir: {run.workdir} has model.{option}={not published}, but "
                f"{hf_config.MODEL_TYPE} has only {published}; name a run with this option"
            )
    ffn, width = run.sizes["ffn"], run.sizes["width"]
    if ffn != 4 * width:
        raise UserError(
            f"--workdir: {run.workdir} has ffn {ffn}, but {hf_config.MODEL_TYPE} has only 4 x its "
            f"width {width}; name a run with this ffn"
        )


def _write_model(
    folder: pathlib.Path, run: reader.SavedRun, params: Mapping, head: hf_heads.Head
) -> None:
    """Write the weights, config.json, generation_config.json and the model card."""
    tensors = {**hf_weights.from_params(params, run.sizes["layers"]), **head.tensors}
    config = hf_config.from_run(run, len(params["tokens"]), head)
    generation = {"bos_token_id": config["bos_token_id"], "pad_token_id": 0}
    parameters = sum(array.size for array in tensors.values())
    weights = folder / hf_files.WEIGHTS
    safetensors.numpy.save_file(tensors, weights, metadata={"format": "pt"})
    storage.write_json(folder / "config.json", config)
    storage.write_json(folder / "generation_config.json", generation)
    card = model_card.render(run, parameters, head.architecture)
    storage.write_text(folder / "README.md", card)
    # The library makes the file readable for its owner only.
    weights.chmod((folder / "config.json").stat().st_mode)


@contextlib.contextmanager
def _output_folder(output: str) -> Iterator[pathlib.Path]:
    """Yield a folder to write in, which becomes `output` if the block ends without an error.

    Raises:
        UserError: `output` is empty, is not an empty folder, or cannot be written.
    """
    if not output:
        raise UserError("--output: is missing; name the folder to write")
    target = inputs.path("--output", output).resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--output: {target} exists and is not an empty folder; name another")
    try:
        with storage.atomic_folder(target, replace=False) as folder:
            yield folder
    except OSError as error:
        raise UserError(
            f"--output: {target} cannot be written ({error.strerror or error}); name another folder"
        ) from None
