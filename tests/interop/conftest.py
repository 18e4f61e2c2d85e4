"""Make finetuned runs of every format, their exports, and a model that transformers has saved."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from gpt1_jax.interop import huggingface


class Kind(NamedTuple):
    """Describe a kind of finetuned run: task, settings, class of transformers, input as text."""

    task: str
    settings: Mapping[str, Any]
    architecture: str
    template: str


SEQUENCE = "OpenAIGPTForSequenceClassification"
TWO_TEXTS = "_start_ {} _delimiter_ {} _classify_"
CHOICE = "_start_ {} {} _delimiter_ {} _classify_"
# The head is far from 0, and texts are truncated.
LARGE_HEAD = {"optim.lr": 1e-2, "model.context": 16}
KINDS = {
    "single": Kind("sst2", {}, SEQUENCE, "_start_ {} _classify_"),
    "pair": Kind("rte", {}, SEQUENCE, TWO_TEXTS),
    "similarity": Kind("mrpc", LARGE_HEAD, SEQUENCE, TWO_TEXTS),
    "graded": Kind("stsb", {}, SEQUENCE, TWO_TEXTS),
    "regression": Kind("stsb", {"regression": True}, SEQUENCE, TWO_TEXTS),
    "choice": Kind("race_middle", {}, "OpenAIGPTDoubleHeadsModel", CHOICE),
}


class Exported(NamedTuple):
    """Describe an exported finetuning run: its kind, the run's folder, the exported folder."""

    name: str
    kind: Kind
    workdir: pathlib.Path
    folder: pathlib.Path


@pytest.fixture(scope="session")
def finetuned(gpt1, finetuning, choices, tmp_path_factory) -> Callable[[str], pathlib.Path]:
    """Return finetuned(name of a kind), the folder of a finished run, made once."""

    @functools.cache
    def run(name: str) -> pathlib.Path:
        kind, workdir = KINDS[name], tmp_path_factory.mktemp("finetuned") / name
        data = {"data.path": choices} if name == "choice" else {}
        settings = finetuning() | data | kind.settings
        gpt1.result(f"finetune.py:{kind.task}", workdir, settings)
        return workdir

    return run


@pytest.fixture(scope="session", params=KINDS)
def exported(request, finetuned, tmp_path_factory) -> Exported:
    """Return the export of a finetuned run, with its head; once for every kind."""
    workdir = finetuned(request.param)
    folder = tmp_path_factory.mktemp("exported") / request.param
    huggingface.export_run(str(workdir), str(folder))
    return Exported(request.param, KINDS[request.param], workdir, folder)


@pytest.fixture
def saved(tmp_path) -> pathlib.Path:
    """Return a small model as transformers saves it, with its tokenizer and three added tokens."""
    from hf_models import transformers, write_vocabulary

    folder = tmp_path / "saved"
    config = transformers.OpenAIGPTConfig(
        vocab_size=23, n_positions=8, n_embd=8, n_layer=1, n_head=2
    )
    transformers.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    write_vocabulary(folder, 20)
    tokenizer = transformers.OpenAIGPTTokenizer.from_pretrained(folder)
    added = {"additional_special_tokens": ["_start_", "_delimiter_", "_classify_"]}
    tokenizer.add_special_tokens(added)
    tokenizer.save_pretrained(folder)
    return folder
