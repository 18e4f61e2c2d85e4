"""Test `gpt1 predict`: files and standard input, every format, mistakes."""

import os
import stat
import subprocess
import sys
import threading

import pytest
from cli_fixtures import REPOSITORY

from gpt1_jax.datasets import sources
from gpt1_jax.registry import TASKS
from gpt1_jax.trainers.predictor import Predictor


@pytest.fixture(scope="module")
def finetuned(gpt1, finetuning, choices, glue, tmp_path_factory):
    """finetuned(task): the folder of a run on it, and the folder of its data."""
    made = {}

    def run(task: str, **changes):
        if task not in made:
            data = choices if TASKS[task].format == "choice" else glue
            workdir = tmp_path_factory.mktemp("finetuned") / task
            gpt1.result(
                f"finetune.py:{task}", workdir, finetuning() | {"data.path": data, **changes}
            )
            made[task] = workdir, data
        return made[task]

    return run


@pytest.fixture
def label(gpt1):
    """label(*flags, text): the program, run here."""
    return lambda *flags, text="": gpt1.run("predict", *flags, text=text)


def known(workdir, split: str = "validation") -> list[list[str]]:
    """The cells of a run's own predictions, without index and label."""
    _, *lines = (workdir / "predictions" / f"{split}.tsv").read_text().splitlines()
    return [[cells[1], *cells[3:]] for cells in (line.split("\t") for line in lines)]


@pytest.mark.parametrize("task", ["rte", "mrpc", "stsb", "story_cloze_2016"])
def test_labels_equal_the_predictions_of_the_run(finetuned, task):
    workdir, data = finetuned(task)
    rows = sources.load(TASKS[task], "validation", source="files", path=str(data)).examples
    predictor = Predictor(str(workdir), 2)
    assert predictor.texts == len(rows[0].segments)
    for found, expected in zip(
        predictor.predict([row.segments for row in rows]), known(workdir), strict=True
    ):
        prediction, *probabilities = found
        if TASKS[task].labels:
            assert prediction == expected[0]
        assert [float(p) for p in probabilities] == pytest.approx(
            [float(p) for p in expected[1:]], abs=2e-6
        )


def test_file_and_standard_input_give_the_same(label, finetuned, tmp_path):
    workdir, data = finetuned("rte")
    table = (data / "RTE/dev.tsv").read_text()
    (tmp_path / "rows.tsv").write_text(table)
    flags = [f"--checkpoint={workdir}", "--columns=sentence1,sentence2"]
    ended = label(*flags, f"--input={tmp_path}/rows.tsv", f"--output={tmp_path}/labels.tsv")
    assert (ended.code, ended.out) == (0, ""), ended.err
    header, *lines = (tmp_path / "labels.tsv").read_text().splitlines()
    assert header == "index\tprediction\tp(entailment)\tp(not_entailment)"
    assert [line.split("\t")[1:] for line in lines] == known(workdir)
    bare = "".join("\t".join(line.split("\t")[1:3]) + "\n" for line in table.splitlines()[1:])
    piped = label(f"--checkpoint={workdir}", text=bare)
    assert piped.out.splitlines() == [header, *lines], piped.err


TABLE = (
    "\ufeffsentence1\tsentence2\tlabel\r\n"
    "the king\tsaw\rthe sea\tentailment\n\r\n"
    "\tthe hill\tentailment\n"
    "the\u2028ship\t \tnot_entailment\r\n\n"
)


