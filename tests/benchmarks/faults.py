"""Damage every kind of file that the project reads, kill runs, and count how each case ends.

    python tests/benchmarks/faults.py                      # 1,200 files and 40 kills: half an hour
    python tests/benchmarks/faults.py --inputs=60 --kills=2 --seed=7
    python tests/benchmarks/faults.py --targets=race,snli --kills=0 --show=refused

Each case is a valid small file that is damaged in one way (fault_parts/mutations.py) and then read
by the project (fault_parts/targets.py). It must be refused in one line, or accepted for a reason.
Then a pretraining run is killed again and again at random moments, and some of its newest
checkpoints are damaged; at its end the params must be those of an undisturbed run.

The program prints the counts and exits with 1 after a traceback, a hang (more than 60 seconds), or
an accepted file with a changed content that the reader must not accept. A seed repeats its cases.
"""

import collections
import json
import os
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback

from absl import app, flags

_INPUTS = flags.DEFINE_integer("inputs", 1_200, "Number of damaged files.", lower_bound=0)
_KILLS = flags.DEFINE_integer("kills", 40, "Number of kills.", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the cases.")
_TARGETS = flags.DEFINE_list("targets", [], "Names of targets; all by default.")
_SHOW = flags.DEFINE_enum(
    "show", "faults", ["faults", "refused", "accepted"], "Cases to print besides the counts."
)
_CHILD = flags.DEFINE_string("child", "", "Run cases of one target in this process.")
_FIRST = flags.DEFINE_integer("first", 0, "First case of the child.")
_LAST = flags.DEFINE_integer("last", 0, "Case after the last one of the child.")

SECONDS = 60  # after which a case counts as a hang
OUTCOMES = ("refused", "unchanged", "accepted", "wrongly accepted", "traceback", "hang")
FAULTS = OUTCOMES[3:]


def run_cases(name: str, first: int, last: int, seed: int) -> None:
    """Run the cases first to last - 1 of a target; print a JSON line before and after each."""
    from fault_parts import mutations
    from fault_parts.targets import TARGETS

    from gpt1_jax.errors import UserError

    out = os.fdopen(os.dup(1), "w", buffering=1)  # the readers may print
    os.dup2(2, 1)
    target = TARGETS[name]
    valid = pathlib.Path("valid")
    valid.mkdir()
    target.make(valid)
    shutil.copytree(valid, "undamaged/case")
    original = target.read(pathlib.Path("undamaged/case"))
    paths = sorted(path for path in valid.glob(target.files) if path.is_file())
    for number in range(first, last):
        generator = random.Random(f"{seed} {name} {number}")
        path = generator.choice(paths)
        content = path.read_bytes()
        choices = mutations.for_file(path.name, content)
        mutation = generator.choice(sorted(choices))
        changed = choices[mutation](content, generator)
        what = f"{path.relative_to(valid)}: {mutation}{_difference(content, changed)}"
        print(json.dumps({"case": number, "what": what}), file=out)
        shutil.rmtree("damaged", ignore_errors=True)
        shutil.copytree(valid, "damaged/case")
        (pathlib.Path("damaged/case") / path.relative_to(valid)).write_bytes(changed)
        detail = ""
        try:
            if target.read(pathlib.Path("damaged/case")) == original:
                outcome = "unchanged"
            else:
                outcome = "accepted" if target.accepts else "wrongly accepted"
        except UserError as error:
            outcome, detail = "refused", str(error)
            if "\n" in detail.strip():
                outcome = "traceback"
        except BaseException:
            outcome, detail = "traceback", traceback.format_exc()
        print(json.dumps({"outcome": outcome, "detail": detail}), file=out)


def _difference(content: bytes, changed: bytes) -> str:
    """Return the first line that differs, shortened."""
    pairs = zip(content.splitlines(), changed.splitlines(), strict=False)
    line = next((changed for line, changed in pairs if line != changed), b"")
    return f" ({line[:60]!r})" if line else ""


def run_target(name: str, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Return (outcome, what, detail) of every case; start a new process after a hang."""
    results = []
    while len(results) < count:
        with tempfile.TemporaryDirectory() as folder:
            results += _run_child(name, len(results), count, seed, folder)
    return results


def _run_child(name: str, first: int, last: int, seed: int, folder: str) -> list:
    command = [sys.executable, __file__, f"--child={name}", f"--first={first}", f"--last={last}"]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": f"{folder}/huggingface",
    }
    process = subprocess.Popen(
        [*command, f"--seed={seed}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines, errors = queue.Queue(), collections.deque(maxlen=30)
    threading.Thread(
        target=lambda: [*map(lines.put, process.stdout), lines.put("")], daemon=True
    ).start()
    threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True).start()
    results, what = [], None
    while first + len(results) < last:
        try:
            line = lines.get(timeout=SECONDS if what else 10 * SECONDS)  # training comes first
        except queue.Empty:
            results.append(("hang", what or "the valid files", ""))
            break
        if not line:
            process.wait()
            results.append(("traceback", what or "the valid files", "".join(errors)))
            break
        message = json.loads(line)
        if "what" in message:
            what = message["what"]
        else:
            results.append((message["outcome"], what, message["detail"]))
            what = None
    process.kill()
    process.wait()
    return results


def main(arguments: list[str]) -> None:
    """Run the cases, print the counts and exit."""
    if _CHILD.value:
        run_cases(_CHILD.value, _FIRST.value, _LAST.value, _SEED.value)
        return
    from fault_parts import kills
    from fault_parts.targets import TARGETS

    names = _TARGETS.value or list(TARGETS)
    totals = collections.Counter()
    print(f"{'target':<28}" + "".join(f"{outcome:>18}" for outcome in OUTCOMES))
    for index, name in enumerate(names):
        count = _INPUTS.value // len(names) + (index < _INPUTS.value % len(names))
        results = run_target(name, count, _SEED.value)
        counts = collections.Counter(outcome for outcome, _, _ in results)
        totals += counts
        print(f"{name:<28}" + "".join(f"{counts[outcome]:>18}" for outcome in OUTCOMES), flush=True)
        for outcome, what, detail in results:
            if outcome in FAULTS or outcome == _SHOW.value:
                print(f"  {outcome}: {what}: {detail.strip()[-3_000:]}", flush=True)
    print(f"{'all':<28}" + "".join(f"{totals[outcome]:>18}" for outcome in OUTCOMES))
    for reason in sorted({TARGETS[name].accepts for name in names} - {""}):
        accepting = ", ".join(name for name in names if TARGETS[name].accepts == reason)
        print(f"accepted because {reason}: {accepting}")
    kept = kills.run(_KILLS.value, _SEED.value)
    sys.exit(not kept or any(totals[outcome] for outcome in FAULTS))


if __name__ == "__main__":
    app.run(main)
