"""Test that a checkpoint that cannot be written is one line, and that the earlier ones stay."""

import contextlib
import os
import shutil
import subprocess

import pytest

from gpt1_jax.engine import checkpoint
from gpt1_jax.errors import UserError


def assert_only_step_1_is_left(workdir, caught, *words):
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["1"]


def test_missing_space_is_found_before_writing(saved, reopen, make_state, monkeypatch):
    workdir = saved(1)
    usage = shutil.disk_usage(workdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=123_000))
    with pytest.raises(UserError) as caught:
        reopen(workdir).save(2, make_state(2))
    assert_only_step_1_is_left(workdir, caught, "step 2 is not saved", "needs 1.3 MB", "0.1 MB are")


@pytest.mark.parametrize("call", ["wait", "close", "save"])
def test_error_in_the_background_is_one_line(
    saved, reopen, make_state, file_size_limit, call, capfd
):
    workdir = saved(1)
    checkpoints = reopen(workdir)
    with file_size_limit(16_384), pytest.raises(UserError) as caught:
        checkpoints.save(2, make_state(2))
        checkpoints.save(3, make_state(3)) if call == "save" else getattr(checkpoints, call)()
    assert_only_step_1_is_left(workdir, caught, "cannot save step 2 (File too large)", "intact")
    checkpoints.close()  # on the way out
    assert capfd.readouterr().err == ""
    again = reopen(workdir)
    assert again.restore(make_state(0))[0] == 1
    again.save(2, make_state(2))
    again.close()
    assert checkpoint.steps(workdir) == [1, 2]


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 2 MB; skip the test if it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_leaves_the_earlier_checkpoints(small_disk, reopen, make_state, assert_same):
    checkpoints = reopen(small_disk, keep=100)
    with (
        pytest.raises(UserError, match=r"a checkpoint needs 1\.\d MB and [01]\.\d MB are free"),
        contextlib.closing(checkpoints),
    ):
        for step in range(1, 100):
            checkpoints.save(step, make_state(step))
    last = checkpoint.steps(small_disk)[-1]
    step, state = reopen(small_disk).restore(make_state(0))
    assert step == last > 1
    assert_same(state, make_state(step))
