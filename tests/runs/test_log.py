"""Check log.txt, metrics.jsonl and TensorBoard, and what a restart deletes from them."""

import contextlib
import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from gpt1_jax import progress
from gpt1_jax.runs import log


def read_scalars(workdir) -> dict[tuple[str, int], float]:
    """Return (name, step) -> value of the scalars in TensorBoard's files.

    A record is: length, CRC, Event, CRC.
    """
    scalars = {}
    for file in sorted((workdir / "tb").iterdir()):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                scalars[value.tag, event.step] = value.simple_value
            content = content[16 + length :]
    return scalars


def read_metrics(workdir) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@contextlib.contextmanager
def open_log(workdir, step: int):
    with contextlib.closing(log.Log(workdir)) as run:
        run.start(step)
        yield run


def test_metrics_are_written_everywhere(tmp_path, capsys):
    with open_log(tmp_path, 0) as run:
        run.metrics(10, {"loss": 2.5, "lr": 0.001})
        run.metrics(20, {"loss": 1.25})
    assert read_metrics(tmp_path) == [
        {"step": 10, "loss": 2.5, "lr": 0.001},
        {"step": 20, "loss": 1.25},
    ]
    assert read_scalars(tmp_path) == pytest.approx(
        {("loss", 10): 2.5, ("lr", 10): 0.001, ("loss", 20): 1.25}
    )
    for text in (capsys.readouterr().out, (tmp_path / "log.txt").read_text()):
        assert "step 10  loss 2.5  lr 0.001" in text and "step 20  loss 1.25" in text


def test_tensorboard_has_the_settings(tmp_path):
    settings = {"optim.lr": 0.5, "model.name": "lstm", "data.test": True, "tasks": ("a",)}
    with contextlib.closing(log.Log(tmp_path, settings=settings)) as run:
        run.start(0)
    content = b"".join(file.read_bytes() for file in (tmp_path / "tb").iterdir())
    for text in (b"_hparams_/session_start_info", b"optim.lr", b"lstm", b"('a',)"):
        assert text in content


def test_restart_deletes_later_metrics(tmp_path):
    with open_log(tmp_path, 0) as run:
        for step in (10, 20, 30):
            run.metrics(step, {"loss": float(step)})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 15, "lo')  # killed while writing
    with open_log(tmp_path, 20) as run:
        run.metrics(30, {"loss": 0.5})
    assert read_metrics(tmp_path) == [
        {"step": 10, "loss": 10.0},
        {"step": 20, "loss": 20.0},
        {"step": 30, "loss": 0.5},
    ]


def test_restart_keeps_lines_of_the_log(tmp_path):
    for text in ("first", "second\nthird"):
        with contextlib.closing(log.Log(tmp_path)) as run:
            run.line(text)
    content = (tmp_path / "log.txt").read_text()
    assert content.index("first") < content.index("second") < content.index("third")


def test_square_brackets_are_not_markup(tmp_path, capsys):
    with contextlib.closing(log.Log(tmp_path)) as run:
        run.line("[bold]x[/bold] " + "y" * 300)
    assert capsys.readouterr().out == "[bold]x[/bold] " + "y" * 300 + "\n"


@pytest.mark.parametrize("size", [64, 1_000, 4_000])
def test_log_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys, file_size_limit, size):
    with file_size_limit(size), open_log(tmp_path, 0) as run:
        for step in range(1, 100):  # more than the queue of TensorBoard's writer holds
            run.metrics(step, {"loss": 1.0})
        run.sample(100, "text")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert sum("cannot be written (File too large); the run goes on" in line for line in lines) == 1
    assert "step 99  loss 1" in lines and "step 100  sample: text" in lines and err == ""


def test_log_is_continued_when_there_is_space_again(tmp_path, file_size_limit):
    with open_log(tmp_path, 0) as run:
        with file_size_limit(0):  # the console of this test is a file, too
            run.metrics(1, {"loss": 1.0})
        run.metrics(2, {"loss": 2.0})
    assert read_metrics(tmp_path)[-1] == {"step": 2, "loss": 2.0}


def test_log_that_cannot_be_opened_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "log.txt").mkdir()
    (tmp_path / "tb").touch()
    with open_log(tmp_path, 0) as run:
        run.metrics(1, {"loss": 1.0})
        run.sample(1, "text")
    lines = capsys.readouterr().out.splitlines()
    assert sum("log.txt: cannot be written (Is a directory)" in line for line in lines) == 1
    assert len(lines) == 3


def test_other_processes_write_nothing(tmp_path, capsys):
    with contextlib.closing(log.Log(tmp_path, enabled=False)) as run:
        run.start(0)
        run.line("text")
        run.metrics(1, {"loss": 1.0})
        with run.bar("training") as advance:
            advance(1, 2)
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().out == ""


def test_bar_prints_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a notebook
    with progress.bar("reading", plain_every=0.0) as advance:
        advance(1, 4)
        advance(2, 4)
    with progress.bar("silent", plain_every=1000.0) as advance:
        advance(1, 4)
    assert capsys.readouterr().err == "reading: 1 of 4\nreading: 2 of 4\n"


def test_lines_hold_no_control_characters(tmp_path, capsys):
    with open_log(tmp_path, 0) as run:
        run.sample(1, "a\x1b[31mb\r")
        run.line("one\ntwo\x07\udce9")
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "log.txt").read_text()):
        assert "step 1  sample: a\\x1b[31mb\\x0d\n" in text and "one\ntwo\\x07\\udce9\n" in text
    row = json.loads((tmp_path / "samples.jsonl").read_text())
    assert row["text"] == "a\x1b[31mb\r", "files keep the text"
