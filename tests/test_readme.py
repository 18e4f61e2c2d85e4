"""Run every command of the README and of docs/, only smaller; the README's also as they stand."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from compilers import needs_libtpu

REPOSITORY = pathlib.Path(__file__).parent.parent
# Pages with commands, in the order in which a user reads them: later ones use runs of earlier ones.
PAGES = ["README.md", "docs/recipes.md", "docs/ablations.md"]
DOCUMENTATION = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in (REPOSITORY / "docs").glob("*.md")),
]
SMALL_MODEL = (
    "--config.model.layers=1 --config.model.width=16 --config.model.heads=2 --config.model.ffn=64"
)
SIZES = {
    "transformer": ("layers=1", "width=16", "heads=2", "ffn=32"),
    "lstm": ("width=16", "units=16"),
}
SMALL_BODIES = " ".join(
    f"--config.pretrain.{body}.model.{size}" for body, sizes in SIZES.items() for size in sizes
)
SMALL_PRETRAINING = " ".join(
    f"--config.pretrain.{body}.{setting}"
    for body in SIZES
    for setting in ("steps=2", "optim.warmup_steps=1", "data.cache=cache")
)
SMALL_ABLATION = (
    "--config.world.words=50000 --config.world.train=40 --config.world.dev=10 --config.seeds=1"
    " --config.pretraining_seeds=1 --config.tasks=\"('rte',)\""
    f" --config.finetune.epochs=1 --config.zero_shot.data.examples=4 {SMALL_PRETRAINING}"
)
SMALL_TRANSFER = "--config.experiments.transfer.levels='(0,)'"
SMALL_BATCHES = " ".join(f"--config.pretrain.{body}.batch_size=2" for body in SIZES)
SMALLER = {  # text in a command -> flags that make the command small
    "ablations.py:quick,": f"{SMALL_ABLATION} {SMALL_BODIES}",
    "ablations.py:quick": f"{SMALL_ABLATION} {SMALL_BODIES} {SMALL_TRANSFER}",
    "ablations.py:paper": f"{SMALL_BODIES} {SMALL_BATCHES}",
    "pretrain.py:world,lstm": "--config.steps=2 --config.model.width=16 --config.model.units=16",
    "pretrain.py:": f"--config.steps=2 {SMALL_MODEL}",
    "gpt1 sample": "--length=4",
    "gpt1 predict": "",
    "gpt1 export": "",
    "gpt1 import": "",
    "gpt1 prune": "",
    "gpt1 microworld": "--words=50000 --train=40 --dev=10",
    "gpt1 report": "",
    "finetune.py": "--config.epochs=1",
    "zero_shot.py": "--config.data.examples=4",
}
PRETRAINING = (
    "--config.batch_size=2 --config.eval.windows=2 --config.data.cache=cache"
    " --config.data.validation=0.5"
)


def blocks(language: str, *pages: str) -> list[str]:
    """Return the blocks of a language on some pages, by default on all."""
    return [
        block
        for page in pages or DOCUMENTATION
        for block in re.findall(
            rf"^```{language}\n(.*?)^```",
            (REPOSITORY / page).read_text(encoding="utf-8"),
            flags=re.DOTALL | re.MULTILINE,
        )
    ]


def commands(*pages: str) -> list[str]:
    """Return the commands in the blocks of bash on some pages."""
    lines = "".join(blocks("bash", *pages)).splitlines()
    return [
        line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")
    ]


def smaller(command: str) -> str:
    for name, flags in SMALLER.items():
        if name in command:
            flags += f" {PRETRAINING}" if "pretrain.py" in name else ""
            # A recipe transfers two blocks; the small model has one.
            return f"{command} {flags}".replace("init.layers=2", "init.layers=1")
    raise AssertionError(f"{command}: a command of a new kind; say in SMALLER how it is shrunk")


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> "Reader":
    """Return a reader of the README: a folder like the repository, and a shell without .venv."""
    if not (pathlib.Path(sys.prefix) / "bin/activate").exists():
        pytest.skip(f"{sys.prefix} is not a virtual environment")
    folder = tmp_path_factory.mktemp("readme")
    for name in ("configs", "launch", "gpt1_jax"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return Reader(folder)


class Reader:
    """Type commands of the README in a fresh shell, as a user who has only followed the README."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        binaries = str(pathlib.Path(sys.prefix) / "bin")
        path = [entry for entry in os.environ["PATH"].split(":") if entry != binaries]
        self.variables = {**os.environ, "PATH": ":".join(path)}
        for name in ("VIRTUAL_ENV", "PYTHONPATH"):  # no environment
            self.variables.pop(name, None)
        # One device, and the quick compilation of conftest.py.
        flags = os.environ["XLA_FLAGS"].split()
        self.variables["XLA_FLAGS"] = " ".join(flag for flag in flags if "device_count" not in flag)

    def type(self, *commands: str) -> str:
        """Run the commands in one shell, which stops at the first that fails; return the output."""
        ended = subprocess.run(
            ["bash", "-exc", "\n".join(commands)],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=800,
        )
        assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout


def activation() -> str:
    """Return the command that puts gpt1 on the path: the README has it once."""
    (command,) = [command for command in commands("README.md") if command.startswith("source ")]
    return command


def recipes(*pages: str) -> list[str]:
    """Return the commands that use gpt1, without the activation."""
    return [
        command
        for command in commands(*pages)
        if command.startswith("gpt1 ") or "local_multi" in command
    ]


