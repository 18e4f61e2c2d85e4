"""Run everything on gs://: what is computed, and what is written, is the same as on a disk."""

import os
import pathlib
import shutil
import signal
import time

import pytest

from gpt1_jax import storage
from gpt1_jax.storage import bucket as buckets
from gpt1_jax.storage import connection

LONG = {"steps": 120, "checkpoint.every": 20, "eval.every": 30, "log.every": 5}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Keep the copies of the bucket's data in the folder of the test, and look into no other one.

    A path that was taken for one of the disk would show in the working directory.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert os.listdir(tmp_path / "here") == []


def upload(folder: pathlib.Path, target: storage.BucketPath) -> storage.BucketPath:
    """Copy a folder to the bucket."""
    with storage.atomic_folder(target) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    return target


def rows(run: storage.Path) -> list[dict]:
    """Return the rows of metrics.jsonl without the speed."""
    return [
        {name: value for name, value in row.items() if name != "tokens_per_s"}
        for row in storage.read_json_lines(run / "metrics.jsonl")
    ]


def checkpoints(run: storage.BucketPath) -> list[int]:
    return sorted(map(int, (run / "checkpoints").complete_folders()))


def test_killed_run_resumes_bit_exactly(gpt1, pretraining, bucket, tmp_path):
    settings = pretraining() | LONG
    expected = gpt1.result("pretrain.py:tiny", tmp_path / "whole", settings)
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", bucket, settings))
    deadline = time.monotonic() + 120
    while not any(step < 120 for step in checkpoints(bucket)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    saved = checkpoints(bucket)[-1]
    assert not (bucket / "result.json").exists() and (bucket / ".lock").exists()
    known = [row["step"] for row in rows(bucket)]
    assert max(known) >= saved, "the log does not know less than the newest checkpoint"
    # The save of a later step was cut off: all but the mark is there.
    for item in (bucket / f"checkpoints/{saved}").objects():
        name = item.name.partition(f"checkpoints/{saved}/")[2]
        if name != buckets.COMMIT:
            source = bucket / f"checkpoints/{saved}" / name
            source.copy_to(bucket / f"checkpoints/{saved + 5}" / name)
    result = gpt1.result("pretrain.py:tiny", bucket, settings)
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}
    assert rows(bucket) == rows(tmp_path / "whole")
    log = (bucket / "log.txt").read_text()
    assert f"resumes from step {saved}\n" in log and log.count("finished: ") == 1
    assert [".lock", *storage.names(bucket)] == storage.names(tmp_path / "whole")
    assert checkpoints(bucket) == [100, 120]
    again = gpt1.run(*gpt1.command("pretrain.py:tiny", bucket, settings))
    assert again.code == 0 and f"finished before: {bucket}/result.json" in again.out


@pytest.mark.slow
def test_finetuning_prediction_and_report_from_bucket_to_bucket(
    gpt1, pretrained, finetuning, glue, bucket, tmp_path
):
    settings = finetuning()
    expected = gpt1.result("finetune.py:rte", tmp_path / "run", settings)
    settings |= {
        "init.path": upload(pretrained(), bucket / "books"),
        "data.path": upload(glue, bucket / "glue"),
    }
    result = gpt1.result("finetune.py:rte", bucket / "run", settings)
    for name in ("metrics", "params_sha256", "best_step", "data"):
        assert result[name] == expected[name]
    assert rows(bucket / "run") == rows(tmp_path / "run")
    written = (bucket / "run/predictions/test.tsv").read_bytes()
    assert written == (tmp_path / "run/predictions/test.tsv").read_bytes()

    storage.write_text(bucket / "new.tsv", "a b\tc d\ne\tf\n")
    flags = [f"--checkpoint={bucket}/run", f"--input={bucket}/new.tsv"]
    assert gpt1.run("predict", *flags, f"--output={bucket}/labels/out.tsv").code == 0
    printed = gpt1.run("predict", *flags).out
    assert (bucket / "labels/out.tsv").read_text() == printed and printed.count("\n") == 3

    report = gpt1.run("report", str(bucket / "books"))
    assert report.code == 0 and report.out.startswith(f"{bucket}/books/report.html\n")
    gpt1.run("report", str(pretrained()))
    page = (bucket / "books/report.html").read_text()
    assert page.replace("books", "transformer") == (pretrained() / "report.html").read_text()
    text = gpt1.run("sample", f"--checkpoint={bucket}/books/checkpoints/10", "--prompt=a")
    assert text.code == 0
    pruned = gpt1.run("prune", "--delete", str(bucket / "books"))
    assert pruned.code == 0 and checkpoints(bucket / "books") == [20]
    assert "opt_state" not in storage.names(bucket / "books/checkpoints/20")


