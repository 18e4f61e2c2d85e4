"""Test the answers of the command line that need no heavy import."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from cli_fixtures import REPOSITORY

from gpt1_jax import inputs
from gpt1_jax.cli import config_files

HEAVY = ("jax", "flax", "numpy", "datasets", "tokenizers", "sklearn")
# Runs the program as `python -m gpt1_jax.main` does, then prints which heavy modules are loaded.
WATCHED = f"""
import json, runpy, sys
try:
    runpy.run_module("gpt1_jax.main", run_name="__main__", alter_sys=True)
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""


def call(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


LIGHT = {
    "help": (["--help"], 0),
    "no config": ([], 2),
    "config typo": (["--config=configs/pretrain.py:tiny", "--config.optim.lrr=1"], 2),
    "help of a config": (["--config=configs/pretrain.py:tiny", "-h"], 0),
    "unknown pick": (["--config=configs/pretrain.py:tyni"], 2),
    "positional": (["--config=configs/pretrain.py:tiny", "lr=1"], 2),
}


@pytest.mark.parametrize("name", LIGHT)
def test_answer_needs_no_heavy_import(name):
    arguments, code = LIGHT[name]
    result = call(sys.executable, "-c", WATCHED, *arguments)
    assert result.returncode == code, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_training_never_imports_pytorch():
    trainers = "gpt1_jax.trainers.pretrain, gpt1_jax.trainers.finetune, gpt1_jax.trainers.ablate"
    script = f"import sys, {trainers}; print('torch' in sys.modules)"
    assert call(sys.executable, "-c", script).stdout == "False\n"


def test_help_names_the_flags_commands_and_configs():
    out = call(sys.executable, "-m", "gpt1_jax.main", "--help").stdout
    for flag in ("--config:", "--workdir:", "--multihost:"):
        assert flag in out
    assert "\n  sample       continue a text" in out
    assert "\n  finetune     Finetune a pretrained run on one task" in out
    assert "\n  common " not in out


@pytest.mark.parametrize("config", ["pretrain:world", "finetune:rte", "zero_shot", "ablations"])
def test_help_of_a_config_lists_every_setting_with_its_default(gpt1, config):
    out = gpt1.run(f"--config={config}", "--help").out
    listed = dict(re.findall(r"^  ([\w.]+)=(.*?)(?:  .*)?$", out, re.MULTILINE))
    settings = inputs.flatten(config_files.load(config).to_dict())
    assert listed == {name: "" if value is None else str(value) for name, value in settings.items()}


def test_help_of_a_config_lists_picks_and_comments(gpt1):
    out = " ".join(gpt1.run("--config=configs/finetune.py", "-h").out.split())
    for text in (
        "variant full, no_pretraining, no_aux_lm, lstm, frozen",  # all names of a kind of pick
        "epochs=3 passes over the training rows",  # a comment on the line
        "regression=False Predict the score of a graded task (stsb) by squared error, instead of",
        "optim.b2=0.999 of the second moment",  # of common.py
        "optim.lr=6.25e-05 the learning rate",  # not that of the recipe for the microworld
        "published.shared_clf_dropout=True True: the streams of an example share one dropout",
    ):
        assert text in out
    out = " ".join(gpt1.run("--config=ablations", "-h").out.split())
    assert "finetune.epochs=4 passes over the training rows" in out  # of finetune.py
    assert "world.dev=500 The size of the microworld" in out  # of the section


def test_installed_command_is_the_same_program():
    installed = pathlib.Path(sys.executable).with_name("gpt1")
    if not installed.exists():
        pytest.skip(f"the project is not installed beside {sys.executable}")
    result = call(str(installed), "--config=configs/pretrain.py:tyni")
    assert result.returncode == 2
    assert result.stderr == (
        "gpt1_jax: --config: no pick is called 'tyni' (did you mean 'tiny'?); choose among size: "
        "gpt1, small, tiny, world; body: transformer, lstm; preset: published, modern, "
        "huggingface\n"
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Return a folder in which the wheel of the project is installed."""
    source, installed = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("gpt1_jax", "configs"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / file, source)
    install = "pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check"
    ended = call(sys.executable, "-m", *install.split(), f"--target={installed}", str(source))
    assert ended.returncode == 0, ended.stderr
    return installed


def test_wheel_has_every_file(wheel):
    def files(folder: pathlib.Path) -> set[pathlib.Path]:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path for path in found if path.suffix != ".pyc"}

    package = files(REPOSITORY / "gpt1_jax") | {
        pathlib.Path("configs") / path for path in files(REPOSITORY / "configs")
    }
    assert files(wheel / "gpt1_jax") == package
    assert not (wheel / "configs").exists()


def test_wheel_finds_its_configs_from_any_folder(wheel, tmp_path):
    def gpt1(*arguments: str) -> subprocess.CompletedProcess:
        command = [str(wheel / "bin/gpt1"), *arguments]
        variables = os.environ | {"PYTHONPATH": str(wheel)}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    def check_help() -> None:
        for config in ("pretrain:tiny", "configs/pretrain.py:tiny"):
            assert "\n  steps=2000 " in gpt1(f"--config={config}", "--help").stdout

    check_help()
    (tmp_path / "configs").mkdir()
    for name in ("__init__", "common"):
        (tmp_path / f"configs/{name}.py").write_text("raise ValueError('the wrong file')\n")
    check_help()
    (tmp_path / "configs/words.py").write_text("STEPS = 7\n")
    (tmp_path / "configs/mine.py").write_text(
        "from configs import pretrain, words\n\n"
        "def get_config(arg='tiny'):\n"
        "    config = pretrain.get_config(arg)\n"
        "    config.steps = words.STEPS\n"
        "    return config\n"
    )
    assert "\n  steps=7   " in gpt1("--config=configs/mine.py", "-h").stdout
    ended = gpt1("--config=configs/pretrain.py:tiny", "--config.data.path=absent")
    assert ended.returncode == 2 and ended.stderr.startswith("gpt1_jax: config.data.path: no .txt")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_name_that_is_not_utf8_is_printed_escaped(tmp_path, locale):
    command = [sys.executable, "-m", "gpt1_jax.main", "report", b"caf\xe9\x1b\n"]
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, env=os.environ | {"LC_ALL": locale}
    )
    assert result.returncode == 2
    assert result.stderr.startswith(b"gpt1_jax: caf\\udce9\\x1b\\x0a: has no cells.json")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", [["--help"], ["predict", "--help"]])
def test_full_standard_output_is_one_line(device, command):
    with device("full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "gpt1_jax.main", *command],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert result.returncode == 2 and result.stderr.count(b"\n") == 1
    assert result.stderr.startswith(b"gpt1_jax: the output: cannot be written (No space left")
