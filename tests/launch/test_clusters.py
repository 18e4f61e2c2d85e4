"""Test the scripts for Cloud TPU and Slurm against stubs of gcloud and srun."""

import json
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


# A gcloud with one machine, whose life is played from a file. Every create takes the next of its
# `lives`: the answers to "how is the program?", and then a state of the machine or an exit code.
CLOUD = """#!{python}
import json, pathlib, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv) + "\\n")
file, call = pathlib.Path({log!r}).with_name("cloud.json"), " ".join(sys.argv[1:])
cloud = json.loads(file.read_text())
machine = cloud.get("machine")

def end(text="", code=0):
    file.write_text(json.dumps(cloud))
    print(text, file=sys.stderr if code else sys.stdout)
    sys.exit(code)

if "auth list" in call or "get-value project" in call:
    end(cloud.get("login", "me"))
if "storage ls" in call:
    end(code=0 if cloud.get("finished") else 1)
if "accelerator-types describe" in call:
    end(code=0 if "--zone=z" in call else 1)
if " create " in call:
    if cloud.get("refusals"):
        end(cloud["refusals"].pop(0), 1)
    cloud["machine"] = dict(cloud["lives"].pop(0), waits=["WAITING_FOR_RESOURCES", "PROVISIONING"])
if " delete " in call:
    cloud["machine"] = None
if "queued-resources describe" in call:
    if not machine:
        end("NOT_FOUND: no such request", 1)
    end(machine["waits"].pop(0) if machine["waits"] else "ACTIVE")
is_over = machine and machine.get("started") and not machine["polls"]
if "networkEndpoints" in call:
    end(1)
if "tpu-vm describe" in call:
    end(machine["end"] if is_over and isinstance(machine["end"], str) else "READY")
if " scp " in call and cloud.get("scp_failures"):
    cloud["scp_failures"] -= 1
    end("connection refused", 255)
if "launch/tpu_vm.sh work" in call:
    machine.update(machine.pop("again", {{}}), started=True)
    if "HF_TOKEN" in call:
        cloud["token"] = sys.stdin.readline().strip()
if "run.exit" in call and machine.get("started"):
    if not is_over:
        machine["polls"] -= 1
        end("running")
    cloud["finished"] = machine["end"] == 0
    end(machine["end"])
end()
"""
KEEP = ["keep", "--spot", "--", "--config=c.py", "--workdir=gs://b/run"]


@pytest.fixture
def cloud(sandbox):
    """Return a function that runs `keep` on a cloud; it returns the result and the calls."""
    sandbox.stub(sandbox.bin / "gcloud", CLOUD)
    sandbox.stub(sandbox.bin / "ssh-add")
    file = sandbox.log.with_name("cloud.json")

    def keep(cloud: dict, *arguments: str, **env):
        file.write_text(json.dumps(cloud))
        result = sandbox.run("tpu_vm.sh", *(arguments or KEEP), **{"PAUSE": "0", **env})
        calls = [" ".join(call) for call in sandbox.calls()]
        return result, calls, json.loads(file.read_text())

    return keep


def count(calls, *words):
    return sum(all(word in call for word in words) for call in calls)


def test_keep_goes_on_until_the_result_is_there(cloud):
    lives = [
        {"polls": 2, "end": "PREEMPTED"},
        {"polls": 1, "end": "PREEMPTED"},
        {"polls": 2, "end": 0},
    ]
    result, calls, left = cloud({"lives": lives, "scp_failures": 1}, HF_TOKEN="")
    assert result.returncode == 0, result.stderr
    assert count(calls, "queued-resources create", "--spot") == 3
    assert count(calls, "queued-resources delete") == 3  # the last one because it is finished
    assert count(calls, " scp ") == 4 and count(calls, "tpu_vm.sh work --config=c.py") == 3
    assert left["machine"] is None and "finished: gs://b/run/result.json" in result.stderr


def test_keep_joins_a_run_that_another_keep_has_started(cloud):
    machine = {"waits": [], "started": True, "polls": 1, "end": 0}
    result, calls, _ = cloud({"machine": machine, "lives": []})
    assert result.returncode == 0, result.stderr
    assert count(calls, "create") == count(calls, " scp ") == count(calls, "tpu_vm.sh work") == 0


def test_keep_resumes_a_program_that_was_stopped(cloud):
    again = {"polls": 1, "end": 0}
    machine = {"waits": [], "started": True, "polls": 0, "end": 143, "again": again}
    result, calls, _ = cloud({"machine": machine, "lives": []})
    assert result.returncode == 0, result.stderr
    assert count(calls, "tpu_vm.sh work") == 1 and count(calls, "create") == 0


