"""Send the metrics of a run to an experiment tracker, beside its own files. Never import jax.

The trackers are optional packages, which have the same functions. wandb asks for an account, unless
WANDB_MODE=offline. trackio writes to a folder of this machine, TRACKIO_DIR, unless TRACKIO_SPACE_ID
names a Space of Hugging Face.
"""

import contextlib
import importlib
import importlib.util
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError, first_line

NONE = "none"
TRACKERS = (NONE, "wandb", "trackio")
PROJECT = "gpt1_jax"
FILE = "tracker.json"  # holds the id under which a resumed run goes on


def check(name: str) -> None:
    """Raise a UserError unless `name` is one of TRACKERS and its package is installed."""
    if name not in TRACKERS:
        raise UserError(
            f"config.log.tracker: found {name!r}, expected {', '.join(TRACKERS)}; set another one"
        )
    if name != NONE and importlib.util.find_spec(name) is None:
        raise UserError(
            f"config.log.tracker: {name} is not installed; pip install {name}, or set "
            f"--config.log.tracker={NONE}"
        )


@contextlib.contextmanager
def track(
    name: str, workdir: storage.Path, settings: Mapping[str, Any], report: Callable[[str], None]
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield a function that sends the metrics of one step.

    A resumed run goes on under its id. An error of the tracker after its start does not end the
    run: the first one is reported.

    Args:
        name: one of TRACKERS.
        workdir: folder of the run.
        settings: dotted name -> value.
        report: takes a line about an error.

    Raises:
        UserError: as `check`; or the tracker cannot start.
    """
    check(name)
    if name == NONE:
        yield lambda step, values: None
        return
    stored = inputs.read_object(workdir / FILE, {"id": str}, missing=None)
    run_id = stored["id"] if stored else uuid.uuid4().hex[:12]
    tracker = importlib.import_module(name)
    options = {"project": PROJECT, "config": dict(settings), "resume": "allow"}
    if name == "wandb":
        quiet = tracker.Settings(silent=True, console="off")
        in_bucket = isinstance(workdir, storage.BucketPath)
        folder = tempfile.gettempdir() if in_bucket else str(workdir)
        options |= {"name": workdir.name, "id": run_id, "dir": folder, "settings": quiet}
    else:
        options |= {"name": f"{workdir.name}-{run_id}"}
    try:
        run = tracker.init(**options)
    except Exception as error:  # of any kind: no account, no network, a full disk
        raise UserError(
            f"config.log.tracker: {name} cannot start ({first_line(error)}); correct this, or set "
            f"--config.log.tracker={NONE}"
        ) from None
    if not stored:
        storage.write_json(workdir / FILE, {"id": run_id})
    failed = False

    def attempt(action: Callable[[], object]) -> None:
        nonlocal failed
        try:
            action()
        except Exception as error:
            if not failed:
                report(f"{name}: {first_line(error)}; the run goes on without it")
            failed = True

    try:
        yield lambda step, values: attempt(lambda: run.log(dict(values), step=step))
    finally:
        attempt(run.finish)