def test_run_whose_lock_is_taken_over_ends_without_a_save(gpt1, pretraining, bucket, monkeypatch):
    settings = pretraining() | LONG | {"steps": 100_000, "checkpoint.every": 20}
    process = gpt1.start(*gpt1.command("pretrain.py:tiny", bucket, settings))
    deadline = time.monotonic() + 120
    while not checkpoints(bucket):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    (bucket / ".lock").upload(b'{"machine": "other"}')
    output, errors = process.communicate(timeout=60)
    saved = checkpoints(bucket)[-1]
    assert process.returncode == 128 + signal.SIGTERM, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("gpt1_jax:")]
    assert "another process has taken over this lock; this one stops and saves nothing" in line
    assert f"step {saved + 25}  " not in output
    assert (bucket / ".lock").read_bytes() == b'{"machine": "other"}'


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ablation_shared_in_a_bucket_has_the_results_of_one_on_a_disk(gpt1, bucket, tmp_path):
    settings = {"world.words": 50_000, "world.train": 40, "world.dev": 10, "seeds": 1}
    settings |= {"pretraining_seeds": 1, "tasks": "('rte',)", "finetune.epochs": 1, "workers": 1}
    for body, sizes in {"transformer": {"heads": 2, "ffn": 32}, "lstm": {"units": 16}}.items():
        small = {f"model.{name}": size for name, size in sizes.items()} | {"model.width": 16}
        small |= {"steps": 2, "optim.warmup_steps": 1, "data.cache": tmp_path / "cache"}
        settings |= {f"pretrain.{body}.{name}": value for name, value in small.items()}
    config = "ablations.py:quick,table5,zero_shot"
    expected = gpt1.result(config, tmp_path / "disk", settings)
    machines = [gpt1.start(*gpt1.command(config, bucket, settings)) for _ in range(2)]
    for machine in machines:
        _, errors = machine.communicate()
        assert machine.returncode == 0, errors
    assert storage.read_json(bucket / "result.json") == expected
    for name in expected["cells"]:
        starts = storage.read_json(bucket / name / "environment.json")["starts"]
        assert len(starts) == 1 and storage.read_json(bucket / name / "data.json")
    assert {"finished"} == {*storage.names(bucket / ".locks")}
    assert "report.html" in storage.names(bucket) and storage.names(bucket / "data/novels")


REFUSED = {
    "other store": ("s3://b/run", "--workdir: s3://b/run: s3:// cannot be used, only folders of"),
    "slip": ("gs:/b/run", "--workdir: gs:/b/run: expected gs://BUCKET/FOLDER"),
    "no bucket": ("gs://no-bucket/run", "there is no bucket no-bucket, or you may not see it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_address_that_cannot_be_used_is_one_line(name, gpt1, pretraining, bucket_server):
    workdir, message = REFUSED[name]
    ended = gpt1.run(*gpt1.command("pretrain.py:tiny", workdir, pretraining()))
    assert ended.code == 2 and message in ended.err and ended.err.count("\n") == 1, ended


@pytest.mark.parametrize("cause", ["network", "credentials", "packages"])
def test_bucket_that_cannot_be_reached_is_one_line(
    cause, gpt1, pretraining, bucket_server, tmp_path, monkeypatch
):
    monkeypatch.setattr(connection, "QUICK", 0.2)
    message = "cannot be used"
    if cause == "network":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        message = "Google Cloud Storage does not answer"
    elif cause == "credentials":
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
        message = "no credentials for Google Cloud"
    else:
        monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
        message = "gs:// needs the package gcsfs; install the extra gcs: pip install -c"
    for cached in (connection.client, connection.google_errors):
        cached.cache_clear()
    try:
        run = gpt1.command("pretrain.py:tiny", f"gs://runs-bucket/{cause}", pretraining())
        ended = gpt1.run(*run)
        data = pretraining() | {"data.path": f"gs://runs-bucket/{cause}/books"}
        other = gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path / "run", data))
    finally:
        monkeypatch.undo()
        for cached in (connection.client, connection.google_errors):
            cached.cache_clear()
    for flag, result in (("--workdir", ended), ("config.data.path", other)):
        assert result.code == 2 and result.err.count("\n") == 1, result
        assert result.err.startswith(f"gpt1_jax: {flag}: ") and message in result.err, result


def test_settings_that_need_a_disk_say_so(gpt1, pretraining, bucket):
    cache = pretraining() | {"data.cache": f"{bucket}/cache"}
    ended = gpt1.run(*gpt1.command("pretrain.py:tiny", bucket / "run", cache))
    assert ended.code == 2 and "config.data.cache: gs://" in ended.err
    assert "is not on this machine" in ended.err
    trace = pretraining() | {"log.profile": "(1,2)"}
    ended = gpt1.run(*gpt1.command("pretrain.py:tiny", bucket / "run", trace))
    assert ended.code == 2 and "config.log.profile: traces are written to a disk" in ended.err
    assert storage.names(bucket) == [], "what was refused leaves nothing"
