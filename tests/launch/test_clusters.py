"""The scripts that start a run elsewhere: Cloud TPU and Slurm, against a recording gcloud and srun."""

import shlex
import shutil
import subprocess
import time

import pytest

ROOMS = "README.md LICENSE pyproject.toml requirements-lock.txt gpt1_jax configs launch"


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
             f"tpu-vm scp --recurse --worker=all --zone=z {ROOMS} vm:gpt1_jax"],
        ),
        (
            ["run", "--config=c.py:gpt1", "--workdir=/mnt/w"],
            ["tpu-vm ssh vm --zone=z --worker=all '--command=cd gpt1_jax || exit; nohup bash launch/tpu_vm.sh work"
             " --config=c.py:gpt1 --workdir=/mnt/w >>run.log 2>&1 </dev/null &'"],
        ),
        (["logs"], ["tpu-vm ssh vm --zone=z --worker=0 '--command=tail -n 100 -F gpt1_jax/run.log'"]),
        (["delete"], ["queued-resources delete vm --zone=z --force"]),
    ],
    ids=lambda value: value[0] if value[0].isalpha() else "",
)  # fmt: skip
def test_tpu_vm_calls_gcloud_and_a_dry_run_prints_the_same(house, arguments, expected):
    house.stub(house.bin / "gcloud")
    expected = [shlex.split("compute tpus " + line) for line in expected]

    dry = house.run("tpu_vm.sh", *arguments, DRY_RUN="1")
    assert [shlex.split(line)[1:] for line in dry.stdout.splitlines()] == expected
    assert house.calls() == []

    assert house.run("tpu_vm.sh", *arguments).returncode == 0
    assert house.calls() == expected


@pytest.mark.parametrize(
    "kind, image", [("v4-8", "tpu-ubuntu2204-base"), ("v6e-8", "v2-alpha-tpuv6e")]
)
def test_tpu_vm_knows_the_image_of_a_machine(house, kind, image):
    assert (
        f"--runtime-version={image} "
        in house.run("tpu_vm.sh", "create", TYPE=kind, DRY_RUN="1").stdout
    )
    assert (
        "--runtime-version=mine "
        in house.run("tpu_vm.sh", "create", TYPE=kind, VERSION="mine", DRY_RUN="1").stdout
    )


def test_resume_is_run(house):
    run, resume = (
        house.run("tpu_vm.sh", action, *house.awkward, DRY_RUN="1").stdout
        for action in ("run", "resume")
    )
    assert run == resume != ""


def test_tpu_vm_run_hands_flags_through_both_shells(house):
    house.stub(house.bin / "gcloud")
    house.install("tpu")
    assert house.run("tpu_vm.sh", "run", *house.awkward).returncode == 0
    (call,) = house.calls()
    house.log.unlink()

    # What sshd does with it; it returns at once and leaves the program running.
    command = call[-1].removeprefix("--command=")
    subprocess.run(
        ["bash", "-c", command], cwd=house.root.parent, env=house.env, check=True, timeout=10
    )
    deadline = time.time() + 20
    while not house.log.exists() or not house.log.read_text().endswith("\n"):
        assert time.time() < deadline, (house.root / "run.log").read_text()
        time.sleep(0.05)
    assert house.calls() == [["-m", "gpt1_jax.main", "--multihost=on", *house.awkward]]


@pytest.mark.parametrize(
    "arguments, env, words",
    [
        (["dance"], {}, ["dance", "create"]),
        (["run", "--config=c.py"], {}, ["--workdir"]),
        (["create"], {"TYPE": "v99-8"}, ["v99-8", "VERSION"]),
    ],
)
def test_tpu_vm_refuses(house, arguments, env, words):
    house.stub(house.bin / "gcloud")
    house.assert_refused(house.run("tpu_vm.sh", *arguments, **env), *words)
    assert house.calls() == []


@pytest.mark.parametrize("name", ["NAME", "ZONE"])
def test_tpu_vm_asks_for_its_variables(house, name):
    result = house.run("tpu_vm.sh", "delete", **{name: ""})
    assert result.returncode != 0 and f"set {name}" in result.stderr


def test_slurm_hands_flags_to_srun(house):
    house.stub(house.bin / "srun")
    house.install("cuda")
    spool = shutil.copy(
        house.root / "launch/slurm.sbatch", house.root.parent / "job00042"
    )  # as slurmd does
    env = house.env | {"SLURM_SUBMIT_DIR": str(house.root)}
    subprocess.run(["bash", spool, *house.awkward], env=env, check=True, timeout=60)
    program = [".venv/bin/python", "-m", "gpt1_jax.main", "--multihost=on"]
    assert house.calls() == [["--kill-on-bad-exit=1", *program, *house.awkward]]
    subprocess.run(
        ["bash", spool, *house.awkward],
        env=env | {"SLURM_ARRAY_TASK_ID": "3", "SHARDS": "8"},
        check=True,
        timeout=60,
    )
    assert house.calls()[1][-1] == "--config.shard=3/8"


def test_slurm_refuses_what_could_not_resume(house):
    house.stub(house.bin / "srun")
    house.install("cuda")
    house.assert_refused(
        house.run("slurm.sbatch", "--config=c.py", SLURM_SUBMIT_DIR=str(house.root)),
        "--workdir=DIR",
    )
    house.assert_refused(
        house.run("slurm.sbatch", "--workdir=w", SLURM_SUBMIT_DIR=str(house.bin)), "repository"
    )
    assert house.calls() == []


def test_a_sweep_gives_each_machine_a_shard(house):
    flags = ["--config=c.py", "--workdir=runs/a b"]
    slurm = house.run("sweep.sh", "slurm", "8", "--time=2-0", "--", *flags, DRY_RUN="1")
    assert shlex.split(slurm.stdout) == [
        "sbatch",
        "--array=1-8",
        "--export=ALL,SHARDS=8",
        "--time=2-0",
        "launch/slurm.sbatch",
        *flags,
    ]
    assert shlex.split(house.run("sweep.sh", "slurm", "2", *flags, DRY_RUN="1").stdout)[:2] == [
        "sbatch",
        "--array=1-2",
    ]
    tpu = house.run("sweep.sh", "tpu", "2", *flags, DRY_RUN="1").stdout.splitlines()
    assert [
        f"vm-{shard}" in line and f"--config.shard={shard}/2" in line
        for shard, line in enumerate(tpu, 1)
    ] == [True, True]


def test_a_sweep_on_gpus_ends_with_the_first_failure(house):
    house.install(does='sys.exit(3 * ("--config.shard=2/2" in sys.argv))')
    assert house.run("sweep.sh", "gpus", "2", "--workdir=w").returncode == 3
    assert sorted(house.calls()) == [
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
def test_a_sweep_says_what_is_wrong(house, arguments, word):
    ended = house.run("sweep.sh", *arguments)
    assert ended.returncode == 2 and word in ended.stderr and house.calls() == []
