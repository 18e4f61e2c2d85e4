"""Mistakes of a user, through the real command line: each ends in one line that says what to do, exit code 2, and nothing left behind."""

import fcntl
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_fixtures import Ended


class Bad(NamedTuple):
    """A mistake.

    Attributes:
        says: what the line must hold.
        settings: by dotted name; they replace those of a sound run. "{here}" is the case's own folder: copies of the books and of the
            tasks' folders, and of a pretrained run where `files` or `spoil` need one.
        files: path in that folder -> content.
        spoil: does what files cannot, in that folder.
        config: the file of configs/ and its picks.
        more: further arguments.
    """

    says: tuple[str, ...]
    settings: Mapping[str, object] = {}
    files: Mapping[str, bytes] = {}
    spoil: Callable[[Path], object] | None = None
    config: str = "pretrain.py:tiny"
    more: tuple[str, ...] = ()


def sst2(*says, **parts):
    return Bad(says, **parts, config="finetune.py:sst2")


def probe(*says, **parts):
    return Bad(says, **parts, config="zero_shot.py")


def pretrain(*says, **parts):
    return Bad(says, **parts)


def swap_two_ids(tokenizer: Path):
    content = json.loads(tokenizer.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["ship</w>"], vocabulary["sea</w>"] = vocabulary["sea</w>"], vocabulary["ship</w>"]
    tokenizer.write_text(json.dumps(content))


def damage(run: Path, step: int):
    """Flips a bit in every data file of the params of a checkpoint."""
    for file in (run / f"checkpoints/{step}/params").rglob("d/*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


TSV = b"sentence\tlabel\na good film\t1\na dull film\t0\n"

MISTAKES = {
    # What is typed.
    "config typo": pretrain("config", "'lrr'", 'Did you mean "lr"', settings={"optim.lrr": 1}),
    "section unknown": pretrain("config", "optin", settings={"optin.lr": 1}),
    "a word for a number": pretrain("--config.steps=many", settings={"steps": "many"}),
    "a fraction for a whole number": pretrain("--config.steps=1.5", settings={"steps": 1.5}),
    "a number for a switch": pretrain(
        "--config.data.rewrap_lines=7", settings={"data.rewrap_lines": 7}
    ),
    "a value for a section": pretrain("config.optim", settings={"optim": 3}),
    "a word in a tuple": pretrain(
        "config.checkpoint.keep_steps", settings={"checkpoint.keep_steps": "(a,)"}
    ),
    "positional setting": pretrain("lr=1", "--config.NAME=VALUE", more=("lr=1",)),
    "unknown flag": pretrain("'workdri'", "workdir", more=("--workdri=x",)),
    "unknown choice of a flag": pretrain("--multihost", "on|off", more=("--multihost=maybe",)),
    "a value that no cell could have": Bad(
        ("config.finetune.lm_coef", "-1"),
        config="ablations.py:quick",
        settings={"finetune.lm_coef": -1},
    ),
    "a value that no pretraining could have": Bad(
        ("config.pretrain.lstm.steps", "0"),
        config="ablations.py",
        settings={"pretrain.lstm.steps": 0},
    ),
    "no seeds": Bad(("config.seeds", "0"), config="ablations.py:quick", settings={"seeds": 0}),
    "no part": Bad(
        ("config.shard", "'9/8'"), config="ablations.py:quick", settings={"shard": "9/8"}
    ),
    "unknown pick": Bad(("--config", "'tyni'", "tiny"), config="pretrain.py:tyni"),
    "two sizes": Bad(("--config", "'tiny'", "'small'", "exclude"), config="pretrain.py:tiny,small"),
    "missing config file": Bad(("--config", "configs/pretain.py:tiny"), config="pretain.py:tiny"),
    "a config that is none": Bad(("--config", "pyproject.toml"), config="../pyproject.toml"),
    "trainer unknown": pretrain(
        "no trainer", "'pretrian'", "pretrain", settings={"trainer": "pretrian"}
    ),
    "corpus unknown": pretrain("no corpus", "'txt'", "text", settings={"data.corpus": "txt"}),
    "model unknown": pretrain("no model", "'gpt'", "transformer", settings={"model.name": "gpt"}),
    "model of another section": pretrain(
        "config.model", "lstm", "heads", settings={"model.name": "lstm"}
    ),
    "task unknown": sst2("no task", "'sst'", "sst2", settings={"task": "sst"}),
    "source unknown": sst2(
        "config.data.source", "'cloud'", "files", settings={"data.source": "cloud"}
    ),
    "task without a split to train on": sst2(
        "config.task: ax", "only predicted or probed", settings={"task": "ax"}
    ),
    "task that is only probed": sst2(
        "config.task: dprd", "only predicted or probed", settings={"task": "dprd"}
    ),
    "regression on classes": sst2(
        "config.regression", "sst2 has classes", settings={"regression": True}
    ),
    "hub out of reach for a task": sst2(
        "nyu-mll/glue", "OFFLINE", "parquet", settings={"data.source": "hub", "data.path": ""}
    ),
    "folder that is no copy of the hub's": sst2(
        "{here}/books", "sst2", settings={"data.source": "hub", "data.path": "{here}/books"}
    ),
    "no TFDS": sst2(
        "{here}/books",
        "glue/sst2",
        "array_record",
        settings={"data.source": "tfds", "data.path": "{here}/books"},
    ),
    "backend unknown": pretrain("config.backend", "'xmap'", "pmap", settings={"backend": "xmap"}),
    "dtype unknown": pretrain(
        "config.model.dtype", "'float99'", "bfloat16", settings={"model.dtype": "float99"}
    ),
    # Numbers that cannot be.
    "no steps": pretrain("config.steps", "0", settings={"steps": 0}),
    "no epochs": sst2("config.epochs", "0", settings={"epochs": 0}),
    "no batch": pretrain("config.batch_size", "0", settings={"batch_size": 0}),
    "batch that the devices cannot share": pretrain(
        "config.batch_size: 5", "2 devices", "multiple of 2", settings={"batch_size": 5}
    ),
    "batch that cannot be accumulated": pretrain(
        "config.batch_size: 4", "accumulate=3", "multiple of 6", settings={"optim.accumulate": 3}
    ),
    "accumulate nothing": pretrain(
        "config.optim.accumulate", "0", settings={"optim.accumulate": 0}
    ),
    "batch larger than the corpus": pretrain(
        "config.batch_size: 4000", settings={"batch_size": 4000}
    ),
    "batch larger than the task": sst2(
        "config.batch_size: 16", "12 examples", settings={"batch_size": 16}
    ),
    "negative rate": pretrain("config.optim.lr", "-0.1", settings={"optim.lr": -0.1}),
    "rate that is no number": pretrain("config.optim.lr", "nan", settings={"optim.lr": "nan"}),
    "beta of one": pretrain("config.optim.b2", "1.0", settings={"optim.b2": 1.0}),
    "no clip": pretrain("config.optim.clip", "0", settings={"optim.clip": 0}),
    "negative warmup": pretrain(
        "config.optim.warmup_steps", "-1", settings={"optim.warmup_steps": -1}
    ),
    "dropout of everything": pretrain(
        "config.model.embd_dropout", "1.0", settings={"model.embd_dropout": 1.0}
    ),
    "dropout of the classifier": sst2("config.clf_dropout", "-0.5", settings={"clf_dropout": -0.5}),
    "negative lm_coef": sst2("config.lm_coef", "-1", settings={"lm_coef": -1}),
    "negative seed": pretrain("config.seed", "-1", settings={"seed": -1}),
    "negative examples": sst2("config.data.examples", "-5", settings={"data.examples": -5}),
    "heads": pretrain(
        "config.model.heads: 3", "config.model.width=16", settings={"model.heads": 3}
    ),
    "no width": pretrain("config.model.width", "0", settings={"model.width": 0}),
    "checkpoint never": pretrain("config.checkpoint.every", "0", settings={"checkpoint.every": 0}),
    "keep nothing": pretrain("config.checkpoint.keep", "0", settings={"checkpoint.keep": 0}),
    "log never": pretrain("config.log.every", "0", settings={"log.every": 0}),
    "evaluate never": pretrain("config.eval.every", "0", settings={"eval.every": 0}),
    "hold out all": pretrain("config.data.validation", "1.5", settings={"data.validation": 1.5}),
    "context too short for the format": sst2(
        "config.model.context", "4", settings={"model.context": 4}
    ),
    # Books.
    "no path": pretrain("config.data.path", settings={"data.path": ""}),
    "missing folder": pretrain(
        "config.data.path", "{here}/absent", settings={"data.path": "{here}/absent"}
    ),
    "folder without books": pretrain(
        "config.data.path",
        "{here}/run",
        files={"run/book.pdf": b"%"},
        settings={"data.path": "{here}/run"},
    ),
    "empty book": pretrain("{here}/books/void.txt", "empty", files={"books/void.txt": b" \n"}),
    "book that is not UTF-8": pretrain(
        "{here}/books/cafe.txt", "byte 3", "UTF-8", files={"books/cafe.txt": b"caf\xe9"}
    ),
    "row that is not JSON": pretrain(
        "{here}/books/a.jsonl:2", files={"books/a.jsonl": b'{"text": "a"}\n{"text": \n'}
    ),
    "row without the field": pretrain(
        "{here}/books/a.jsonl:1",
        "'text'",
        "config.data.column",
        files={"books/a.jsonl": b'{"story": "a"}'},
    ),
    "no parquet": pretrain("{here}/books/a.parquet", files={"books/a.parquet": b"text"}),
    "half a character": pretrain(
        "{here}/books/a.jsonl:1", "surrogate", files={"books/a.jsonl": b'{"text": "\\ud83d"}'}
    ),
    "hub out of reach": pretrain(
        "owner/name", "HF_HUB_OFFLINE", settings={"data.corpus": "hub", "data.path": "owner/name"}
    ),
    "bookcorpusopen out of reach": pretrain(
        "lucadiliello", "README.md", settings={"data.corpus": "bookcorpusopen", "data.path": ""}
    ),
    "no name of the hub": pretrain(
        "'name'", "owner/name", settings={"data.corpus": "hub", "data.path": "name"}
    ),
    "local copy without data": pretrain(
        "config.data.path: {here}/run",
        files={"run/x.xyz": b"%"},
        settings={"data.corpus": "hub", "data.path": "{here}/run"},
    ),
    "local copy without the column": pretrain(
        "config.data.column",
        "'text'",
        "story",
        files={"c/a.jsonl": b'{"story": "a"}'},
        settings={"data.corpus": "hub", "data.path": "{here}/c"},
    ),
    "TFDS not prepared": pretrain(
        "config.data.path",
        "pg19/<version>",
        "array_record",
        settings={"data.corpus": "pg19", "data.path": "{here}/books"},
    ),
    "mixture without weights": pretrain(
        "'text:DIR'", "WEIGHT*CORPUS", settings={"data.corpus": "mixture", "data.path": "text:DIR"}
    ),
    "part of no weight": pretrain(
        "'0*text:DIR'", "above 0", settings={"data.corpus": "mixture", "data.path": "0*text:DIR"}
    ),
    "part of hardly any weight": pretrain(
        "config.data.path",
        "1e-05",
        settings={
            "data.corpus": "mixture",
            "data.path": "1*text:{here}/books,1e-5*text:{here}/books",
        },
    ),
    "part of an unknown corpus": pretrain(
        "no corpus", "'txt'", settings={"data.corpus": "mixture", "data.path": "1*txt:DIR"}
    ),
    "part shorter than a window": pretrain(
        "training part text2",
        files={"s/a.txt": b"a ship", "s/b.txt": b"a sea"},
        settings={
            "data.corpus": "mixture",
            "data.path": "1*text:{here}/books,1*text:{here}/s",
            "data.validation": 0.5,
        },
    ),
    "one document": pretrain(
        "config.data.validation", "1 documents", settings={"data.path": "{here}/books/book_0.txt"}
    ),
    "corpus shorter than a window": pretrain(
        "config.batch_size",
        files={"s/a.txt": b"a ship", "s/b.txt": b"a sea"},
        settings={"data.path": "{here}/s"},
    ),
    "vocabulary too small": pretrain(
        "config.tokenizer.vocab_size: 20", "more than", settings={"tokenizer.vocab_size": 20}
    ),
    "missing tokenizer": pretrain("{here}/t.json", settings={"tokenizer.path": "{here}/t.json"}),
    "a tokenizer that is none": pretrain(
        "{here}/t.json",
        "tokenizer.json",
        files={"t.json": b"{}"},
        settings={"tokenizer.path": "{here}/t.json"},
    ),
    "cache that cannot be written": pretrain(
        "config.data.cache", settings={"data.cache": "{here}/books/book_0.txt"}
    ),
    # Tasks.
    "missing tasks": sst2(
        "config.data.path", "absent", "SST-2/train.tsv", settings={"data.path": "{here}/absent"}
    ),
    "missing split": sst2(
        "SST-2/dev.tsv", spoil=lambda here: (here / "glue/SST-2/dev.tsv").unlink()
    ),
    "empty table": sst2(
        "{here}/glue/SST-2/train.tsv", "empty", files={"glue/SST-2/train.tsv": b""}
    ),
    "table without rows": sst2(
        "{here}/glue/SST-2/train.tsv", "no rows", files={"glue/SST-2/train.tsv": TSV[:15]}
    ),
    "missing column": sst2(
        "{here}/glue/SST-2/train.tsv",
        "'sentence'",
        files={"glue/SST-2/train.tsv": TSV.replace(b"sent", b"sess")},
    ),
    "row with a tab too many": sst2(
        "{here}/glue/SST-2/train.tsv:4",
        "3 tab-separated",
        "2 expected",
        files={"glue/SST-2/train.tsv": TSV + b"a\tb\t1\n"},
    ),
    "row cut short": sst2(
        "{here}/glue/SST-2/dev.tsv:4",
        "1 tab-separated",
        files={"glue/SST-2/dev.tsv": TSV + b"a film"},
    ),
    "unknown label": sst2(
        "{here}/glue/SST-2/train.tsv:4",
        "'2'",
        "0, 1",
        files={"glue/SST-2/train.tsv": TSV + b"a film\t2\n"},
    ),
    "table that is not UTF-8": sst2(
        "{here}/glue/SST-2/train.tsv:4",
        "UTF-8",
        files={"glue/SST-2/train.tsv": TSV + b"caf\xe9\t1\n"},
    ),
    "score out of range": Bad(
        ("{here}/glue/STS-B/dev.tsv:3", "'5.5'"),
        files={"glue/STS-B/dev.tsv": b"sentence1\tsentence2\tscore\na\tb\t5\na\tb\t5.5\n"},
        config="finetune.py:stsb",
    ),
    # The run to start from.
    "no run": sst2("config.init.path", "empty", settings={"init.path": ""}),
    "missing run": sst2("{here}/absent", settings={"init.path": "{here}/absent"}),
    "folder without a run": sst2("{here}/books", settings={"init.path": "{here}/books"}),
    "run without a checkpoint": sst2(
        "{here}/run", "checkpoint", spoil=lambda here: shutil.rmtree(here / "run/checkpoints")
    ),
    "run of another body": Bad(
        ("config.init.path", "transformer", "lstm"), config="finetune.py:sst2,lstm"
    ),
    "run that is no pretraining": sst2(
        "config.init.path",
        "finetune",
        files={"run/config.json": b'{"trainer": "finetune", "model": {"name": "transformer"}}'},
    ),
    "run with a damaged configuration": sst2(
        "{here}/run/config.json", "JSON", files={"run/config.json": b"{"}
    ),
    "update without a checkpoint": sst2(
        "config.init.step", "7", "[10, 20]", settings={"init.step": 7}
    ),
    "more blocks than there are": sst2(
        "config.init.layers: 3", "2 blocks", settings={"init.layers": 3}
    ),
    "fewer than no blocks": sst2("config.init.layers: -2", "-1", settings={"init.layers": -2}),
    "another width": sst2(
        "config.init.path", "in the checkpoint", "config.model", settings={"model.width": 32}
    ),
    "another depth": sst2("config.init.path", "h1", "no place", settings={"model.layers": 1}),
    "another inner width": sst2("config.init.path", "h0/mlp/c_fc", settings={"model.ffn": 32}),
    "swapped tokenizer": sst2(
        "{here}/run/tokenizer.json",
        "restore",
        spoil=lambda here: swap_two_ids(here / "run/tokenizer.json"),
    ),
    "damaged checkpoint": sst2(
        "{here}/run/checkpoints/20/params", "damaged", spoil=lambda here: damage(here / "run", 20)
    ),
    # Probes.
    "no run to probe": probe("config.init.path", "empty", settings={"init.path": ""}),
    "run to probe that is no pretraining": probe(
        "config.init.path",
        "finetune",
        files={"run/config.json": b'{"trainer": "finetune", "model": {"name": "transformer"}}'},
    ),
    "run to probe without a checkpoint": probe(
        "{here}/run", "checkpoint", spoil=lambda here: shutil.rmtree(here / "run/checkpoints")
    ),
    "run to probe with a swapped tokenizer": probe(
        "{here}/run/tokenizer.json",
        "restore",
        spoil=lambda here: swap_two_ids(here / "run/tokenizer.json"),
    ),
    "damaged checkpoint to probe": probe(
        "{here}/run/checkpoints/10/params", "damaged", spoil=lambda here: damage(here / "run", 10)
    ),
    "probe unknown": probe(
        "config.tasks", "'rte'", "cola, sst2", settings={"tasks": "('cola','rte')"}
    ),
    "probe without data": probe("RACE/dev", settings={"tasks": "('cola','race')"}),
    "nothing to probe": probe(
        "config.data.path", "cola", "{here}/books", settings={"data.path": "{here}/books"}
    ),
    "no folder to probe": probe(
        "config.data.path", "absent", settings={"data.path": "{here}/absent"}
    ),
    "twice the same word": probe(
        "config.sst2.words", "two different words", settings={"sst2.words": "('old','old')"}
    ),
    "one word": probe(
        "config.sst2.words", "two different words", settings={"sst2.words": "('old',)"}
    ),
    "words of the same tokens": probe(
        "config.sst2.words", "same tokens", settings={"sst2.words": "('old','Old ')"}
    ),
    "ceiling that is chance": probe(
        "config.ceilings.sst2: 0.5", "0.5", settings={"ceilings.sst2": 0.5}
    ),
    "ceiling above all": probe("config.ceilings.cola", "up to 1", settings={"ceilings.cola": 93.2}),
    "sentence without its pronoun": probe(
        "dprd test, row 1: no word 'it'",
        "max_bad_rows",
        files={
            "glue/definite_pronoun_resolution/test.c.txt": b"a saw b, it ran.\nit\na,b\na\n\na saw b.\nit\na,b\na\n"
        },
    ),
    "all probes dropped": probe(
        "dprd test",
        "no row is left",
        files={"glue/definite_pronoun_resolution/test.c.txt": b"a saw b.\nit\na,b\na\n"},
        settings={"data.max_bad_rows": 1},
    ),
    # The run's own folder.
    "folder below a file": pretrain(
        "--workdir", "cannot write", more=("--workdir={here}/books/book_0.txt/run",)
    ),
    "folder that is a file": pretrain(
        "--workdir", "cannot write", more=("--workdir={here}/books/book_0.txt",)
    ),
    "folder in a bucket": pretrain(
        "--workdir", "gs://bucket/run", "mount", more=("--workdir=gs://bucket/run",)
    ),
    "folder that cannot be written": pretrain(
        "--workdir", "cannot write", more=("--workdir=/proc/run",)
    ),
}


@pytest.fixture
def arguments(gpt1, books, glue, pretrained, pretraining, finetuning, probing, tmp_path):
    """bad -> the command line with that mistake, in a folder where all but the mistake is sound."""

    def make(bad: Bad) -> list[str]:
        shutil.copytree(books, tmp_path / "books")
        shutil.copytree(glue, tmp_path / "glue")
        sound = pretraining() | {"data.path": tmp_path / "books"}
        if "ablations" in bad.config:
            sound = {}
        if "finetune" in bad.config or "zero_shot" in bad.config:
            shutil.copytree(pretrained(), tmp_path / "run")
            sound = (finetuning() if "finetune" in bad.config else probing()) | {
                "data.path": tmp_path / "glue",
                "init.path": tmp_path / "run",
            }
        for name, content in bad.files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        if bad.spoil:
            bad.spoil(tmp_path)
        filled = [gpt1.command(bad.config, tmp_path / "new", sound | bad.settings), bad.more]
        return [
            argument.replace("{here}", str(tmp_path))
            for arguments in filled
            for argument in arguments
        ]

    return make


def assert_refused(ended, *says):
    assert ended.code == 2, ended
    assert ended.err.startswith("gpt1_jax: ") and ended.err.count("\n") == 1, ended.err
    for words in says:
        assert words in ended.err


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_ends_in_one_line(name, gpt1, arguments, tmp_path):
    bad = MISTAKES[name]
    ended = gpt1.run(*arguments(bad))
    assert_refused(ended, *(words.replace("{here}", str(tmp_path)) for words in bad.says))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["config typo", "missing folder", "damaged checkpoint"])
def test_process_says_one_line_and_exits_with_2(name, gpt1, arguments, tmp_path):
    process = gpt1.start(*arguments(MISTAKES[name]))
    out, err = process.communicate(timeout=60)
    assert_refused(Ended(process.returncode, out, err))


def test_corrected_command_runs_in_the_same_folder(gpt1, pretraining, tmp_path):
    (tmp_path / "note").touch()
    for mistake in (
        {"data.path": tmp_path / "absent"},
        {"tokenizer.vocab_size": 20},
        {"batch_size": 4000},
    ):
        assert_refused(
            gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path, pretraining() | mistake))
        )
        assert [file.name for file in tmp_path.iterdir()] == ["note"]
    gpt1.result("pretrain.py:tiny", tmp_path, pretraining())


