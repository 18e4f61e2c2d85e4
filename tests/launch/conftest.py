"""Provide a copy of the launch scripts in which gcloud, srun and the program are recorded."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
RECORDER = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
{does}
"""
# Answers `-c` like the real interpreter; records a module to run, and then executes {does}.
INTERPRETER = """#!{python}
import json, os, signal, sys, time
if sys.argv[1] == "-c":
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
{does}
"""


class Sandbox:
    """Copy the launch scripts, put stubs around them, and record the calls of the stubs."""

    # Arguments that a shell may break: spaces, brackets, quotes, a variable, a glob, a newline,
    # an empty one.
    awkward = (
        "--workdir=runs/a b",
        "--config.sizes=(1, 2)",
        """--x=it's "$HOME" `id` * ; &""",
        "--y=1\n2",
        "",
    )

    def __init__(self, root: pathlib.Path):
        self.root = root / "gpt1_jax"  # as on a TPU host, below the home folder
        self.log = root / "calls.jsonl"
        self.bin = root / "bin"
        self.bin.mkdir()
        (root / "tmp").mkdir()
        shutil.copytree(REPOSITORY / "launch", self.root / "launch")
        (self.root / "requirements-lock.txt").touch()
        (self.root / "pyproject.toml").write_text(
            "not a project"
        )  # so that a real pip stops before the network
        self.env = os.environ | {"HOME": str(root), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.env |= {"TMPDIR": str(root / "tmp"), "NAME": "vm", "ZONE": "z"}
        for name in ("PYTHON", "EXTRA", "TYPE", "VERSION", "WORKER", "DRY_RUN"):
            self.env.pop(name, None)

    def stub(self, path: pathlib.Path, text: str = RECORDER, does: str = "") -> pathlib.Path:
        """Write a program to `path` that records its calls, and then executes `does`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(python=sys.executable, log=str(self.log), does=does))
        path.chmod(0o755)
        return path

    def install(self, *extras: str, does: str = ""):
        """Create an up-to-date .venv with `extras`, whose interpreter is a stub."""
        self.stub(self.root / ".venv/bin/python", INTERPRETER, does)
        stamp = self.root / ".venv/.installed"
        stamp.write_text("".join(f"{extra}\n" for extra in extras))
        os.utime(stamp, (time.time() + 10,) * 2)

    def run(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Run launch/`script` from another folder."""
        command = ["bash", str(self.root / "launch" / script), *arguments]
        return subprocess.run(
            command,
            cwd=self.root.parent,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[list[str]]:
        """Return the argument lists that the stubs received, without the paths of the stubs."""
        return (
            [json.loads(line)[1:] for line in self.log.read_text().splitlines()]
            if self.log.exists()
            else []
        )

    @staticmethod
    def assert_refused(result: subprocess.CompletedProcess, *words: str):
        assert result.returncode == 2, result
        assert len(result.stderr.splitlines()) == 1, result.stderr
        for word in words:
            assert word in result.stderr


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)