def tour() -> tuple[list[str], str]:
    """Return the commands of docs/tour.ipynb, without what follows a pipe, and its Python code."""
    cells = json.loads((REPOSITORY / "docs/tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = [line for cell in code if cell.startswith("%%bash") for line in cell.splitlines()[1:]]
    return [line.split(" | ")[0] for line in lines], "\n".join(
        cell for cell in code if not cell.startswith("%")
    )


@pytest.mark.timeout(900)  # a dozen programs
def test_recipes_and_then_the_tour_run_in_one_shell(reader):
    assert len(recipes("README.md")) == 6
    reader.type(activation(), *map(smaller, recipes(*PAGES)))
    for command in recipes(*PAGES):
        workdir = re.search(r"--workdir=(\S+)", command)
        assert not workdir or (reader.folder / workdir[1] / "result.json").exists()
    assert (reader.folder / "runs/labeled.tsv").exists()
    assert (reader.folder / "runs/hf_books/model.safetensors").exists()
    runs = [path.parent.name for path in (reader.folder / "runs").glob("*/result.json")]
    assert sum(name.startswith("exp_finetune_") for name in runs) == 3

    lines, code = tour()
    further = [line for line in lines if line not in recipes(*PAGES)]
    assert [command.split()[0] for command in further] == ["gpt1", "head"]  # the rest is typed
    program = f"python -c {shlex.quote(code)}"
    shown = reader.type(
        activation(), smaller(further[0]), further[1], "export MPLBACKEND=agg", program
    )
    assert "'pretrained': " in shown and "'no pretraining': " in shown


@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    "GPT1_JAX_TEST_RECIPES" not in os.environ, reason="takes minutes: set GPT1_JAX_TEST_RECIPES=1"
)
def test_recipes_of_the_readme_give_what_they_promise(reader):
    reader.type(activation(), "rm -rf runs data", *recipes("README.md"))

    def result(pattern: str) -> dict:
        (path,) = (reader.folder / "runs").glob(f"{pattern}/result.json")
        return json.loads(path.read_text())

    assert result("exp_books")["validation_perplexity"] < 5
    assert result("exp_rte")["metrics"]["validation"]["accuracy"] > 0.9
    other = result("exp_finetune_rte_no_pretraining_world_*")["metrics"]["validation"]["accuracy"]
    assert 0.5 < other < 0.8  # it knows half of the words
    assert sum(result(name)["seconds"] for name in ("exp_books", "exp_rte")) < 300


@pytest.mark.slow
def test_commands_of_the_results_run_on_real_data(reader, real_data):
    block = next(block for block in blocks("sh", "docs/results.md") if "GLUE_DIR" in block)
    block = block.replace("\\\n", "").replace("NOVELS", f"{real_data}/novels/1[0-2]*.txt")
    block = block.replace("GLUE_DIR", f"{real_data}/glue_data")
    pretraining, finetuning = block.strip().splitlines()
    finetuning += " --config.data.examples=64"
    reader.type(activation(), smaller(pretraining), smaller(finetuning))


@needs_libtpu
def test_step_is_rehearsed_for_an_absent_machine(reader):
    (command,) = (
        line.split("    #")[0]
        for block in blocks("sh", "docs/recipes.md")
        for line in block.splitlines()
        if "compile_for" in line
    )
    small = f"{SMALL_MODEL} --config.model.context=16 --config.tokenizer.vocab_size=100"
    printed = reader.type(activation(), f"{command} {small}")
    assert json.loads(printed.splitlines()[-1])["target"] == "v5e:2x4"


def test_submission_is_made_of_finished_runs(reader):
    """Submit one run, with --partial, instead of all nine."""
    (command,) = (block.strip() for block in blocks("sh") if "submission" in block)
    run = reader.folder / "runs/exp_cola"
    (run / "predictions").mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"trainer": "finetune", "task": "cola"}))
    lines = ["index\tprediction\tlabel", *(f"{row}\tacceptable\t" for row in range(1063))]
    (run / "predictions/test.tsv").write_text("\n".join(lines) + "\n")
    first = command[: command.index("runs/exp_cola")]
    printed = reader.type(activation(), f"{first} runs/exp_cola --partial")
    assert printed == "submission.zip: CoLA.tsv\n"
    assert (reader.folder / "submission.zip").exists()


@pytest.mark.skipif(
    sys.prefix != str(REPOSITORY / ".venv"),
    reason="the two commands use .venv, and these tests run in another environment",
)
def test_the_two_commands_run(tmp_path):
    reader = Reader(REPOSITORY)
    two = [
        command
        for command in commands("README.md")
        if command in ("bash launch/quickstart.sh", "bash launch/test.sh")
    ]
    assert len(two) == 2
    small = f"{SMALL_ABLATION} {SMALL_TRANSFER}".replace("cache=cache", f"cache={tmp_path}/cache")
    printed = reader.type(f"{two[0]} --workdir={tmp_path}/run {small} {SMALL_BODIES}")
    assert printed.splitlines()[-1] == f"{tmp_path}/run/report.html"
    assert (tmp_path / "run/report.html").exists()
    assert "passed" in reader.type(f"{two[1]} tests/test_registry.py")


def test_python_blocks_run():
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "documentation", "exec"), {})


@pytest.mark.parametrize("page", DOCUMENTATION)
def test_links_lead_somewhere(page):
    path = REPOSITORY / page
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("page", DOCUMENTATION)
def test_named_files_exist(page):
    text = (REPOSITORY / page).read_text()
    for name in re.findall(r"`((?:gpt1_jax|configs|launch|docs|tests)/[\w./]+)`", text):
        assert (REPOSITORY / name).exists(), name
