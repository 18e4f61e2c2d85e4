"""A finished or running pretraining run, as other programs read it."""

import hashlib
import json
import pathlib

from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.text import bpe
from gpt1_jax.trainers import settings
from gpt1_jax.training import checkpoint, workdir


class Pretrained:
    """The run in the folder `path`; UserError where it is none, has no checkpoint, or not the tokenizer of its checkpoints.

    Attributes:
        workdir: the folder.
        body: the name of its body.
        context: tokens that the body reads at once.
        steps: the updates whose checkpoints are there, ascending.
        tokenizer: its tokenizer.
        model: its language model.
        fingerprint: of all the checkpoints; equal ones give equal params.
    """

    def __init__(self, path: str):
        if not path:
            raise UserError("config.init.path: is empty; name the folder of a pretraining run")
        self.workdir = pathlib.Path(path).expanduser()
        config = workdir.read_json(self.workdir / "config.json")
        if config["trainer"] != "pretrain":
            raise UserError(f"config.init.path: {self.workdir} is a run of {config['trainer']}; name one of pretraining")
        self.steps = checkpoint.steps(self.workdir)
        self.tokenizer = bpe.load(self.workdir / "tokenizer.json")
        metas = {step: checkpoint.read_meta(self.workdir, step) for step in self.steps}
        if any(meta["tokenizer"] != self.tokenizer.fingerprint for meta in metas.values()):
            raise UserError(f"{self.workdir / 'tokenizer.json'}: is not the one the checkpoints were trained with; restore the file")
        checksums = {step: meta["crc32"] for step, meta in metas.items()}
        self.fingerprint = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
        sizes = dict(config["model"])
        self.body, self.context = sizes.pop("name"), sizes["context"]
        self.model = LanguageModel(settings.body(self.body, sizes)(self.tokenizer.vocab_size, **sizes))

    def params(self, step: int) -> dict:
        """All params of the checkpoint of update `step`, verified."""
        return checkpoint.read_all_params(self.workdir, step)
