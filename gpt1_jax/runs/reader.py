"""Read the folders of runs, and write imported params as such a folder."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt1_jax import inputs, storage
from gpt1_jax.engine import checkpoint, fingerprint
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.errors import UserError
from gpt1_jax.runs import lifecycle
from gpt1_jax.text import bpe

# Fields of the JSON files, as `inputs.check_fields` takes them.
MODEL = {
    "model.name": str,
    **{f"model.{size}?": int for size in ("context", "layers", "width", "heads", "ffn", "units")},
    **{f"model.{part}_dropout?": float for part in ("embd", "attn", "resid")},
    "model.attention?": str,
    **{f"model.{option}?": bool for option in ("learned_positions", "pre_norm")},
    "model.dtype": str,
}
PRETRAINED = {**MODEL, "origin?": dict}
FINETUNED = {"task": str, "regression": bool, "backend": str, "clf_dropout": float}
RESULT = {
    "best_step": int,
    "init.origin?": dict,
    **MODEL,
    "streams.format": str,
    "streams.labels.[]": str,
    "streams.context": int,
}


class SavedRun:
    """Read the folder of a run: the base class of `PretrainedRun` and `FinetunedRun`.

    Args:
        path: the run's folder, or one of its checkpoints, DIR/checkpoints/STEP.
        flag: the flag or setting that gave `path`, for error messages.

    Attributes:
        workdir: the folder.
        config: its config.json.
        body: name of the body.
        sizes: arguments of the body except vocab_size.
        steps: steps of the checkpoints in the folder, ascending.
        step: the step to use by default: that of `path`, else the last.
        tokenizer: its tokenizer.

    Raises:
        UserError: the folder does not belong to a run of `trainer`, or has no such checkpoint.
    """

    trainer = ""  # name in the registry
    kind = ""  # the kind of run in messages

    config_fields: Mapping[str, type] = {}  # the fields of config.json that it reads

    def __init__(self, path: str, flag: str):
        self.workdir, step = _parse_path(path, flag)
        self.config = _read_config(self.workdir, flag)
        if self.config["trainer"] != self.trainer:
            raise UserError(
                f"{flag}: {self.workdir} is a run of {self.config['trainer']}; "
                f"name a {self.kind} run"
            )
        inputs.check_fields(self.config, self.config_fields, str(self.workdir / "config.json"))
        self.steps = checkpoint.steps(self.workdir, flag)
        if step is not None and step not in self.steps:
            raise UserError(
                f"{flag}: {self.workdir} has no checkpoint of step {step}; choose from {self.steps}"
            )
        self.step = self._default_step() if step is None else step
        self.sizes = self._model()
        self.body = self.sizes.pop("name")
        self.tokenizer = bpe.load(self.workdir / "tokenizer.json")

    def _default_step(self) -> int:
        return self.steps[-1]

    def _model(self) -> dict[str, Any]:
        return dict(self.config["model"])

    def meta(self, step: int) -> dict:
        """Return the metadata of the checkpoint of step `step`.

        Raises:
            UserError: the checkpoint was made with another tokenizer than tokenizer.json, or with
                another config than config.json.
        """
        meta = checkpoint.read_meta(self.workdir, step)
        settings = lifecycle.config_fingerprint(self.config)
        if meta.get("config", settings) != settings:  # earlier versions stored none
            raise UserError(
                f"{self.workdir / checkpoint.FOLDER / str(step)}: is a checkpoint of another run "
                "than that of config.json; name another step or another run"
            )
        if meta["tokenizer"] != self.tokenizer.fingerprint:
            path = self.workdir / "tokenizer.json"
            raise UserError(
                f"{path}: differs from the tokenizer of checkpoint {step}; restore the file"
            )
        return meta

    def params(self, step: int) -> dict:
        """Return all params of the checkpoint of step `step`; verify their checksums."""
        return checkpoint.read_all_params(self.workdir, step)


class PretrainedRun(SavedRun):
    """Read the folder of a finished or running pretraining run."""

    trainer = "pretrain"
    kind = "pretraining"
    config_fields = PRETRAINED

    def __init__(self, path: str, flag: str = "config.init.path"):
        if not path and flag == "config.init.path":
            raise UserError(
                f"{flag}: is empty; name the folder of a pretraining run "
                "(init.layers=-1 takes only its tokenizer and sizes)"
            )
        super().__init__(path, flag)


class FinetunedRun(SavedRun):
    """Read the folder of a finished finetuning run.

    Attributes (besides those of `SavedRun`):
        result: its result.json.
        task: name of its task.
        streams: how the task's examples become token streams: "format", "labels", "contexts" and
            "bins" of the task, and "context", the context of the pretrained model, which limits the
            texts.
        step: by default the step with the best score.
    """

    trainer = "finetune"
    kind = "finetuning"
    config_fields = FINETUNED

    def _default_step(self) -> int:
        if not (self.workdir / "result.json").exists():
            raise UserError(f"{self.workdir}: is not finished; repeat its command to finish it")
        return self.result["best_step"]

    @functools.cached_property
    def result(self) -> dict:
        return inputs.read_object(self.workdir / "result.json", RESULT)

    @property
    def task(self) -> str:
        return self.config["task"]

    @property
    def streams(self) -> dict[str, Any]:
        return self.result["streams"]

    def _model(self) -> dict[str, Any]:
        return dict(self.result["model"])


def open_saved(path: str, flag: str) -> PretrainedRun | FinetunedRun:
    """Return the run in a folder, of either trainer; arguments and errors as for `SavedRun`."""
    folder, _ = _parse_path(path, flag)
    is_finetuned = _read_config(folder, flag)["trainer"] == FinetunedRun.trainer
    return FinetunedRun(path, flag) if is_finetuned else PretrainedRun(path, flag)


def _read_config(folder: storage.Path, flag: str) -> dict:
    """Return the run's config.json; refuse a config.json that is not of a run."""
    config = inputs.read_object(folder / "config.json")
    if not isinstance(config.get("trainer"), str):
        raise UserError(
            f"{flag}: {folder} is not the folder of a run; "
            "import a folder of Hugging Face with gpt1 import"
        )
    return config


