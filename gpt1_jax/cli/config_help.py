"""Describe a config: its picks, and its settings with their defaults and comments."""

import ast
import functools
import io
import pathlib
import textwrap
import tokenize
from collections.abc import Iterator

from gpt1_jax import inputs
from gpt1_jax.cli import config_files

COLUMN = 40  # where the comments begin
WIDTH = 100


def describe(value: str) -> str:
    """Return the help of --config=`value`, which is FILE:PICKS.

    Raises:
        UserError: there is no such config, or a pick is unknown.
    """
    name = value.partition(":")[0]
    module = config_files.load_module(name)
    lines = [(module.__doc__ or "").strip()]
    if picks := getattr(module, "PICKS", {}):
        lines += [
            "",
            "Picks, after a colon and separated by commas; the first of each is the default:",
        ]
        for kind, names in picks.items():
            lines += _columns(f"  {kind}", ", ".join(names), 16)
    lines += ["", f"Settings (--config.NAME=VALUE) of --config={value}, with their defaults:"]
    path = config_files.find(name)
    described = {""}
    for setting, default in inputs.flatten(config_files.load(value).to_dict()).items():
        section = setting.rpartition(".")[0]
        # The comment of a section is that of its first setting.
        comment = _comment(path, setting) or _comments(path).get(section, "")
        shown = "" if default is None else default
        lines += _columns(f"  {setting}={shown}", "" if comment in described else comment, COLUMN)
        described.add(comment)
    return "\n".join(lines)


def _columns(left: str, right: str, column: int) -> list[str]:
    """Return lines with `left`, and with `right` from a column on."""
    lines = textwrap.wrap(right, WIDTH - column) or [""]
    if right and len(left) > column - 2:
        lines.insert(0, "")
    rows = zip([left, *[""] * len(lines)], lines, strict=False)
    return [f"{start:<{column}}{line}".rstrip() for start, line in rows]


def _comment(path: pathlib.Path, setting: str) -> str:
    """Return the comment of a setting: of its own file, of another config's, or of common.py."""
    if comment := _comments(path).get(setting):
        return comment
    parts = setting.split(".")
    suffixes = [".".join(parts[first:]) for first in range(len(parts))]
    section = config_files.FOLDER / f"{parts[0]}.py"
    if section.is_file():  # pretrain.lstm.data.path is data.path of pretrain.py
        files, names = [section], suffixes[1:]
    else:
        files, names = sorted(config_files.FOLDER.glob("*.py")), [setting, *suffixes[1:-1]]
    for name in names:
        for file in files:
            if comment := _comments(file).get(name):
                return comment
    shared = _comments(config_files.FOLDER / "common.py")
    return shared.get(".".join(parts[-2:])) or shared.get(parts[-1], "")


@functools.cache
def _comments(path: pathlib.Path) -> dict[str, str]:
    """Return setting -> its comment in a file: on its line, or on the lines above it."""
    source = path.read_text("utf-8")
    comments, alone = {}, set()  # line -> comment; the lines with nothing else
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ")
            if not token.line[: token.start[1]].strip():
                alone.add(token.start[0])
    found = {}
    for name, line in _settings(ast.parse(source)):
        first = line
        while first - 1 in alone:
            first -= 1
        text = comments.get(line) or " ".join(comments[above] for above in range(first, line))
        if text:
            found.setdefault(name, text)
    return found


def _settings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the settings that a file defines, with their lines.

    A setting is the target of `config.NAME = ...` in get_config, or in a function that is called as
    its section; an argument of a call, as of dict(...); or a name in a tuple. What private
    functions change is not the default.
    """
    for statement in tree.body:
        function = getattr(statement, "name", "get_config")
        if function.startswith("_"):
            continue
        section = "" if function == "get_config" else f"{function}."
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                target = ast.unparse(node.targets[0])
                if target.startswith("config."):
                    target = section + target.removeprefix("config.")
                    yield target, node.lineno
                    for argument in getattr(node.value, "keywords", ()):
                        yield f"{target}.{argument.arg}", argument.lineno
            elif isinstance(node, ast.keyword) and node.arg:
                yield node.arg, node.lineno
            elif isinstance(node, ast.Tuple):
                for item in node.elts:
                    if isinstance(item, ast.Constant) and isinstance(item.value, str):
                        yield item.value, item.lineno
