"""Give the pretrainings of an ablation: their recipes, and the folders of their runs.

A pretraining is a recipe with a name. It has a run for each of config.pretraining_seeds. A
finetuning run of seed s starts from run s mod n of its pretraining, so that the spread between
seeds includes the spread between pretraining runs.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gpt1_jax import inputs
from gpt1_jax.analysis.report import paper
from gpt1_jax.errors import UserError, nearest
from gpt1_jax.inputs import flatten
from gpt1_jax.runs.reader import PretrainedRun

SECTION = "pretrain."  # the settings of an experiment that begin so are settings of pretraining


class Pretraining(NamedTuple):
    """Describe a recipe of pretraining and its runs.

    Attributes:
        name: the name, which is part of the names of the runs.
        recipe: the configuration of the run with seed 0.
        paths: the folders of the runs, by seed.
        is_finished: True for finished runs that config.pretrained names. The recipe then stands for
            theirs.
    """

    name: str
    recipe: ConfigDict
    paths: tuple[str, ...]
    is_finished: bool

    @property
    def body(self) -> str:
        """Return the name of the body."""
        return self.recipe.model.name

    def seed(self, seed: int) -> int:
        """Return the seed of the run that a finetuning run of `seed` starts from."""
        return seed % len(self.paths)

    def run_config(self, seed: int) -> ConfigDict:
        """Return the configuration of a run."""
        run = self.recipe.copy_and_resolve_references()
        run.seed += seed
        # Also without zero-shot probes: a later start of the ablation may add them.
        run.checkpoint.keep_steps += paper.zero_shot_steps(run.steps)
        return run

    def layers(self, seed: int) -> int:
        """Return the number of blocks of a run; errors as for `_finished_run`."""
        if not self.is_finished:
            return self.recipe.model.to_dict().get("layers", 1)
        return _finished_run(self.paths[seed], self.name).sizes.get("layers", 1)

    def steps(self) -> tuple[int, ...]:
        """Return the steps of the checkpoints that the runs keep; errors as for `_finished_run`."""
        if not self.is_finished:
            return paper.zero_shot_steps(self.recipe.steps)
        return tuple(_finished_run(self.paths[0], self.name).steps)


@functools.lru_cache(maxsize=32)
def _finished_run(path: str, name: str) -> PretrainedRun:
    """Return a run that config.pretrained names for the pretraining `name`.

    Raises:
        UserError: it is no finished pretraining run.
    """
    run = PretrainedRun(path, f"config.pretrained.{name}")
    if not (run.workdir / "result.json").exists():
        raise UserError(
            f"config.pretrained.{name}: {run.workdir} is not finished; "
            "finish it, or name another run"
        )
    return run


class Pretrainings:
    """Give the pretrainings by name, and those that differ from one of these in one setting.

    Args:
        config: configuration of the ablation.
        path: its folder.
        corpus_path: data.path of every pretraining run.
    """

    def __init__(self, config: ConfigDict, path: str, corpus_path: str):
        self._config, self._path, self._corpus_path = config, path, corpus_path
        self._known: dict[str, Pretraining] = {}

    def named(self, name: str, flag: str) -> Pretraining:
        """Return the pretraining called `name`.

        Raises:
            UserError: config.pretrainings has none of this name, as `flag` asks for, or its entry
                is not a recipe.
        """
        if name in self._known:
            return self._known[name]
        if name not in self._config.pretrainings:
            raise UserError(
                f"{flag}: no pretraining is called {name!r}"
                f"{nearest(name, self._config.pretrainings)}; choose among: "
                f"{', '.join(self._config.pretrainings)}"
            )
        entry, setting = self._config.pretrainings[name], f"config.pretrainings.{name}"
        inputs.check_name(name, "config.pretrainings")
        if entry.body not in self._config.pretrain:
            raise UserError(
                f"{setting}.body: no body is called {entry.body!r}; choose among: "
                f"{', '.join(self._config.pretrain)}"
            )
        recipe = self._config.pretrain[entry.body].copy_and_resolve_references()
        with recipe.unlocked():
            recipe.data.path, recipe.compile_for = self._corpus_path, ""
        _change(recipe, flatten(entry.changes.to_dict()), f"{setting}.changes")
        return self._add(name, recipe, self._finished_runs(name))

    def changed(self, origin: Pretraining, setting: str, value: Any, flag: str) -> Pretraining:
        """Return the pretraining whose recipe differs from that of `origin` in one setting.

        If the setting has this value already, it is `origin` itself.

        Raises:
            UserError: there is no such setting, or the runs of `origin` exist, with a recipe that
                is not known. `flag` asks for the pretraining.
        """
        if origin.is_finished:
            raise UserError(
                f"config.pretrained.{origin.name}: {flag} varies a setting of pretraining, so its "
                "runs must be trained here; leave config.pretrained out"
            )
        recipe = origin.recipe.copy_and_resolve_references()
        _change(recipe, {setting: value}, flag)
        if identity(recipe) == identity(origin.recipe):
            return origin
        name = f"{origin.name}_{setting.rpartition('.')[2]}_{value}"
        return self._known.get(name) or self._add(inputs.check_name(name, flag), recipe, ())

    def _add(self, name: str, recipe: ConfigDict, finished: tuple[str, ...]) -> Pretraining:
        seeds = range(self._config.pretraining_seeds)
        paths = finished or tuple(f"{self._path}/pretrain_{name}_{seed}" for seed in seeds)
        self._known[name] = Pretraining(name, recipe, paths, bool(finished))
        return self._known[name]

    def _finished_runs(self, name: str) -> tuple[str, ...]:
        """Return the paths of the runs that config.pretrained names; () if it names none."""
        flag, hint = f"config.pretrained.{name}", "name the folder of a pretraining run"
        paths = self._config.pretrained[name]
        if not all(isinstance(path, str) for path in paths):
            raise UserError(f"{flag}: found {paths!r}, expected folders, such as \"('a','b')\"")
        return tuple(str(inputs.folder(flag, path, hint)) for path in paths if path)


def _change(recipe: ConfigDict, changes: Mapping[str, Any], flag: str) -> None:
    """Change settings of a recipe in place. `flag` gave them; changing the body is an error."""
    try:
        if "model.name" in changes:
            raise KeyError("model.name is the body")
        recipe.lock()
        recipe.update_from_flattened_dict(changes)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{flag}: not a setting of config.pretrain.{recipe.model.name} ({error}); "
            "name one of its settings"
        ) from None


def identity(config: ConfigDict) -> str:
    """Return a text that is equal for equal configurations."""
    return json.dumps(config.to_dict(), sort_keys=True)
