"""A copy of the house in which the launch scripts run for real; gcloud, srun and the program are recorded."""

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
"""
# Answers questions as the real interpreter does; records what it is told to run as a module, and then does {does}.
INTERPRETER = """#!{python}
import json, os, signal, sys, time
if sys.argv[1] == "-c":
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
{does}
"""


class House:
    """A copy of the launch scripts with stubs around them, and what the stubs were called with."""

    # What a shell may break: spaces, brackets, both quotes, a variable, a glob, a newline, nothing at all.
    awkward = (
        "--workdir=runs/a b",
        "--config.sizes=(1, 2)",
        """--x=it's "$HOME" `id` * ; &""",
        "--y=1\n2",
        "",
    )

    def __init__(self, root: pathlib.Path):
        self.root = root / "gpt1_jax"  # the name it has on a TPU's host, below the home folder
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
        """Puts a program at `path` that records how it is called."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(python=sys.executable, log=str(self.log), does=does))
        path.chmod(0o755)
        return path

    def install(self, *extras: str, does: str = ""):
        """A .venv that is up to date and has `extras`; its interpreter is a stub."""
        self.stub(self.root / ".venv/bin/python", INTERPRETER, does)
        stamp = self.root / ".venv/.installed"
        stamp.write_text("".join(f"{extra}\n" for extra in extras))
        os.utime(stamp, (time.time() + 10,) * 2)

    def run(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Runs launch/`script` from a foreign folder."""
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
        """The argument lists that the stubs received, without the stubs' own paths."""
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
def house(tmp_path):
    return House(tmp_path)
