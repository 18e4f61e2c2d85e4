"""Define what reads the damaged files: every reader of the project, on small valid files."""

import contextlib
import functools
import hashlib
import io
import json
import pathlib
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))  # tests/, for its fixtures

import finished_runs
import pyarrow
import pyarrow.parquet
from cli_fixtures import SMALL, Program

from gpt1_jax import registry
from gpt1_jax.analysis.report import page
from gpt1_jax.datasets import corpora, sources, tokens
from gpt1_jax.inputs import flatten
from gpt1_jax.interop import huggingface
from gpt1_jax.microworld import files as microworld
from gpt1_jax.registry import TASKS
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe
from gpt1_jax.trainers import config_checks
from gpt1_jax.trainers.ablation_runs import list_runs

# Why a reader may accept a changed file whose content is not the original.
TEXT = "its texts are free: the changed bytes are another valid text"
VALUES = "the changed value is valid"


class Target(NamedTuple):
    """Describe a reader and the valid files that it reads.

    Attributes:
        make: folder -> None, writes the valid files.
        read: folder -> a digest of what was read. Called with a copy of the folder in which one
            file is damaged. It may write below the folder.
        files: a glob pattern of the files to damage.
        accepts: the reason for which a changed content may be accepted; "" if it never may.
    """

    make: Callable[[pathlib.Path], None]
    read: Callable[[pathlib.Path], str]
    files: str = "**/*"
    accepts: str = ""


def digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def _world(folder: pathlib.Path) -> None:
    microworld.write(folder, words=3_000, train=12, dev=8)


def _task(name: str, pattern: str) -> Target:
    def read(folder):
        rows = [
            sources.load(TASKS[name], split, source="files", path=str(folder)).examples
            for split in ("train", *TASKS[name].validation)
        ]
        return digest(rows)

    return Target(_world, read, pattern, accepts=TEXT)


