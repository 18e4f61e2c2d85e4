"""Kill a run in a bucket again and again, and compare its end with an undisturbed run on a disk.

    python tests/benchmarks/bucket_kills.py            # ten kills, three of them inside a save
    python tests/benchmarks/bucket_kills.py --kills=30 --inside=10 --seed=1

The bucket is a server on this machine. Moments are random; a kill inside a save waits for a folder
of a checkpoint that is not complete. After each kill, the log in the bucket must know at least the
steps of the newest checkpoint. At the end, parameters and metrics must be those of the undisturbed
run, each row once.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from bucket_fixtures import Bucket

from gpt1_jax import storage
from gpt1_jax.microworld import files as microworld

_KILLS = flags.DEFINE_integer("kills", 10, "Number of kills.", lower_bound=1)
_INSIDE = flags.DEFINE_integer("inside", 3, "Number of kills inside a save.", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments.")

SETTINGS = {
    "steps": 6_000,
    "batch_size": 4,
    "model.context": 32,
    "model.width": 64,
    "model.heads": 2,
    "model.ffn": 256,
    "model.layers": 2,
    "tokenizer.vocab_size": 150,
    "optim.warmup_steps": 10,
    "checkpoint.every": 100,
    "eval.every": 250,
    "eval.windows": 8,
    "log.every": 10,
    "data.validation": 0.2,
}


def start(root: pathlib.Path, workdir: storage.Path) -> subprocess.Popen:
    """Start the run, or its next start."""
    settings = SETTINGS | {"data.path": root / "world/novels", "data.cache": root / "cache"}
    return subprocess.Popen(
        [sys.executable, "-m", "gpt1_jax.main", "--config=configs/pretrain.py:tiny"]
        + [f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in settings.items())],
        cwd=TESTS.parent,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{root}/xla"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(root: pathlib.Path, workdir: storage.Path) -> tuple[str, list[dict]]:
    """Run to the end; return the fingerprint of the params, and the metrics without the speed."""
    process = start(root, workdir)
    _, errors = process.communicate(timeout=1_200)
    assert process.returncode == 0, errors
    rows = storage.read_json_lines(workdir / "metrics.jsonl")
    rows = [{key: row[key] for key in row if key != "tokens_per_s"} for row in rows]
    return json.loads((workdir / "result.json").read_text())["params_sha256"], rows


def saves(run: storage.BucketPath) -> tuple[set[int], set[int]]:
    """Return the steps of the complete checkpoints, and of those that are not."""
    complete = set(map(int, (run / "checkpoints").complete_folders()))
    return complete, set(map(int, storage.names(run / "checkpoints"))) - complete


def kill(root: pathlib.Path, run: storage.BucketPath, inside: bool, wait: float) -> str:
    """Start the run and kill it; return a line about it."""
    before = saves(run)[0]
    process = start(root, run)
    deadline = time.monotonic() + 600
    while not saves(run)[0] - before:  # it trains
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    time.sleep(wait)
    while inside and not saves(run)[1]:
        assert process.poll() is None, "the run is too short"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    complete, cut = saves(run)
    logged = max(row["step"] for row in storage.read_json_lines(run / "metrics.jsonl"))
    assert logged >= max(complete), f"the log ends at {logged}, the newest checkpoint {complete}"
    place = f"inside the save of step {max(cut)}" if cut else "between two saves"
    return f"killed {place}; newest checkpoint {max(complete)}, log until step {logged}"


def main(arguments: list[str]) -> None:
    """Kill the run, compare its end, and exit with 1 if it differs."""
    generator = random.Random(_SEED.value)
    inside = [number < _INSIDE.value for number in range(_KILLS.value)]
    generator.shuffle(inside)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        server = Bucket(root)
        os.environ |= server.environment | {"JAX_PLATFORMS": "cpu"}
        try:
            server.start()
            microworld.write(root / "world", words=60_000, train=12, dev=8)
            expected = finish(root, root / "undisturbed")
            run = storage.path(f"{server.address}/run")
            for number, is_inside in enumerate(inside, start=1):
                line = kill(root, run, is_inside, generator.uniform(0, 1.5))
                print(f"{number}: {line}", flush=True)
            fingerprint, rows = finish(root, run)
            starts = json.loads((run / "environment.json").read_text())["starts"]
            resumed = (run / "log.txt").read_text().count("resumes from step")
            requests = len(server.requests())
        finally:
            server.stop()
    print(f"{len(starts)} starts, {resumed} of them resumed; {requests} requests")
    print(f"params equal: {fingerprint == expected[0]}; metrics equal: {rows == expected[1]}")
    sys.exit((fingerprint, rows) != expected)


if __name__ == "__main__":
    app.run(main)
