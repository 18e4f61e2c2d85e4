"""Runs' folders as other programs read them: of pretraining and of finetuning; and how params from elsewhere become one."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe
from gpt1_jax.engine import checkpoint, fingerprint
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.runs import lifecycle


class SavedRun:
    """What the runs of both trainers have in common; UserError where the folder `path` is not of `trainer`, or has no checkpoint.

    Args:
        path: the run's folder, or one of its checkpoints, DIR/checkpoints/STEP.
        flag: the setting that `path` was given by, for messages.

    Attributes:
        workdir: the folder.
        config: its config.json.
        body: the name of its body.
        sizes: the arguments of that body, but for vocab_size.
        steps: the updates whose checkpoints are there, ascending.
        step: the one to take by default: that of `path`, else the last.
        tokenizer: its tokenizer.
    """

    trainer = ""

    def __init__(self, path: str, flag: str):
        self.workdir, chosen = _place(path, flag)
        self.config = _config(self.workdir, flag)
        if self.config["trainer"] != self.trainer:
            raise UserError(f"{flag}: {self.workdir} is a run of {self.config['trainer']}; name one of {self.trainer.removesuffix('e')}ing")
        self.steps = checkpoint.steps(self.workdir, flag)
        if chosen is not None and chosen not in self.steps:
            raise UserError(f"{flag}: {self.workdir} has no checkpoint of update {chosen}; it has {self.steps}")
        self.step = self._default_step() if chosen is None else chosen
        self.sizes = self._model()
        self.body = self.sizes.pop("name")
        self.tokenizer = bpe.load(self.workdir / "tokenizer.json")

    def _default_step(self) -> int:
        return self.steps[-1]

    def _model(self) -> dict[str, Any]:
        return dict(self.config["model"])

    def meta(self, step: int) -> dict:
        """What is stored beside the params of a checkpoint; UserError where it is of another tokenizer than the run's."""
        meta = checkpoint.read_meta(self.workdir, step)
        if meta["tokenizer"] != self.tokenizer.fingerprint:
            raise UserError(f"{self.workdir / 'tokenizer.json'}: is not the one this checkpoint was trained with; restore the file")
        return meta

    def params(self, step: int) -> dict:
        """All params of the checkpoint of update `step`, verified."""
        return checkpoint.read_all_params(self.workdir, step)


class PretrainedRun(SavedRun):
    """A finished or running pretraining run."""

    trainer = "pretrain"

    def __init__(self, path: str, flag: str = "config.init.path"):
        if not path and flag == "config.init.path":
            raise UserError(f"{flag}: is empty; name the folder of a pretraining run (init.layers=-1 takes only its tokenizer and sizes)")
        super().__init__(path, flag)


class FinetunedRun(SavedRun):
    """A finished finetuning run.

    Attributes (those of `SavedRun`, and):
        result: its result.json.
        task: the name of its task.
        streams: how its examples become token streams: "format", "labels", "contexts" and "bins" of its task, and "context", the one of
            the pretrained run, by which texts are cut; UserError where the run is too old to say.
        step: by default the update with the best score.
    """

    trainer = "finetune"

    def _default_step(self) -> int:
        if not (self.workdir / "result.json").exists():
            raise UserError(f"{self.workdir}: is not finished; give its command again to finish it")
        return self.result["best_step"]

    @functools.cached_property
    def result(self) -> dict:
        return storage.read_json(self.workdir / "result.json")

    @property
    def task(self) -> str:
        return self.config["task"]

    @property
    def streams(self) -> dict[str, Any]:
        return self._told("streams", "the format of the task")

    def _model(self) -> dict[str, Any]:
        return dict(self._told("model", "the sizes of the model"))

    def _told(self, name: str, what: str) -> dict[str, Any]:
        if name not in self.result:
            raise UserError(f"{self.workdir / 'result.json'}: does not say {what} (an older run); finetune anew")
        return self.result[name]


def open_saved(path: str, flag: str) -> PretrainedRun | FinetunedRun:
    """The run in a folder, of whichever of the two trainers; arguments and errors as for `SavedRun`."""
    folder, _ = _place(path, flag)
    return (FinetunedRun if _config(folder, flag)["trainer"] == FinetunedRun.trainer else PretrainedRun)(path, flag)


def _config(folder: pathlib.Path, flag: str) -> dict:
    """The run's config.json; others' folders have one too."""
    config = storage.read_json(folder / "config.json")
    if not isinstance(config, dict) or "trainer" not in config:
        raise UserError(f"{flag}: {folder} is no folder of a run; make one of a Hugging Face one by gpt1 import")
    return config


def _place(path: str, flag: str) -> tuple[pathlib.Path, int | None]:
    """The run's folder, and the update where `path` names one of its checkpoints."""
    if not path:
        raise UserError(f"{flag}: is empty; name the folder of a run")
    given = pathlib.Path(path).expanduser()
    if given.parent.name == checkpoint.FOLDER and given.name.isdecimal():
        return given.parent.parent, int(given.name)
    return given, None


def write_pretrained(path: str, model: Mapping[str, Any], params: Mapping, tokenizer: bpe.Tokenizer, origin: Mapping[str, Any]) -> dict:
    """Makes the folder `path` a finished pretraining run, at update 0, of params that come from elsewhere; gives its result.json.

    The same params, tokenizer and origin again are found finished; UserError where the folder is another run's.

    Args:
        model: the body's "name" and sizes, as in a config's model section.
        params: nested dict of float32 arrays, named as the body names them.
        origin: where they come from: JSON values, which config.json keeps, with the fingerprints of params and tokenizer.
    """
    origin = {**origin, "params_sha256": fingerprint.params_sha256(params), "tokenizer": tokenizer.fingerprint}
    config = {"trainer": "pretrain", "model": dict(model), "origin": origin}
    with lifecycle.open_run(path, config) as run:
        if run.result is not None:
            return run.result
        tokenizer.save(run.workdir / "tokenizer.json")
        checkpoints = Checkpoints(run.workdir, keep=1, say=run.log.line)
        none = {"count": np.zeros((), np.int32)}  # no optimiser has moved them here
        checkpoints.save(0, {"params": params, "opt_state": none}, {"tokenizer": tokenizer.fingerprint})
        checkpoints.close()
        return run.finish({"trainer": "pretrain", "steps": 0, "origin": origin, "params_sha256": origin["params_sha256"]})
