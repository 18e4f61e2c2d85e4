"""A finished or running pretraining run, as other programs read it."""

import pathlib

from gpt1_jax.errors import UserError
from gpt1_jax.text import bpe
from gpt1_jax.training import checkpoint
from gpt1_jax.training.workdir import read_json


class Pretrained:
    """The run in the folder `path`; UserError where it is none, or has no checkpoint.

    Attributes:
        workdir: the folder.
        body: the name of its body.
        sizes: the arguments of that body.
        steps: the updates whose checkpoints are there, ascending.
        tokenizer: its tokenizer.
    """

    def __init__(self, path: str):
        if not path:
            raise UserError(
                "config.init.path: is empty; name the folder of a pretraining run (init.layers=-1 takes only its tokenizer and sizes)"
            )
        self.workdir = pathlib.Path(path).expanduser()
        config = read_json(self.workdir / "config.json")
        if config["trainer"] != "pretrain":
            raise UserError(f"config.init.path: {self.workdir} is a run of {config['trainer']}; name one of pretraining")
        self.sizes = dict(config["model"])
        self.body = self.sizes.pop("name")
        self.steps = checkpoint.steps(self.workdir)
        self.tokenizer = bpe.load(self.workdir / "tokenizer.json")

    def meta(self, step: int) -> dict:
        """What is stored beside the params of a checkpoint; UserError where it is of another tokenizer than the run's."""
        meta = checkpoint.read_meta(self.workdir, step)
        if meta["tokenizer"] != self.tokenizer.fingerprint:
            raise UserError(f"{self.workdir / 'tokenizer.json'}: is not the one this checkpoint was trained with; restore the file")
        return meta

    def params(self, step: int) -> dict:
        """All params of the checkpoint of update `step`, verified."""
        return checkpoint.read_all_params(self.workdir, step)
