"""Kill a pretraining run again and again, and compare its end with an undisturbed run."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from gpt1_jax.microworld import files as microworld

REPOSITORY = pathlib.Path(__file__).parents[3]
KILLS_A_RUN = 5
FLAGS = {
    "steps": 1_500,
    "batch_size": 4,
    "model.context": 32,
    "model.width": 16,
    "model.heads": 2,
    "model.ffn": 64,
    "model.layers": 2,
    "tokenizer.vocab_size": 150,
    "optim.warmup_steps": 10,
    "checkpoint.every": 50,
    "eval.every": 100,
    "eval.windows": 8,
    "log.every": 10,
}


def run(count: int, seed: int) -> bool:
    """Kill runs `count` times in all; print how they ended. Return True if all ended right."""
    if not count:
        return True
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        microworld.write(root / "world", words=20_000, train=12, dev=8)
        expected = _finish(root, root / "undisturbed")
        right, kills, damaged, runs = 0, 0, 0, 0
        while kills < count:
            runs += 1
            workdir = root / f"run{runs}"
            for _ in range(min(KILLS_A_RUN, count - kills)):
                damaged += _kill(root, workdir, generator)
                kills += 1
            ended = _finish(root, workdir)
            right += ended == expected
            if ended != expected:
                log = (workdir / "log.txt").read_text()
                print(f"{workdir.name} ended with {ended}\n{log[-3_000:]}")
    print(f"{kills} kills, {damaged} damaged checkpoints: {right} of {runs} runs ended right")
    return right == runs


def _start(root: pathlib.Path, workdir: pathlib.Path) -> subprocess.Popen:
    settings = FLAGS | {"data.path": root / "world/novels", "data.cache": root / "cache"}
    return subprocess.Popen(
        [sys.executable, "-m", "gpt1_jax.main", "--config=configs/pretrain.py:tiny"]
        + [f"--workdir={workdir}", "--config.data.validation=0"]
        + [f"--config.{name}={value}" for name, value in settings.items()],
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(root: pathlib.Path, workdir: pathlib.Path) -> str:
    """Run to the end; return the fingerprint of the params, or the error after a failure."""
    process = _start(root, workdir)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        return f"exit code {process.returncode}: {errors}"
    return json.loads((workdir / "result.json").read_text())["params_sha256"]


def _kill(root: pathlib.Path, workdir: pathlib.Path, generator: random.Random) -> bool:
    """Start the run and kill it; return whether a file of its newest checkpoint was damaged."""
    process = _start(root, workdir)
    time.sleep(generator.uniform(3, 15))
    process.send_signal(generator.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
    process.communicate(timeout=60)
    steps = [path for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    if len(steps) < 2 or generator.random() < 0.5:
        return False
    newest = max(steps, key=lambda path: int(path.name))
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    file = generator.choice(files)
    content = bytearray(file.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    file.write_bytes(content)
    return True
