"""Predictions of finished runs as the zip that the GLUE server takes.

gpt1 submit --output=submission.zip runs/exp_cola runs/exp_mnli ...
"""

import pathlib
import zipfile
from collections.abc import Sequence

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

NAMES = ("CoLA", "SST-2", "MRPC", "STS-B", "MNLI-m", "MNLI-mm", "QNLI", "QQP", "RTE", "WNLI", "AX")


def write(
    output: pathlib.Path, runs: Sequence[pathlib.Path], *, partial: bool = False
) -> list[str]:
    """Writes the zip, whole or not at all, and gives the names of its files.

    A file has the header index, prediction; its rows are those of the published test set, in its order, whatever the order in
    which a source gave them. Labels are written as GLUE's files write them, graded scores as numbers.

    Args:
        runs: folders of finished finetuning runs whose data had a test split.
        partial: allow that tasks are missing; the server then refuses the zip, but a person may look at it.
    Raises:
        UserError: a run is not a finished one of a GLUE task, or has no predictions of the test split, not as many as the published
            one has rows, or not of the published indices; two runs give the same file; a file is missing.
    """
    files, origin = {}, {}
    for run in runs:
        for name, content in _files(run).items():
            if name in files:
                raise UserError(
                    f"{run}: gives {name}.tsv, as {origin[name]} does; name one run a task"
                )
            files[name], origin[name] = content, run
    missing = [name for name in NAMES if name not in files]
    if missing and not partial:
        raise UserError(
            f"{output}: no run gives {', '.join(missing)}; finetune those tasks too, or set --partial to leave them out"
        )
    if not files:
        raise UserError(f"{output}: no run is named; give folders of finetuning runs")
    try:
        with (
            storage.atomic_writer(output, binary=True) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in filter(files.__contains__, NAMES):
                archive.writestr(f"{name}.tsv", files[name])
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror or error}); name another file"
        ) from None
    return [f"{name}.tsv" for name in NAMES if name in files]


def _files(run: pathlib.Path) -> dict[str, str]:
    """GLUE's file names -> their content, for a run's task and its diagnostics."""
    result = storage.read_json(
        run / "result.json", hint=f"name the folder of a finished finetuning run, not {run}"
    )
    if result.get("trainer") != "finetune":
        raise UserError(f"{run}: is a run of {result.get('trainer')}; name one of finetuning")
    task = TASKS[result["task"]]
    if not task.submission:
        raise UserError(f"{run}: its task {task.name} is not one of GLUE's")
    entries = [(task, split, split) for split in task.submission]
    entries += [(TASKS[name], "test", name) for name in task.diagnostics]
    found = {}
    for entry, split, stem in entries:
        file = run / "predictions" / f"{stem}.tsv"
        if not file.is_file():
            raise UserError(
                f"{file}: not there; finetune again where the data has {entry.name}'s split {split}"
            )
        found[entry.submission[split]] = _table(entry, split, file)
    return found


def _table(task, split: str, file: pathlib.Path) -> str:
    """One file of a submission out of one of predictions."""
    header, *lines = file.read_text(encoding="utf-8").splitlines()
    if len(lines) != task.sizes[split]:
        raise UserError(
            f"{file}: {len(lines)} rows, but GLUE's test set of {task.name} has {task.sizes[split]}; predict the whole of it"
        )
    columns = header.split("\t")
    identity, place = columns.index("index"), columns.index("prediction")
    answers = {cells[identity]: cells[place] for cells in (line.split("\t") for line in lines)}
    indices = list(map(str, range(len(lines))))
    if answers.keys() != set(indices):
        raise UserError(
            f"{file}: its indices are not 0 to {len(lines) - 1}, each once; predict a copy that keeps GLUE's own"
        )
    spelt = dict(zip(task.labels, task.files[0].written or task.labels, strict=True))
    rows = (
        f"{index}\t{f'{float(answers[index]):.3f}' if task.bins else spelt[answers[index]]}\n"
        for index in indices
    )
    return "index\tprediction\n" + "".join(rows)
