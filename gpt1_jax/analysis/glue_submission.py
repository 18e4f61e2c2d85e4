"""Write the predictions of finished runs as the zip file that the GLUE server takes.

gpt1 submit --output=submission.zip runs/exp_cola runs/exp_mnli ...
"""

import zipfile
from collections.abc import Mapping, Sequence

from gpt1_jax import inputs, storage
from gpt1_jax.errors import UserError, first_line
from gpt1_jax.registry import TASKS

NAMES = ("CoLA", "SST-2", "MRPC", "STS-B", "MNLI-m", "MNLI-mm", "QNLI", "QQP", "RTE", "WNLI", "AX")


def write(
    output: storage.Path, runs: Sequence[storage.Path], *, partial: bool = False
) -> list[str]:
    """Write the zip file atomically and return the names of its files.

    A file has the columns index and prediction, and the rows of the published test set in their
    order, whatever the order of the run's data source. Labels have the spelling of GLUE's files.
    Graded scores are numbers.

    Args:
        output: the path of the zip file.
        runs: folders of finished finetuning runs whose data had a test split.
        partial: allow missing tasks. The server refuses such a zip file; it is for inspection.

    Raises:
        UserError: a run is not a finished run of a GLUE task, lacks predictions of the test split,
            or its predictions do not have the published number of rows and indices. Also if two
            runs give the same file, a file is missing, or the zip file cannot be written.
    """
    files, runs_by_file = {}, {}
    for run in runs:
        for name, content in _files(run).items():
            if name in files:
                raise UserError(
                    f"{run}: gives {name}.tsv, but {runs_by_file[name]} gives it, too; "
                    "name one run for each task"
                )
            files[name], runs_by_file[name] = content, run
    missing = [name for name in NAMES if name not in files]
    if missing and not partial:
        raise UserError(
            f"{output}: no run gives {', '.join(missing)}; "
            "finetune on those tasks too, or set --partial to leave them out"
        )
    if not files:
        raise UserError(f"{output}: no run is named; give folders of finetuning runs")
    files = {f"{name}.tsv": files[name] for name in NAMES if name in files}
    _write_zip(output, files)
    return list(files)


def _write_zip(output: storage.Path, files: Mapping[str, str]) -> None:
    try:
        with (
            storage.atomic_writer(output, binary=True) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, content in files.items():
                archive.writestr(name, content)
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror or error}); name another file"
        ) from None


def _files(run: storage.Path) -> dict[str, str]:
    """Return file name in the zip file -> content, for the run's task and its diagnostic tasks."""
    file = run / "result.json"
    hint = f"name the folder of a finished finetuning run, not {run}"
    result = inputs.read_object(file, {"trainer": str}, hint=hint)
    if result["trainer"] != "finetune":
        raise UserError(f"{run}: is a run of {result['trainer']}; name a finetuning run")
    inputs.check_fields(result, {"task": str}, str(file))
    task = TASKS[result["task"]]
    if not task.submission:
        raise UserError(
            f"{run}: its task {task.name} is not a GLUE task; name a run of a GLUE task"
        )
    entries = [(task, split, split) for split in task.submission]
    entries += [(TASKS[name], "test", name) for name in task.diagnostics]
    files = {}
    for entry, split, stem in entries:
        path = run / "predictions" / f"{stem}.tsv"
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; finetune again with data that has the split {split} of "
                f"{entry.name}"
            )
        files[entry.submission[split]] = _submission_file(entry, split, path)
    return files


def _submission_file(task, split: str, path: storage.Path) -> str:
    """Return one file of the submission, made from one file of predictions.

    Raises:
        UserError: the file is not a table of predictions of the test set.
    """
    try:
        return _convert(task, split, path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"{path}: is not a table of predictions for {task.name} ({first_line(error)}); "
            "finetune again"
        ) from None


def _convert(task, split: str, path: storage.Path) -> str:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) != task.sizes[split]:
        raise UserError(
            f"{path}: {len(lines)} rows, but GLUE's test set of {task.name} has "
            f"{task.sizes[split]}; finetune again with the whole test set"
        )
    columns = header.split("\t")
    index_column, prediction_column = columns.index("index"), columns.index("prediction")
    rows = [line.split("\t") for line in lines]
    predictions = {row[index_column]: row[prediction_column] for row in rows}
    indices = [str(index) for index in range(len(rows))]
    if predictions.keys() != set(indices):
        raise UserError(
            f"{path}: the indices are not 0 to {len(rows) - 1}, each once; "
            "finetune again with a copy that keeps GLUE's indices"
        )
    if task.bins:
        texts = {index: f"{float(score):.3f}" for index, score in predictions.items()}
    else:
        spelling = dict(zip(task.labels, task.files[0].label_names or task.labels, strict=True))
        texts = {index: spelling[label] for index, label in predictions.items()}
    return "index\tprediction\n" + "".join(f"{index}\t{texts[index]}\n" for index in indices)
