"""Find and load configs: those of the package, from any folder, and the files of a user.

`--config=pretrain:tiny` is a config of the package. `--config=configs/pretrain.py:tiny` is that
file, or the config of the package where there is none.
"""

import ast
import importlib
import importlib.util
import math
import os
import pathlib
import re
import sys
import types
from collections.abc import Iterable

from absl import flags
from ml_collections import ConfigDict, config_flags

from gpt1_jax import inputs
from gpt1_jax.errors import UserError, nearest

_PACKAGE = pathlib.Path(__file__).parents[1]
# A wheel has the folder inside the package. In the repository it is beside the package.
FOLDER = _PACKAGE / "configs"
if not FOLDER.is_dir():
    FOLDER = _PACKAGE.parent / "configs"
OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")


class Parser(flags.ArgumentParser):
    """Parse the value of --config, FILE:PICKS, to the config."""

    def parse(self, argument: str) -> ConfigDict:
        """Return the config.

        Raises:
            UserError: there is no such config, or a pick is unknown.
        """
        return load(argument)


class WholeNumberParser(flags.IntegerParser):
    """Parse a whole number, which may be written as 1e3."""

    syntactic_help = "a whole number"

    def convert(self, argument: str | int) -> int:
        """Return the number.

        Raises:
            ValueError: the argument is not a whole number.
        """
        try:
            return super().convert(argument)
        except ValueError:
            try:
                number = float(argument)
            except ValueError:
                number = math.nan
            if not number.is_integer():
                raise ValueError(f"{argument!r} is not a whole number") from None
            return int(number)


config_flags.register_flag_parser_for_type(int, WholeNumberParser())


def summaries() -> dict[str, str]:
    """Return the first line of every config of the package, by its name. Import none of them."""
    trees = {path.stem: ast.parse(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.py"))}
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0]
        for name, tree in trees.items()
        if any(getattr(node, "name", "") == "get_config" for node in tree.body)
    }


def load(value: str) -> ConfigDict:
    """Return the locked config of --config=`value`, which is FILE:PICKS.

    Raises:
        UserError: there is no such config, it cannot be imported, or a pick is unknown.
    """
    name, colon, picks = value.partition(":")
    config = load_module(name).get_config(*([picks] if colon else []))
    config.lock()
    return config


def load_module(name: str) -> types.ModuleType:
    """Return the module of a config, of the package or of a user.

    Raises:
        UserError: there is no such file, or it cannot be imported, or it has no get_config.
    """
    path = find(name)
    package = sys.modules.get("configs")
    if package is None or str(FOLDER) not in package.__path__:
        # Configs import each other as configs.*: never those of the working directory.
        package = sys.modules["configs"] = types.ModuleType("configs")
        package.__path__ = [str(FOLDER)]
    if path.parent.resolve() == FOLDER.resolve():
        module = importlib.import_module(f"configs.{path.stem}")
    else:
        package.__path__.append(str(path.parent))  # after those of the package
        sys.path.append(os.getcwd())
        module = _load_file(path)
    if not hasattr(module, "get_config"):
        raise UserError(f"--config: {name!r} has no get_config; {_known()}")
    return module


def find(name: str) -> pathlib.Path:
    """Return the file of a config.

    Raises:
        UserError: there is none.
    """
    known = summaries()
    if name in known:
        return FOLDER / f"{name}.py"
    path = inputs.local_path("--config", name)
    if path.is_file() and path.suffix == ".py":
        return path
    if path.is_file():
        raise UserError(f"--config: {name!r} is not a .py file; {_known()}")
    packaged = FOLDER / path.name
    if path.parent in (pathlib.Path("."), pathlib.Path("configs")) and packaged.is_file():
        return packaged
    raise UserError(
        f"--config: cannot find {name!r}{nearest(path.stem, known)}; name a file, or a config of "
        f"the package: {', '.join(known)}"
    )


def unknown_setting(config: ConfigDict, arguments: Iterable[str]) -> str | None:
    """Return the error for the first override of a setting that `config` lacks; None for none."""
    settings = list(inputs.flatten(config.to_dict()))
    sections = {name[: dot.start()] for name in settings for dot in re.finditer(r"\.", name)}
    for argument in arguments:
        name = match[1] if (match := OVERRIDE.match(argument)) else ""
        if name and name not in {*settings, *sections}:
            last = name.rpartition(".")[2]
            same = [setting for setting in settings if setting.rpartition(".")[2] == last]
            hint = nearest(name, same, least=0.0) if same else nearest(name, settings)
            return f"--config.{name}: the config has no such setting{hint}"
    return None


def _load_file(path: pathlib.Path) -> types.ModuleType:
    """Import the file of a user."""
    spec = importlib.util.spec_from_file_location("config_file", path)
    assert spec and spec.loader  # the file ends in .py
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError) as error:
        raise UserError(f"--config: cannot load {str(path)!r} ({error}); {_known()}") from None
    return module


def _known() -> str:
    return f"the configs of the package are: {', '.join(summaries())}"