def _parse_path(path: str, flag: str) -> tuple[storage.Path, int | None]:
    """Return the run's folder, and the step if `path` names one of its checkpoints."""
    if not path:
        raise UserError(f"{flag}: is empty; name the folder of a run")
    folder = inputs.run_folder(flag, path)
    if folder.parent.name == checkpoint.FOLDER and folder.name.isdecimal():
        return folder.parent.parent, int(folder.name)
    return folder, None


def write_pretrained(
    path: str,
    model: Mapping[str, Any],
    params: Mapping,
    tokenizer: bpe.Tokenizer,
    origin: Mapping[str, Any],
) -> dict:
    """Write imported params as a finished pretraining run at step 0; return its result.json.

    Do nothing if the folder already holds the same params, tokenizer and origin.

    Args:
        path: folder of the run.
        model: "name" and sizes of the body, as in the model section of a config.
        params: nested dict of float32 arrays, named as the body names them.
        origin: source of the params, as JSON values. config.json records it with the fingerprints
            of params and tokenizer.

    Raises:
        UserError: the folder holds another run.
    """
    params_sha256 = fingerprint.params_sha256(params)
    origin = {**origin, "params_sha256": params_sha256, "tokenizer": tokenizer.fingerprint}
    config = {"trainer": "pretrain", "model": dict(model), "origin": origin}
    with lifecycle.open_run(path, config) as run:
        if run.result is not None:
            return run.result
        tokenizer.save(run.new_path("tokenizer.json"))
        run.new_path(checkpoint.FOLDER)
        identity = {
            "tokenizer": tokenizer.fingerprint,
            "config": lifecycle.config_fingerprint(config),
        }
        checkpoints = Checkpoints(run.workdir, identity, keep=1, log_line=run.log.line)
        opt_state = {"count": np.zeros((), np.int32)}  # no optimizer has updated these params
        state = {"params": params, "opt_state": opt_state}
        checkpoints.save(0, state)
        checkpoints.close()
        result = {"trainer": "pretrain", "steps": 0}
        return run.finish({**result, "origin": origin, "params_sha256": params_sha256})