@pytest.fixture
def used(pretrained, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(pretrained(), tmp_path / "used")


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_in_a_used_folder(finished, gpt1, pretraining, used):
    if not finished:
        (used / "result.json").unlink()
    before = {file: file.read_bytes() for file in used.rglob("*") if file.is_file()}
    ended = gpt1.run(
        *gpt1.command("pretrain.py:tiny", used, pretraining() | {"steps": 30, "optim.lr": 0.5})
    )
    assert_refused(
        ended, f"{used}/config.json", "steps=20 (now 30)", "optim.lr=0.001 (now 0.5)", "--workdir"
    )
    assert {file: file.read_bytes() for file in used.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("file", ["config.json", "result.json"])
def test_used_folder_with_a_damaged_file(file, gpt1, pretraining, used):
    (used / file).write_text("{")
    assert_refused(
        gpt1.run(*gpt1.command("pretrain.py:tiny", used, pretraining())), f"{used}/{file}", "JSON"
    )


def test_two_runs_in_one_folder(gpt1, pretraining, used):
    (used / "result.json").unlink()
    with open(used / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(
            gpt1.run(*gpt1.command("pretrain.py:tiny", used, pretraining())),
            "--workdir",
            "another run",
            str(used),
        )
    assert not (used / "result.json").exists()


def test_run_whose_own_checkpoints_are_all_damaged_never_starts_from_scratch(
    gpt1, pretraining, used
):
    (used / "result.json").unlink()
    for step in (10, 20):
        damage(used, step)
    for _ in range(2):
        ended = gpt1.run(*gpt1.command("pretrain.py:tiny", used, pretraining()))
        assert_refused(
            ended,
            f"{used}/checkpoints",
            "all 2 checkpoints are damaged",
            f"remove the folder {used}",
        )
    assert sorted(folder.name.split("-")[1] for folder in used.glob("bad-*")) == ["10", "20"]


def test_going_on_with_other_books_or_rows_is_refused(
    gpt1, pretraining, finetuning, books, glue, tmp_path
):
    """Checkpoints of a run are worth nothing on ids or labels that are not its own."""
    shutil.copytree(books, tmp_path / "books")
    shutil.copytree(glue, tmp_path / "glue")
    changed = (
        ("books/book_0.txt", "pretrain.py:tiny", pretraining(), "text, tokenizer"),
        ("glue/RTE/dev.tsv", "finetune.py:rte", finetuning(), "validation"),
    )
    for file, config, settings, parts in changed:
        run, place = tmp_path / config.split(".")[0], tmp_path / file.split("/")[0]
        settings |= {"data.path": place}
        gpt1.result(config, run, settings)
        (run / "result.json").unlink()
        kept = {name: (run / name).read_bytes() for name in ("data.json", "tokenizer.json")}
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(
            text.replace("king", "queen").replace("not_entailment", "entailment", 1)
        )
        ended = gpt1.run(*gpt1.command(config, run, settings))
        assert_refused(ended, f"{run}/data.json: {parts} changed since this run began", "--workdir")
        assert {name: (run / name).read_bytes() for name in kept} == kept
        (tmp_path / file).write_text(text)
        assert gpt1.run(*gpt1.command(config, run, settings)).code == 0
