"""Write the world's novels and tasks in the folders, names and columns of the published data sets.

`gpt1 microworld --directory=DIR --seed=0 --facts=0.5` calls `write`.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.microworld.novels import generate_novels
from gpt1_jax.microworld.task_files import write_tasks
from gpt1_jax.microworld.world import RELATIONS, World, draw

# Increase VERSION with every change of the written bytes, so that folders of an older version are
# written again.
VERSION = 5
LIMITS = {
    "seed": (0, 2**32 - 1),
    "words": (1, 10**9),
    "train": (1, 10**7),
    "dev": (1, 10**7),
}


def write(
    directory: str | os.PathLike,
    *,
    seed: int = 0,
    words: int = 1_000_000,
    train: int = 1500,
    dev: int = 500,
    facts: float = 1.0,
    far: float = 0.1,
) -> None:
    """Write novels/, the task folders, world.json and manifest.json.

    world.json holds all facts, and the subjects whose facts the novels state.

    Args:
        directory: the folder to write. A microworld with other parameters is replaced.
        seed: the seed of the world, the novels and the rows.
        words: the approximate number of words in the novels.
        train: the number of train rows of each task.
        dev: the number of dev rows of each task. There are as many test rows.
        facts: the fraction of facts that the novels state; see `generate_novels`.
        far: the fraction of far statements; see `generate_novels`.

    Raises:
        UserError: a parameter is out of range, or the directory holds other files or cannot be
            written.
    """
    directory = storage.path(str(directory))
    parameters = dict(seed=seed, words=words, train=train, dev=dev, facts=facts, far=far)
    _check(parameters)
    manifest = json.dumps({"version": VERSION, **parameters}, indent=1) + "\n"
    previous = _read_manifest(directory)
    if previous == manifest:
        return
    if previous is None and not _is_free(directory):
        raise UserError(f"{directory}: is not a microworld; name a new or an empty folder")
    try:
        # The folder replaces the previous one at the end, so its files are written directly.
        with storage.atomic_folder(directory) as folder:
            world = draw(seed)
            _write_novels(folder / "novels", generate_novels(world, words, seed, facts, far=far))
            write_tasks(folder, world, {"train": train, "dev": dev, "test": dev}, seed)
            _write_facts(folder / "world.json", world, facts)
            (folder / "manifest.json").write_text(manifest)
    except OSError as error:
        raise UserError(
            f"{directory}: cannot write the microworld ({error.strerror or error});"
            " check the path and the permissions"
        ) from error


def _check(parameters: Mapping[str, float]) -> None:
    for name in ("facts", "far"):
        if not 0 <= parameters[name] <= 1:
            raise UserError(
                f"microworld {name}={parameters[name]}: expected a fraction from 0 to 1"
            )
    for name, (smallest, largest) in LIMITS.items():
        if not smallest <= parameters[name] <= largest:
            raise UserError(
                f"microworld {name}={parameters[name]}: expected a number from {smallest} to "
                f"{largest}"
            )


def _read_manifest(directory: storage.Path) -> str | None:
    """Return the text of the manifest; None if the folder is not a microworld."""
    try:
        text = (directory / "manifest.json").read_text(encoding="utf-8")
        parameters = json.loads(text)
    except (OSError, ValueError):
        return None
    expected = {"version", "seed", "words", "facts", "far"}
    if not isinstance(parameters, dict) or not expected <= parameters.keys():
        return None
    return text if (directory / "world.json").is_file() else None


def _is_free(directory: storage.Path) -> bool:
    """Return True if the path does not exist or is an empty folder."""
    return not directory.exists() or (directory.is_dir() and not storage.names(directory))


def _write_novels(folder: pathlib.Path, novels: Iterable[str]) -> None:
    folder.mkdir()
    for number, text in enumerate(novels):
        (folder / f"novel_{number:04d}.txt").write_text(text)


def _write_facts(path: pathlib.Path, world: World, facts: float) -> None:
    stated = {name: sorted(world.stated_subjects(name, facts)) for name in RELATIONS}
    content = {"world": dataclasses.asdict(world), "told": stated}
    path.write_text(json.dumps(content, indent=1) + "\n")
