"""Test the scripts for Cloud TPU and Slurm against stubs of gcloud and srun."""

import shlex
import shutil
import subprocess
import time

import pytest

COPIED = "README.md LICENSE pyproject.toml requirements-lock.txt gpt1_jax configs launch"


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (
            ["create", "--spot"],
            ["queued-resources create vm --node-id=vm --zone=z --accelerator-type=v5litepod-8"
             " --runtime-version=v2-alpha-tpuv5-lite --spot"],
        ),
        (["status"], ["queued-resources describe vm --zone=z '--format=value(state.state)'"]),
        (
            ["copy"],
            ["tpu-vm ssh vm --zone=z --worker=all '--command=mkdir -p gpt1_jax'",
             f"tpu-vm scp --recurse --worker=all --zone=z {COPIED} vm:gpt1_jax"],
        ),
        (
            ["run", "--config=c.py:gpt1", "--workdir=/mnt/w"],
            ["tpu-vm ssh vm --zone=z --worker=all '--command=cd gpt1_jax || exit; nohup bash"
             " launch/tpu_vm.sh work --config=c.py:gpt1 --workdir=/mnt/w"
             " >>run.log 2>&1 </dev/null &'"],
        ),
        (
            ["logs"],
            ["tpu-vm ssh vm --zone=z --worker=0 '--command=tail -n 100 -F gpt1_jax/run.log'"],
        ),
        (["delete"], ["queued-resources delete vm --zone=z --force"]),
    ],
    ids=lambda value: value[0] if value[0].isalpha() else "",
)  # fmt: skip
def test_dry_run_prints_the_gcloud_calls(sandbox, arguments, expected):
    sandbox.stub(sandbox.bin / "gcloud")
    expected = [shlex.split("compute tpus " + line) for line in expected]

    dry = sandbox.run("tpu_vm.sh", *arguments, DRY_RUN="1")
    assert [shlex.split(line)[1:] for line in dry.stdout.splitlines()] == expected
    assert sandbox.calls() == []

    assert sandbox.run("tpu_vm.sh", *arguments).returncode == 0
    assert sandbox.calls() == expected


@pytest.mark.parametrize(
    "kind, image", [("v4-8", "tpu-ubuntu2204-base"), ("v6e-8", "v2-alpha-tpuv6e")]
)
def test_tpu_vm_selects_the_image(sandbox, kind, image):
    assert (
        f"--runtime-version={image} "
        in sandbox.run("tpu_vm.sh", "create", TYPE=kind, DRY_RUN="1").stdout
    )
    assert (
        "--runtime-version=mine "
        in sandbox.run("tpu_vm.sh", "create", TYPE=kind, VERSION="mine", DRY_RUN="1").stdout
    )


def test_resume_equals_run(sandbox):
    run, resume = (
        sandbox.run("tpu_vm.sh", action, *sandbox.awkward, DRY_RUN="1").stdout
        for action in ("run", "resume")
    )
    assert run == resume != ""


def test_tpu_vm_flags_pass_both_shells(sandbox):
    sandbox.stub(sandbox.bin / "gcloud")
    sandbox.install("tpu")
    assert sandbox.run("tpu_vm.sh", "run", *sandbox.awkward).returncode == 0
    (call,) = sandbox.calls()
    sandbox.log.unlink()

    # As sshd does: it returns at once and leaves the program running.
    command = call[-1].removeprefix("--command=")
    subprocess.run(
        ["bash", "-c", command], cwd=sandbox.root.parent, env=sandbox.env, check=True, timeout=10
    )
    deadline = time.time() + 20
    while not sandbox.log.exists() or not sandbox.log.read_text().endswith("\n"):
        assert time.time() < deadline, (sandbox.root / "run.log").read_text()
        time.sleep(0.05)
    assert sandbox.calls() == [["-m", "gpt1_jax.main", "--multihost=on", *sandbox.awkward]]