def _corpus(suffix: str) -> Target:
    def make(folder):
        _world(folder / "world")
        novel = next((folder / "world/novels").glob("*.txt")).read_text()
        shutil.rmtree(folder / "world")
        rows = [{"text": text} for text in novel.split("\n\n")[:40]]
        if suffix == ".txt":
            for number in range(3):
                (folder / f"{number}.txt").write_text(novel[number * 3_000 :][:3_000])
        elif suffix == ".jsonl":
            (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")

    def read(folder):
        (part,) = corpora.parts("text", str(folder), "text")
        return digest(["".join(chunks) for chunks in part.documents.read()])

    return Target(make, read, accepts=TEXT)


def _hub(suffix: str) -> Target:
    def make(folder):
        rows = [
            {"sentence": f"row {number}", "label": number % 2, "idx": number} for number in range(9)
        ]
        (folder / "sst2").mkdir()
        for split in ("train", "validation"):
            path = folder / "sst2" / f"{split}{suffix}"
            if suffix == ".parquet":
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
            else:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def read(folder):
        load = functools.partial(sources.load, TASKS["sst2"], source="hub", path=str(folder))
        return digest([load(split).examples for split in ("train", "validation")])

    return Target(make, read, accepts=TEXT)


def _cli(*arguments: str, text: str = "") -> str:
    """Run `gpt1` in this process and return its output.

    Raises:
        UserError: exit code 2 with one line.
    """
    from gpt1_jax.errors import UserError

    completed = Program.run(*arguments, text=text)
    if completed.code == 2 and completed.err.count("\n") == 1:
        raise UserError(completed.err)
    if completed.code:
        raise RuntimeError(f"exit code {completed.code}: {completed.err[-500:]}")
    return completed.out


@functools.cache
def _base() -> pathlib.Path:
    """Return a folder with a microworld, a pretraining run and a finetuning run on it."""
    folder = pathlib.Path.cwd() / "base"
    _world(folder / "world")
    settings = {name: value for name, value in SMALL.items() if name != "model.units"}
    settings |= {"data.path": folder / "world/novels", "data.validation": 0, "steps": 4}
    settings |= {"data.cache": folder / "cache", "eval.sample": 0, "checkpoint.every": 2}
    _cli(*Program.command("pretrain.py:tiny", folder / "pretrain", settings))
    settings = {"init.path": folder / "pretrain", "data.path": folder / "world"}
    settings |= {"batch_size": 4, "epochs": 1}
    _cli(*Program.command("finetune.py:sst2", folder / "finetune", settings))
    return folder


def _copy(name: str) -> Callable[[pathlib.Path], None]:
    return lambda folder: shutil.copytree(_base() / name, folder, dirs_exist_ok=True)


def _read_run(folder: pathlib.Path) -> str:
    run = reader.open_saved(str(folder), "--checkpoint")
    run.meta(run.step)
    values = run.params(run.step)
    return digest([sorted(values), reader.fingerprint.params_sha256(values), run.sizes, run.step])


def _tokenizer(folder: pathlib.Path) -> str:
    tokenizer = bpe.load(folder / "tokenizer.json")
    return digest(tokenizer.encode(["The queen of the old ship.", "xyz 17"]))


def _export(folder: pathlib.Path) -> None:
    huggingface.export_run(str(_base() / "pretrain"), str(folder / "model"))


def _import(folder: pathlib.Path) -> str:
    huggingface.import_run(str(folder / "model"), str(folder / "run"))
    return _read_run(folder / "run")


def _write_cache(folder: pathlib.Path) -> None:
    _read_cache(folder)


def _read_cache(folder: pathlib.Path) -> str:
    (part,) = corpora.parts("text", str(_base() / "world/novels"), "text")
    tokenizer = bpe.load(_base() / "pretrain/tokenizer.json")
    with contextlib.redirect_stderr(io.StringIO()):
        corpus = tokens.prepare(
            part.documents, tokenizer, rewrap_lines=False, validation=0.0, cache=str(folder)
        )
    return digest({name: ids.tobytes() for name, ids in corpus.splits.items()})


def _resume(folder: pathlib.Path) -> str:
    """Repeat the command of a finished pretraining run whose result is not written yet."""
    (folder / "result.json").unlink(missing_ok=True)
    settings = {name: value for name, value in SMALL.items() if name != "model.units"}
    base = _base()
    settings |= {"data.path": base / "world/novels", "data.validation": 0, "steps": 4}
    settings |= {"data.cache": base / "cache", "eval.sample": 0, "checkpoint.every": 2}
    _cli(*Program.command("pretrain.py:tiny", folder, settings))
    return json.loads((folder / "result.json").read_text())["params_sha256"]


# Config -> settings to change, with valid values.
SETTINGS = {
    "pretrain.py:tiny": SMALL
    | {"seed": 0, "optim.lr": 1e-3, "optim.b2": 0.9, "optim.eps": 1e-8}
    | {"data.path": "books", "data.column": "text", "data.validation": 0.1, "backend": "pmap"}
    | {"model.dtype": "float32", "checkpoint.keep_steps": [1, 2], "log.profile": [1, 2]},
    "finetune.py:rte": {"epochs": 1, "batch_size": 4, "lm_coef": 0.5, "init.layers": 1, "seed": 0}
    | {"init.step": 1, "init.path": "run", "data.path": "glue", "data.source": "files"}
    | {"data.examples": 10, "data.max_bad_rows": 1, "optim.warmup_fraction": 0.1},
    "zero_shot.py": {"batch_size": 4, "tasks": ["sst2"], "sst2.words": ["good", "bad"]}
    | {"start": "newline", "ceilings.sst2": 1.0, "init.path": "run", "data.path": "glue"},
    "ablations.py:quick": {"seeds": 1, "tasks": ["rte"], "shard": "1/2", "workers": 1}
    | {"world.words": 1000, "world.seed": 0, "finetune.epochs": 1, "experiments.table5.seeds": 2}
    | {"experiments.transfer.levels": [0, 1], "pretrained.lstm": "", "pretrain.lstm.steps": 5},
}


def _settings(config: str) -> Target:
    def make(folder):
        settings = {name: v for name, v in SETTINGS[config].items() if name != "model.units"}
        lines = [f"{name}={value}" for name, value in settings.items()]
        (folder / "flags").write_text("\n".join(lines))

    def read(folder):
        lines = (folder / "flags").read_text().split("\n")
        settings = dict(line.partition("=")[::2] for line in lines)
        command = Program.command(config, pathlib.Path("workdir"), settings)
        seen = []

        def check(values, path):
            config_checks.check(values)
            if values.trainer == "ablate":
                list_runs(values, path)
            seen.append(sorted(flatten(values.to_dict()).items()))

        trainers = dict.fromkeys(("pretrain", "finetune", "zero_shot", "ablate"), check)
        with mock.patch.object(registry, "TRAINERS", trainers):  # nothing is trained
            _cli(*command)
        return digest(seen)

    return Target(make, read, accepts=VALUES)


def _write_sampling(folder: pathlib.Path) -> None:
    settings = {"length": 3, "temperature": 1.0, "top_k": 5, "top_p": 0.9, "seed": 0, "samples": 2}
    lines = [f"{name}={value}" for name, value in settings.items()]
    (folder / "flags").write_text("\n".join(lines))


def _sample(folder: pathlib.Path) -> str:
    flags = [f"--{line}" for line in (folder / "flags").read_text().split("\n")]
    return digest(_cli("sample", f"--checkpoint={_base() / 'pretrain'}", "--prompt=a", *flags))


def _predict_input(folder: pathlib.Path) -> None:
    lines = [f"a text of row {number}\n" for number in range(20)]
    (folder / "input.tsv").write_text("".join(lines))


def _predict(folder: pathlib.Path) -> str:
    run = _base() / "finetune"
    return digest(_cli("predict", f"--checkpoint={run}", f"--input={folder / 'input.tsv'}"))


def _write_study(folder: pathlib.Path) -> None:
    for seed in range(2):
        for variant in ("full", "lstm"):
            finished_runs.write_finetuning_run(
                folder / f"rte_{variant}_{seed}", "rte", seed, finished_runs.SKILL[variant]
            )
    points = [
        finished_runs.point(variant, "rte", None, seed, f"rte_{variant}_{seed}")
        for seed in range(2)
        for variant in ("full", "lstm")
    ]
    cells = {"experiments": {"table5": {"setting": "", "points": points}}}
    (folder / "cells.json").write_text(json.dumps(cells))
    (folder / "config.json").write_text(json.dumps({"trainer": "ablate"}))


def _report(folder: pathlib.Path) -> str:
    before = {path for path in folder.parent.rglob("*") if folder not in path.parents}
    report = page.write(folder)
    outside = {path for path in folder.parent.rglob("*") if folder not in path.parents} - before
    assert not outside, f"written outside the folder: {outside}"
    return digest(report.read_text())


TARGETS: Mapping[str, Target] = {
    **{f"corpus of {suffix}": _corpus(suffix) for suffix in (".txt", ".jsonl", ".parquet")},
    "cola": _task("cola", "CoLA/*.tsv"),
    "sst2": _task("sst2", "SST-2/*.tsv"),
    "mrpc": _task("mrpc", "MRPC/*.tsv"),
    "stsb": _task("stsb", "STS-B/*.tsv"),
    "mnli": _task("mnli", "MNLI/*.tsv"),
    "rte": _task("rte", "RTE/*.tsv"),
    "snli": _task("snli", "snli_1.0/*.txt"),
    "scitail": _task("scitail", "SciTailV1.1/*/*.tsv"),
    "race": _task("race", "RACE/*/*/*.txt"),
    "story cloze": _task("story_cloze_2016", "StoryCloze/*.csv"),
    "hub copy of .parquet": _hub(".parquet"),
    "hub copy of .jsonl": _hub(".jsonl"),
    "tokenizer.json": Target(
        lambda folder: shutil.copy(_base() / "pretrain/tokenizer.json", folder),
        _tokenizer,
        accepts=VALUES,
    ),
    "folder of transformers": Target(_export, _import, "model/*", accepts=VALUES),
    "token cache": Target(_write_cache, _read_cache, "tokens/**/*"),
    "files of a run": Target(_copy("finetune"), _read_run, "*.json", accepts=VALUES),
    "checkpoint that is read": Target(_copy("pretrain"), _read_run, "checkpoints/4/**/*"),
    "checkpoint that is resumed": Target(_copy("pretrain"), _resume, "checkpoints/4/**/*"),
    **{f"settings of {config}": _settings(config) for config in SETTINGS},
    "flags of sample": Target(_write_sampling, _sample, accepts=VALUES),
    "input of predict": Target(_predict_input, _predict, accepts=TEXT),
    "study that is reported": Target(_write_study, _report, accepts=VALUES),
}
