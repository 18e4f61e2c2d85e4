"""Test that an error of the system is told from damage: it is retried, and renames nothing."""

import asyncio
import builtins
import errno
import gc
import io
import os
import pathlib
import shutil

import pytest
from orbax.checkpoint import type_handlers

from gpt1_jax.engine import checkpoint, checkpoint_errors
from gpt1_jax.errors import UserError

SYSTEM_ERRORS = [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOMEM]


@pytest.fixture
def fail_reading(monkeypatch):
    """Return fail_reading(number, path, times): the next `times` reads of `path` fail in Python."""

    def install(number: int, path: pathlib.Path, times: float):
        real, left = io.open, [times]

        def failing_open(file, *arguments, **options):
            if isinstance(file, str | os.PathLike) and pathlib.Path(file) == path and left[0] > 0:
                left[0] -= 1
                raise OSError(number, os.strerror(number), str(file))
            return real(file, *arguments, **options)

        monkeypatch.setattr(io, "open", failing_open)
        monkeypatch.setattr(builtins, "open", failing_open)

    return install


@pytest.mark.parametrize("number", SYSTEM_ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("file", ["meta/metadata", "opt_state/_METADATA"])
def test_passing_error_is_retried(
    saved, make_state, fail_reading, number, file, reopen, assert_same
):
    workdir, sleeps, log_lines = saved(1, 2), [], []
    fail_reading(number, workdir / "checkpoints/2" / file, times=2)
    step, state = reopen(workdir, log_lines, sleeps).restore(make_state(0))
    assert step == 2
    assert_same(state, make_state(2))
    assert sleeps == list(checkpoint_errors.RETRY_DELAYS[:2]) and log_lines == []


@pytest.mark.parametrize("number", SYSTEM_ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("file", ["meta/metadata", "opt_state/_METADATA"])
def test_lasting_error_stops_and_renames_nothing(
    saved, make_state, fail_reading, number, file, reopen
):
    workdir, sleeps, log_lines = saved(1, 2), [], []
    fail_reading(number, workdir / "checkpoints/2" / file, times=float("inf"))
    with pytest.raises(UserError, match=f"checkpoints/2.*{os.strerror(number)}") as caught:
        reopen(workdir, log_lines, sleeps).restore(make_state(0))
    assert "\n" not in str(caught.value) and "remove" not in str(caught.value)
    assert checkpoint.steps(workdir) == [1, 2] and not list(workdir.glob("bad-*"))
    assert sleeps == list(checkpoint_errors.RETRY_DELAYS) and log_lines == []


@pytest.mark.parametrize("pattern", ["manifest.ocdbt", "ocdbt.process_0/d/*"])
def test_error_of_the_system_below_orbax_renames_nothing(saved, make_state, pattern, reopen):
    workdir = saved(1, 2)
    for file in (workdir / "checkpoints/2/params").glob(pattern):
        file.unlink()
        file.symlink_to(file.name)  # opening it fails with ELOOP in TensorStore, too
    with pytest.raises(UserError, match="cannot be read .Too many levels of symbolic links"):
        reopen(workdir).restore(make_state(0))
    assert checkpoint.steps(workdir) == [1, 2] and not list(workdir.glob("bad-*"))


def test_params_are_read_again_after_a_passing_error(
    saved, make_state, fail_reading, monkeypatch, assert_same
):
    monkeypatch.setattr(checkpoint_errors, "RETRY_DELAYS", (0.0,))
    workdir = saved(1)
    file = workdir / "checkpoints/1/params/_METADATA"
    fail_reading(errno.EIO, file, times=1)
    assert_same(checkpoint.read_all_params(workdir, 1), make_state(1)["params"])
    fail_reading(errno.EIO, file, times=float("inf"))
    with pytest.raises(UserError, match="cannot be read .Input/output error") as caught:
        checkpoint.read_all_params(workdir, 1)
    assert "damaged" not in str(caught.value)


def flip(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "flipped bit": flip,
    "missing": lambda file: file.unlink(),
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "empty": lambda file: os.truncate(file, 0),
    "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_no_damaged_file_changes_a_restored_bit(
    saved, reopen, make_state, assert_same, tmp_path_factory, damage
):
    workdir, log_lines = saved(1, 2), []
    checkpoints = workdir / "checkpoints"
    intact = shutil.copytree(checkpoints / "2", tmp_path_factory.mktemp("intact") / "2")
    files = [path.relative_to(intact) for path in intact.rglob("*") if path.is_file()]
    restored = []
    for file in files:
        shutil.rmtree(checkpoints / "2", ignore_errors=True)
        shutil.copytree(intact, checkpoints / "2")
        damage(checkpoints / "2" / file)
        step, state = reopen(workdir, log_lines).restore(make_state(0))
        assert_same(state, make_state(step))
        assert step == (2 if (checkpoints / "2").exists() else 1), file
        restored.append(step)
        for bad in workdir.glob("bad-*"):
            shutil.rmtree(bad)
    assert len(log_lines) == restored.count(1) > 4
    final = reopen(workdir)
    final.save(3, make_state(3))
    final.close()
    assert reopen(workdir).restore(make_state(0))[0] == 3


def wrap(error: BaseException, *outer: BaseException) -> BaseException:
    """Return the last of `outer`, raised from the one before it, and so on down to `error`."""
    for each in outer:
        try:
            raise each from error
        except BaseException as raised:
            error = raised
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (wrap(OSError(errno.ESTALE, "Stale file handle"), ValueError("a"), KeyError("b")), "Stale"),
        (wrap(MemoryError(), ValueError("a")), "not enough memory"),
        (ValueError("UNKNOWN: x [os_error_code='5'] [tensorstore_spec='{}']"), "Input/output"),
        (wrap(ValueError("RESOURCE_EXHAUSTED [os_error_code='28']"), Exception("a")), "No space"),
        (FileNotFoundError(errno.ENOENT, "No such file"), None),
        (ValueError("NOT_FOUND: x [os_error_code='2']"), None),
        (ValueError("DATA_LOSS: CRC-32C checksum mismatch"), None),
    ],
)
def test_reason_of_the_system_is_found_below_other_errors(error, reason):
    found = checkpoint_errors.os_error(error)
    assert found is None if reason is None else reason in found


async def failing() -> None:
    raise ValueError("an error of the caller")


@pytest.mark.parametrize(
    ("start", "is_logged"),
    [(lambda: type_handlers.NumpyHandler().deserialize(None), False), (failing, True)],
    ids=["orbax", "other"],
)
def test_further_errors_of_orbax_are_not_logged(start, is_logged, caplog):
    async def leave_failed_task() -> None:
        task = asyncio.ensure_future(start())
        await asyncio.wait([task])  # raises nothing, so nobody has seen the error

    asyncio.run(leave_failed_task())
    gc.collect()
    assert ("Task exception was never retrieved" in caplog.text) is is_logged