def test_rows_of_training_are_labeled(label, finetuned, tmp_path):
    workdir, _ = finetuned("rte")
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE/train.tsv").write_bytes(TABLE.encode())
    rows = sources.load(TASKS["rte"], "train", source="files", path=str(tmp_path)).examples
    assert [row.segments[1] for row in rows] == ["saw\rthe sea", "the hill", " "]
    expected = Predictor(str(workdir), 2).predict([row.segments for row in rows])
    columns = ["--columns=sentence1,sentence2", f"--checkpoint={workdir}"]
    from_file = label(*columns, f"--input={tmp_path}/RTE/train.tsv")
    piped = label(*columns, text=TABLE)
    assert (from_file.out, from_file.err) == (piped.out, "")
    _, *lines = from_file.out.splitlines()
    assert [line.split("\t") for line in lines] == [
        [row.id, *cells] for row, cells in zip(rows, expected, strict=True)
    ]


def test_good_rows_are_labeled_beside_allowed_malformed_ones(label, finetuned, tmp_path):
    run = f"--checkpoint={finetuned('rte')[0]}"
    rows = ["alone", "the king\tthe sea", "", "a\tb\tc", "the ship\tthe hill"]
    (tmp_path / "rows.tsv").write_text("\n".join(rows))
    flags = [run, f"--input={tmp_path}/rows.tsv", f"--output={tmp_path}/out.tsv"]
    ended = label(*flags, "--max_bad_rows=1")
    assert ended.code == 2 and not (tmp_path / "out.tsv").exists()
    assert "line 4: 3 found, 2 texts expected" in ended.err
    ended = label(*flags, "--max_bad_rows=2")
    assert (ended.code, ended.out) == (0, "")
    *reports, last = ended.err.splitlines()
    assert [report.split(": ")[1] for report in reports] == [
        f"{tmp_path}/rows.tsv, line {number}" for number in (1, 4)
    ]
    assert last == "gpt1_jax: 2 malformed rows were left out and have no label"
    labeled = (tmp_path / "out.tsv").read_text().splitlines()
    good = label(run, text="\n".join(row for row in rows if row.count("\t") == 1))
    numbers = [line.partition("\t") for line in (*labeled, *good.out.splitlines())]
    assert [number for number, _, _ in numbers] == ["index", "1", "3", "index", "0", "1"]
    assert [cells for _, _, cells in numbers[:3]] == [cells for _, _, cells in numbers[3:]]


def test_long_text_is_cut(finetuned):
    predictor = Predictor(str(finetuned("rte")[0]), 2)
    first, second, third = predictor.predict(
        [
            ["the king saw " * count, f"the {word}"]
            for count, word in ((40, "sea"), (41, "sea"), (41, "hill"))
        ]
    )
    assert first == second != third and predictor.cut == 3
    predictor.predict([["the king", "the sea"]])
    assert predictor.cut == 3


