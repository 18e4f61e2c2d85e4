"""Check through the command line that every mistake of a user gives a one-line error.

The line says what to do, the exit code is 2, and the run folder stays as it was.
"""

import fcntl
import shutil

import pytest
from cli_fixtures import CommandResult
from mistakes import MISTAKES
from mistakes.mistake import Mistake, damage_checkpoint


@pytest.fixture
def make_arguments(gpt1, books, glue, pretrained, pretraining, finetuning, probing, tmp_path):
    """Return a function: mistake -> the command line, in a folder where all else is valid."""

    def valid_settings(config: str) -> dict:
        if "ablations" in config:
            return {}
        if "finetune" not in config and "zero_shot" not in config:
            return pretraining() | {"data.path": tmp_path / "books"}
        shutil.copytree(pretrained(), tmp_path / "run")
        settings = finetuning() if "finetune" in config else probing()
        return settings | {"data.path": tmp_path / "glue", "init.path": tmp_path / "run"}

    def make(mistake: Mistake) -> list[str]:
        shutil.copytree(books, tmp_path / "books")
        shutil.copytree(glue, tmp_path / "glue")
        settings = valid_settings(mistake.config) | mistake.settings
        for name, content in mistake.files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        if mistake.edit:
            mistake.edit(tmp_path)
        command = gpt1.command(mistake.config, tmp_path / "new", settings)
        return [
            argument.replace("{here}", str(tmp_path)) for argument in (*command, *mistake.arguments)
        ]

    return make


def assert_refused(completed: CommandResult, *message: str) -> None:
    """Assert that the command ended with exit code 2 and one line that contains `message`."""
    assert completed.code == 2, completed
    assert completed.err.startswith("gpt1_jax: ") and completed.err.count("\n") == 1, completed.err
    for part in message:
        assert part in completed.err


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_gives_one_line(name, gpt1, make_arguments, tmp_path):
    mistake = MISTAKES[name]
    completed = gpt1.run(*make_arguments(mistake))
    assert_refused(completed, *(part.replace("{here}", str(tmp_path)) for part in mistake.message))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["misspelled setting", "missing data folder", "damaged checkpoint"]
)
def test_process_prints_one_line_and_exits_with_2(name, gpt1, make_arguments):
    process = gpt1.start(*make_arguments(MISTAKES[name]))
    out, err = process.communicate(timeout=60)
    assert_refused(CommandResult(process.returncode, out, err))


def test_corrected_command_runs_in_the_same_folder(gpt1, pretraining, tmp_path):
    (tmp_path / "note").touch()
    for mistake in (
        {"data.path": tmp_path / "absent"},
        {"tokenizer.vocab_size": 20},
        {"batch_size": 4000},
    ):
        settings = pretraining() | mistake
        assert_refused(gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path, settings)))
        assert [file.name for file in tmp_path.iterdir()] == ["note"]
    gpt1.result("pretrain.py:tiny", tmp_path, pretraining())


@pytest.fixture
def used_folder(pretrained, tmp_path):
    """Return a copy of a finished run."""
    return shutil.copytree(pretrained(), tmp_path / "used")


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_in_a_used_folder_are_refused(finished, gpt1, pretraining, used_folder):
    if not finished:
        (used_folder / "result.json").unlink()

    def contents():
        return {file: file.read_bytes() for file in used_folder.rglob("*") if file.is_file()}

    before = contents()
    settings = pretraining() | {"steps": 30, "optim.lr": 0.5}
    assert_refused(
        gpt1.run(*gpt1.command("pretrain.py:tiny", used_folder, settings)),
        f"{used_folder}/config.json",
        "steps=20 (now 30)",
        "optim.lr=0.001 (now 0.5)",
        "--workdir",
    )
    assert contents() == before


@pytest.mark.parametrize("file", ["config.json", "result.json"])
def test_damaged_file_in_a_used_folder_is_refused(file, gpt1, pretraining, used_folder):
    (used_folder / file).write_text("{")
    command = gpt1.command("pretrain.py:tiny", used_folder, pretraining())
    assert_refused(gpt1.run(*command), f"{used_folder}/{file}", "JSON")


def test_second_run_in_a_folder_is_refused(gpt1, pretraining, used_folder):
    (used_folder / "result.json").unlink()
    command = gpt1.command("pretrain.py:tiny", used_folder, pretraining())
    with open(used_folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_refused(gpt1.run(*command), "--workdir", "another process runs in", str(used_folder))
    assert not (used_folder / "result.json").exists()


def test_run_with_only_damaged_checkpoints_never_restarts(gpt1, pretraining, used_folder):
    (used_folder / "result.json").unlink()
    for step in (10, 20):
        damage_checkpoint(used_folder, step)
    for _ in range(2):
        assert_refused(
            gpt1.run(*gpt1.command("pretrain.py:tiny", used_folder, pretraining())),
            f"{used_folder}/checkpoints",
            "all 2 checkpoints are damaged",
            f"remove the folder {used_folder}",
        )
    steps = sorted(path.name for path in (used_folder / "checkpoints").iterdir())
    assert steps == ["10", "20"] and not list(used_folder.glob("bad-*"))


@pytest.mark.parametrize(
    ("config", "file", "changed"),
    [
        ("pretrain.py:tiny", "books/book_0.txt", "text, tokenizer"),
        ("finetune.py:rte", "glue/RTE/dev.tsv", "validation"),
    ],
)
def test_resume_on_other_data_is_refused(
    config, file, changed, gpt1, pretraining, finetuning, books, glue, tmp_path
):
    data, workdir = tmp_path / file.split("/")[0], tmp_path / "run"
    shutil.copytree(books if "pretrain" in config else glue, data)
    settings = pretraining() if "pretrain" in config else finetuning()
    settings |= {"data.path": data}
    gpt1.result(config, workdir, settings)
    (workdir / "result.json").unlink()
    records = [workdir / "data.json", workdir / "tokenizer.json"]
    before = [record.read_bytes() for record in records]

    text = (tmp_path / file).read_text()
    other = text.replace("king", "queen").replace("not_entailment", "entailment", 1)
    (tmp_path / file).write_text(other)
    command = gpt1.command(config, workdir, settings)
    message = f"{workdir}/data.json: {changed} changed since this run began"
    assert_refused(gpt1.run(*command), message, "--workdir")
    assert [record.read_bytes() for record in records] == before

    (tmp_path / file).write_text(text)
    assert gpt1.run(*command).code == 0


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, ""),  # which file is the first depends on the installed packages
        (512, "/config.json: cannot be written (File too large)"),
        (16_384, "/checkpoints: cannot save step 2 (File too large)"),
    ],
)
def test_full_disk_gives_one_line_and_the_run_resumes(
    size, message, gpt1, pretraining, pretrained, file_size_limit, tmp_path
):
    settings = pretraining() | {"checkpoint.every": 2, "checkpoint.keep": 20}
    pretrained()  # fills the caches of tokens and programs
    with file_size_limit(size):
        process = gpt1.start(*gpt1.command("pretrain.py:tiny", tmp_path, settings))
    out, err = process.communicate(timeout=120)
    assert_refused(CommandResult(process.returncode, out, err), message)
    assert gpt1.run(*gpt1.command("pretrain.py:tiny", tmp_path, settings)).code == 0