@pytest.mark.parametrize(
    "arguments, env, words",
    [
        (["dance"], {}, ["dance", "create"]),
        (["run", "--config=c.py"], {}, ["--workdir"]),
        (["create"], {"TYPE": "v99-8"}, ["v99-8", "VERSION"]),
    ],
)
def test_tpu_vm_refuses_invalid_arguments(sandbox, arguments, env, words):
    sandbox.stub(sandbox.bin / "gcloud")
    sandbox.assert_refused(sandbox.run("tpu_vm.sh", *arguments, **env), *words)
    assert sandbox.calls() == []


@pytest.mark.parametrize("name", ["NAME", "ZONE"])
def test_tpu_vm_requires_name_and_zone(sandbox, name):
    result = sandbox.run("tpu_vm.sh", "delete", **{name: ""})
    assert result.returncode != 0 and f"set {name}" in result.stderr


def test_slurm_passes_flags_to_srun(sandbox):
    sandbox.stub(sandbox.bin / "srun")
    sandbox.install("cuda")
    spool = shutil.copy(
        sandbox.root / "launch/slurm.sbatch", sandbox.root.parent / "job00042"
    )  # as slurmd does
    env = sandbox.env | {"SLURM_SUBMIT_DIR": str(sandbox.root)}
    subprocess.run(["bash", spool, *sandbox.awkward], env=env, check=True, timeout=60)
    program = [".venv/bin/python", "-m", "gpt1_jax.main", "--multihost=on"]
    assert sandbox.calls() == [["--kill-on-bad-exit=1", *program, *sandbox.awkward]]
    subprocess.run(
        ["bash", spool, *sandbox.awkward],
        env=env | {"SLURM_ARRAY_TASK_ID": "3", "SHARDS": "8"},
        check=True,
        timeout=60,
    )
    assert sandbox.calls()[1][-1] == "--config.shard=3/8"


def test_slurm_refuses_a_run_that_cannot_resume(sandbox):
    sandbox.stub(sandbox.bin / "srun")
    sandbox.install("cuda")
    sandbox.assert_refused(
        sandbox.run("slurm.sbatch", "--config=c.py", SLURM_SUBMIT_DIR=str(sandbox.root)),
        "--workdir=DIR",
    )
    sandbox.assert_refused(
        sandbox.run("slurm.sbatch", "--workdir=w", SLURM_SUBMIT_DIR=str(sandbox.bin)), "repository"
    )
    assert sandbox.calls() == []


def test_sweep_gives_each_machine_a_shard(sandbox):
    flags = ["--config=c.py", "--workdir=runs/a b"]
    slurm = sandbox.run("sweep.sh", "slurm", "8", "--time=2-0", "--", *flags, DRY_RUN="1")
    assert shlex.split(slurm.stdout) == [
        "sbatch",
        "--array=1-8",
        "--export=ALL,SHARDS=8",
        "--time=2-0",
        "launch/slurm.sbatch",
        *flags,
    ]
    assert shlex.split(sandbox.run("sweep.sh", "slurm", "2", *flags, DRY_RUN="1").stdout)[:2] == [
        "sbatch",
        "--array=1-2",
    ]
    tpu = sandbox.run("sweep.sh", "tpu", "2", *flags, DRY_RUN="1").stdout.splitlines()
    assert [
        f"vm-{shard}" in line and f"--config.shard={shard}/2" in line
        for shard, line in enumerate(tpu, 1)
    ] == [True, True]


def test_sweep_on_gpus_returns_a_failure(sandbox):
    sandbox.install(does='sys.exit(3 * ("--config.shard=2/2" in sys.argv))')
    assert sandbox.run("sweep.sh", "gpus", "2", "--workdir=w").returncode == 3
    assert sorted(sandbox.calls()) == [
        ["-m", "gpt1_jax.main", "--workdir=w", f"--config.shard={shard}/2"] for shard in (1, 2)
    ]


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["slurm", "many", "--workdir=w"], "many"),
        (["slurm", "2", "--config=c.py"], "--workdir"),
        (["boats", "2", "--workdir=w"], "boats"),
    ],
)
def test_sweep_refuses_invalid_arguments(sandbox, arguments, word):
    ended = sandbox.run("sweep.sh", *arguments)
    assert ended.returncode == 2 and word in ended.stderr and sandbox.calls() == []
