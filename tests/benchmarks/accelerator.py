"""Measure this project on an accelerator, beside transformers on PyTorch, in at most eight minutes.

    pip install -c requirements-lock.txt -e '.[cuda]' torch transformers
    python tests/benchmarks/accelerator.py
    python tests/benchmarks/accelerator.py --parts=attention,training --minutes=4 --output=run.json
    python tests/benchmarks/accelerator.py --size=tiny    # a try of the program itself, on a CPU

A line of JSON follows every measurement, so a run that is cut off leaves its results. The last line
holds all of them, and the ratios to the goals: 40% MFU, 1.5 times the speed of transformers in
training, 5 times in generation.

Each part runs in a process of its own, because neither library then holds the memory of the other.
A part that fails or takes too long leaves a line with its error, and the next part runs.

    machine       the card, the versions, and the speeds of matrix products and of copies
    training      pretraining steps of 64 x 512 tokens
    transformers  the same model in transformers on PyTorch, training and generation
    generation    128 new tokens
    attention     the fused kernels against the plain way: outputs, gradients, times
    finetuning    steps on rows as in RTE, and on rows with a shared prefix as in RACE
    ablation      configs/ablations.py:quick as a whole, if there is time left

The ablation takes minutes of its own: --parts=ablation --minutes=6 measures it as a whole.

On a machine without network, the project need not be installed, because the program finds it by its
own path. Besides jax[cuda12] or jax[cuda13], flax, optax, orbax-checkpoint, torch and transformers,
a run needs three wheels without extension modules, of together 0.3 MB: clu, ml_collections and
tensorboardX. jinja2, jaxtyping, matplotlib, pyarrow, rich, scipy and tokenizers must be there too.
"""

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from absl import app, flags

REPOSITORY = pathlib.Path(__file__).parents[2]
# Part -> the seconds that it may take. The ablation may take what is left.
PARTS = {
    "machine": 45,
    "training": 170,
    "transformers": 110,
    "generation": 60,
    "attention": 100,
    "finetuning": 90,
    "ablation": 3_600,
}
_PARTS = flags.DEFINE_list("parts", list(PARTS), "The parts to run, in this order.")
flags.register_validator(
    "parts", lambda parts: set(parts) <= set(PARTS), f"--parts: choose from {', '.join(PARTS)}"
)
_SIZE = flags.DEFINE_enum("size", "full", ["full", "tiny"], "The paper's sizes, or tiny ones.")
_MINUTES = flags.DEFINE_float("minutes", 8.0, "The time after which the program ends.")
_OUTPUT = flags.DEFINE_string("output", "", "File for the last line.")
_PART = flags.DEFINE_string("part", "", "Run this part in this process.")


def run_part(part: str, size: str) -> None:
    """Print a line for every measurement of a part."""
    devices = importlib.import_module("gpt1_jax.engine.devices")
    devices.initialize("off")  # another run on this machine finds the compiled programs
    measure = importlib.import_module(f"accelerator_parts.{part}").measure
    for row in measure(size):
        print(json.dumps({"part": part, **row}), flush=True)


def part_rows(part: str, seconds: float, folder: str) -> Iterator[dict]:
    """Run a part in a process; yield its measurements, and its error if it fails.

    Args:
        part: the name of the part.
        seconds: the time after which its processes are killed.
        folder: a folder for temporary files.
    """
    command = [sys.executable, __file__, f"--part={part}", f"--size={_SIZE.value}"]
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92", **os.environ}
    environment |= {"PYTHONPATH": path, "TMPDIR": folder}
    expired = threading.Event()
    with open(f"{folder}/{part}.err", "w+b") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )

        def kill():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(seconds, lambda: (expired.set(), kill()))
        timer.start()
        try:
            yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
            code = process.wait()
        finally:
            timer.cancel()
            kill()
        if expired.is_set():
            yield {"part": part, "error": f"stopped after {seconds:.0f} s"}
        elif code:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or [""]
            yield {"part": part, "error": f"exit code {code}: {lines[-1][:300]}"}


def goals(rows: list[dict]) -> dict:
    """Return the ratios to the goals; None where a measurement is missing."""

    def best(part: str, prefix: str, value: str) -> float | None:
        found = [
            row[value]
            for row in rows
            if row["part"] == part and row.get("name", "").startswith(prefix) and value in row
        ]
        return max(found, default=None)

    def ratio(ours: float | None, theirs: float | None) -> float | None:
        return round(ours / theirs, 2) if ours and theirs else None

    speed = "tokens_per_s"
    values = {
        "mfu": (best("training", "transformer bfloat16", "mfu"), 0.4),
        "training": (
            ratio(
                best("training", "transformer bfloat16", speed),
                best("transformers", "training", speed),
            ),
            1.5,
        ),
    }
    for row in rows:
        if row["part"] == "generation" and speed in row:
            theirs = best("transformers", f"generation {row['name']}", speed)
            values[f"generation {row['name']}"] = ratio(row[speed], theirs), 5.0
    return {
        name: {"value": value, "goal": goal, "reached": value and value >= goal}
        for name, (value, goal) in values.items()
    }


def main(_):
    if _PART.value:
        return run_part(_PART.value, _SIZE.value)
    end, rows = time.monotonic() + 60 * _MINUTES.value - 5, []
    with tempfile.TemporaryDirectory() as folder:
        for part in _PARTS.value:
            begin = time.monotonic()
            left = end - begin
            if left < 15:
                found = iter([{"part": part, "error": f"not run: {left:.0f} s are left"}])
            else:
                found = part_rows(part, min(PARTS[part], left), folder)
            for row in found:
                rows.append(row)
                print(json.dumps(row), flush=True)
            rows.append({"part": part, "seconds": round(time.monotonic() - begin, 1)})
    everything = json.dumps({"size": _SIZE.value, "goals": goals(rows), "rows": rows})
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(everything + "\n")
    print(everything, flush=True)


if __name__ == "__main__":
    app.run(main)
