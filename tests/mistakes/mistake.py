"""Describe a mistake of a user, and damage files."""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


class Mistake(NamedTuple):
    """Describe a command line with one mistake.

    "{here}" in any value is the folder of the test. It holds copies of the books and of the tasks'
    folders, and for finetuning and zero-shot runs a copy of a pretraining run.

    Attributes:
        message: the parts that the error message must contain.
        config: a file of configs/ with its argument.
        settings: dotted name -> value; they replace those of a valid run.
        files: path in that folder -> content.
        edit: a function that changes that folder, where `files` cannot.
        arguments: further arguments of the command line.
    """

    message: tuple[str, ...]
    config: str
    settings: Mapping[str, object] = {}
    files: Mapping[str, bytes] = {}
    edit: Callable[[Path], object] | None = None
    arguments: tuple[str, ...] = ()


def pretrain(*message: str, config: str = "pretrain.py:tiny", **fields) -> Mistake:
    """Return a mistake in pretraining."""
    return Mistake(message, config, **fields)


def finetune(*message: str, config: str = "finetune.py:sst2", **fields) -> Mistake:
    """Return a mistake in finetuning."""
    return Mistake(message, config, **fields)


def zero_shot(*message: str, config: str = "zero_shot.py", **fields) -> Mistake:
    """Return a mistake in a zero-shot run."""
    return Mistake(message, config, **fields)


def ablate(*message: str, config: str = "ablations.py:quick", **fields) -> Mistake:
    """Return a mistake in an ablation."""
    return Mistake(message, config, **fields)


def swap_token_ids(tokenizer: Path) -> None:
    """Swap the ids of two words in a tokenizer.json."""
    content = json.loads(tokenizer.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["ship</w>"], vocabulary["sea</w>"] = vocabulary["sea</w>"], vocabulary["ship</w>"]
    tokenizer.write_text(json.dumps(content))


def damage_checkpoint(run: Path, step: int) -> None:
    """Flip a bit in every data file of the params of a checkpoint."""
    for file in (run / f"checkpoints/{step}/params").rglob("d/*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def renumber_checkpoint(run: Path, step: int, number: int) -> None:
    """Make the checkpoint of `step` that of `number`, as if the run had saved it then."""
    folder = (run / f"checkpoints/{step}").rename(run / f"checkpoints/{number}")
    file = folder / "meta/metadata"
    meta = json.loads(file.read_text()) | {"step": number}
    del meta["checksum"]
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"))
    file.write_text(json.dumps({**meta, "checksum": zlib.crc32(text.encode())}))