@pytest.mark.parametrize(
    "world, words",
    [
        ({"login": ""}, ["gcloud auth login"]),
        (
            {"refusals": ["RESOURCE_EXHAUSTED: Quota limit 'TPUV5s' has been exceeded"]},
            ["quota", "'TPUV5s'"],
        ),
        ({"lives": [{"polls": 0, "end": 2}]}, ["refused its settings"]),
        ({"lives": [{"polls": 0, "end": 1}]}, ["ended with code 1, 3 times"]),
    ],
    ids=["login", "quota", "settings", "crashes"],
)
def test_keep_ends_where_waiting_would_not_help(cloud, world, words):
    result, _, _ = cloud({"lives": [], **world})
    assert result.returncode == 2
    assert all(word in result.stderr.splitlines()[-1] for word in words), result.stderr


@pytest.mark.parametrize(
    "arguments, env, words",
    [
        (["keep", "--config=c.py", "--workdir=/mnt/run"], {}, "gs://BUCKET"),
        (KEEP, {"ZONE": "y"}, "no TYPE=v5litepod-8 in ZONE=y"),
    ],
)
def test_keep_refuses_at_once_what_would_fail_late(cloud, arguments, env, words):
    result, calls, _ = cloud({"lives": []}, *arguments, **env)
    assert result.returncode == 2 and words in result.stderr
    assert count(calls, "create") == 0


def test_keep_passes_the_token_by_the_connection_only(cloud):
    result, calls, left = cloud({"lives": [{"polls": 1, "end": 0}]}, HF_TOKEN="hf_secret")
    assert result.returncode == 0, result.stderr
    assert left["token"] == "hf_secret"
    assert count(calls, "hf_secret") == 0 and "hf_secret" not in result.stdout + result.stderr


def test_compute_engine_serves_other_types(sandbox):
    sandbox.stub(sandbox.bin / "gcloud")
    result = sandbox.run("tpu_vm.sh", "create", "--spot", API="gce", VERSION="image", DRY_RUN="1")
    assert shlex.split(result.stdout)[:5] == ["gcloud", "compute", "instances", "create", "vm"]
    assert "--machine-type=tpu7x-standard-4t" in result.stdout
    assert "--provisioning-model=SPOT" in result.stdout
    refused = sandbox.run("tpu_vm.sh", "create", TYPE="tpu7x-8", DRY_RUN="1")
    sandbox.assert_refused(refused, "API=gce")


def test_slurm_passes_flags_to_srun(sandbox):
    sandbox.stub(sandbox.bin / "srun")
    sandbox.install("cuda")
    assert sbatch(sandbox, *sandbox.awkward).returncode == 0
    program = [".venv/bin/python", "-m", "gpt1_jax.main", "--multihost=on"]
    assert sandbox.calls() == [["--kill-on-bad-exit=1", *program, *sandbox.awkward]]
    sbatch(sandbox, *sandbox.awkward, SLURM_ARRAY_TASK_ID="3", SHARDS="8")
    assert sandbox.calls()[1][-1] == "--config.shard=3/8"


def sbatch(sandbox, *arguments, **env):
    """Run the job script as slurmd does: a copy in its spool folder."""
    spool = shutil.copy(sandbox.root / "launch/slurm.sbatch", sandbox.root.parent / "job00042")
    env = sandbox.env | {"SLURM_SUBMIT_DIR": str(sandbox.root), **env}
    return subprocess.run(["bash", spool, *arguments], env=env, timeout=60)


# The first job is preempted: it gets SIGTERM, saves and exits with 143.
PREEMPTED = """
import pathlib
mark = pathlib.Path(sys.argv[0]).with_name("saved")
code = 0 if mark.exists() else 143
mark.touch()
sys.exit(code)
"""


def test_slurm_resumes_a_requeued_job_by_the_same_command(sandbox):
    sandbox.stub(sandbox.bin / "srun", does=PREEMPTED)
    sandbox.install("cuda")
    codes = [sbatch(sandbox, "--workdir=runs/a").returncode for _ in range(2)]
    assert codes == [143, 0]  # Slurm requeues the first: it ended by the signal of a preemption
    first, second = sandbox.calls()
    assert first == second
    directives = (sandbox.root / "launch/slurm.sbatch").read_text()
    assert "#SBATCH --requeue" in directives and "#SBATCH --open-mode=append" in directives


def test_slurm_loads_modules_and_runs_in_a_container(sandbox):
    sandbox.stub(sandbox.bin / "srun")
    sandbox.stub(sandbox.bin / "module")
    sandbox.stub(sandbox.bin / "python3")
    options = {"MODULES": "cuda/12 python/3.12", "CONTAINER": "/images/gpt1 jax.sqsh"}
    assert sbatch(sandbox, "--workdir=runs/a", **options).returncode == 0
    loaded, started = sandbox.calls()  # and nothing was installed
    assert loaded == ["load", "cuda/12", "python/3.12"]
    assert "--container-image=/images/gpt1 jax.sqsh" in started
    assert started[-4:] == ["-m", "gpt1_jax.main", "--multihost=on", "--workdir=runs/a"]