@pytest.mark.parametrize(
    ("flags", "text", "complaint"),
    [
        (["--checkpoint="], "", "--checkpoint: is empty; name the folder of a run"),
        (
            ["--checkpoint=nowhere"],
            "",
            "nowhere/config.json: no such file; is nowhere the folder of a run?",
        ),
        (
            ["{run}"],
            "one\ttwo\nalone\n",
            "standard input, line 2: 1 found, 2 texts expected with a tab between them; "
            "repair or remove the row, or allow malformed rows with --max_bad_rows (now 0)",
        ),
        (["{run}", "--max_bad_rows=-1"], "", "flag --max_bad_rows=-1"),
        (
            ["{run}", "--columns=a"],
            "a\tb\n",
            "--columns: 1 named, 2 expected, one for each text of the task",
        ),
        (
            ["{run}", "--columns=a,a"],
            "a\ta\n",
            "--columns: standard input has 'a' more than once; rename one of them",
        ),
        (
            ["{run}", "--columns=a,c"],
            "a\tb\n",
            "--columns: standard input has no column 'c'; its header line has a, b",
        ),
        (
            ["{run}", "--input=nowhere.tsv"],
            "",
            "--input: cannot read nowhere.tsv (No such file or directory); name a file",
        ),
        (["{run}", "--batch_size=0"], "", "flag --batch_size=0"),
        (["{run}", "more"], "", "more: not a flag"),
    ],
)
def test_mistake_is_one_line(label, finetuned, tmp_path, flags, text, complaint):
    flags = [flag.replace("{run}", f"--checkpoint={finetuned('rte')[0]}") for flag in flags]
    ended = label(*flags, f"--output={tmp_path}/out.tsv", text=text)
    assert ended.code == 2 and ended.err.startswith(f"gpt1_jax: {complaint}"), ended.err
    assert len(ended.err.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_process_reads_utf8_and_allows_a_closed_pipe(finetuned, tmp_path):
    program = f"{sys.executable} -m gpt1_jax.main predict --checkpoint={finetuned('rte')[0]}"
    (tmp_path / "rows.tsv").write_bytes(
        b"\xef\xbb\xbfone\ttwo\n" + b"caf\xc3\xa9\tb\n" * 5000
    )  # with the mark that Excel writes
    piped = (
        f"cat {tmp_path}/rows.tsv | {program} --columns=one,two | head -2; echo ${{PIPESTATUS[@]}}"
    )
    ended = subprocess.run(
        ["bash", "-c", piped],
        cwd=REPOSITORY,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    header, first, codes = ended.stdout.splitlines()
    assert (
        header.startswith("index\tprediction") and first.startswith("0\t") and codes.endswith("0 0")
    ), ended.stderr
    ended = subprocess.run(
        program.split(),
        cwd=REPOSITORY,
        input=b"one\tcaf\xff\n",
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
    )
    assert ended.returncode == 2 and ended.stderr.startswith(
        b"gpt1_jax: standard input, line 1: byte 0xff at position 7 is not UTF-8"
    ), ended.stderr


def test_output_that_is_no_file_is_written_into(label, finetuned, device, tmp_path):
    flags, text = [f"--checkpoint={finetuned('rte')[0]}"], "one\ttwo\n"
    expected = label(*flags, text=text).out
    os.mkfifo(tmp_path / "fifo")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "fifo").read_text()))
    reader.start()
    assert label(*flags, f"--output={tmp_path}/fifo", text=text).code == 0
    reader.join(10)
    assert received == [expected] and stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "target").write_text("old")
    assert label(*flags, f"--output={tmp_path}/link", text=text).code == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == expected
    full = device("full")
    ended = label(*flags, f"--output={full}", text=text)
    assert (ended.code, ended.err) == (
        2,
        f"gpt1_jax: --output: cannot write {full} (No space left on device); choose another file\n",
    )
    assert stat.S_ISCHR(full.stat().st_mode)


@pytest.mark.parametrize("name", ["-", "stdout"])
def test_full_standard_output_is_one_line(finetuned, device, tmp_path, name):
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout
    output = name if name == "-" else tmp_path / name
    command = [sys.executable, "-m", "gpt1_jax.main", "predict", f"--output={output}"]
    (tmp_path / "rows.tsv").write_text("one\ttwo\n")
    command += [f"--checkpoint={finetuned('rte')[0]}", f"--input={tmp_path}/rows.tsv"]
    with device("full").open("w") as full:
        ended = subprocess.run(
            command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert "No space left on device" in ended.stderr


def test_output_over_the_input_is_refused(label, finetuned, tmp_path):
    (tmp_path / "rows.tsv").write_text("one\ttwo\n")
    for output, complaint in (
        (tmp_path / "rows.tsv", "is the input; name another file"),
        (tmp_path, "is a folder; name a file"),
    ):
        ended = label(
            f"--checkpoint={finetuned('rte')[0]}",
            f"--input={tmp_path}/rows.tsv",
            f"--output={output}",
        )
        assert ended.code == 2 and complaint in ended.err
    assert (tmp_path / "rows.tsv").read_text() == "one\ttwo\n"


def test_pretraining_run_is_refused(label, pretrained):
    ended = label(f"--checkpoint={pretrained()}", text="one\n")
    assert ended.code == 2 and "is a run of pretrain; name a finetuning run" in ended.err
