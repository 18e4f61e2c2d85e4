"""Run configs/ablations.py:quick as a whole, and count its finished runs."""

import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from configs import ablations
from gpt1_jax.trainers import ablate  # noqa: F401 (registers the trainer of the runs)
from gpt1_jax.trainers.ablation_runs import list_runs

REPOSITORY = pathlib.Path(__file__).parents[3]
TINY = {"seeds": 1, "tasks": "('rte',)", "pretrain.transformer.steps": 3, "pretrain.lstm.steps": 3}
TINY |= {"world.words": 60_000, "world.train": 40, "world.dev": 20, "finetune.epochs": 1}
EVERY = 30  # seconds between two rows


def measure(size: str) -> Iterator[dict]:
    """Yield a row every EVERY seconds until all runs have ended."""
    picks, changes = ("quick", {}) if size == "full" else ("quick,table5", TINY)
    config = ablations.get_config(picks)
    if changes:
        config.update_from_flattened_dict({**changes, "tasks": ("rte",)})
    total, folder = len(list_runs(config, "").configs), tempfile.mkdtemp()
    command = [sys.executable, "-m", "gpt1_jax.main", f"--config=configs/ablations.py:{picks}"]
    command += [f"--config.{name}={value}" for name, value in changes.items()]
    begin = time.monotonic()
    process = subprocess.Popen(
        [*command, f"--workdir={folder}"], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        try:
            process.wait(EVERY)
        except subprocess.TimeoutExpired:
            yield _row("so far", folder, total, begin)
    yield _row("whole", folder, total, begin) | {"exit_code": process.returncode}


def _row(name: str, folder: str, total: int, begin: float) -> dict:
    finished = len(list(pathlib.Path(folder).glob("*/result.json")))
    seconds = round(time.monotonic() - begin, 1)
    return {"name": name, "seconds": seconds, "finished_runs": finished, "runs": total}
