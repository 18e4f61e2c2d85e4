"""Test that params and metadata of checkpoints are read by name, and verified."""

import shutil

import numpy as np
import pytest

from gpt1_jax.engine import checkpoint
from gpt1_jax.errors import UserError


def test_meta_is_read(saved):
    meta = checkpoint.read_meta(saved(3), 3)
    assert meta["tokenizer"] == "abc" and meta["step"] == 3 and "params/tokens" in meta["crc32"]


def test_params_are_read_by_name_without_the_optimizer_state(saved, make_state):
    workdir = saved(1)
    shutil.rmtree(workdir / "checkpoints" / "1" / "opt_state")
    assert checkpoint.param_names(workdir, 1) == ["h0/bias", "h1/bias", "tokens"]
    params = checkpoint.read_params(workdir, 1, ["h1/bias", "tokens"])
    assert set(params) == {"h1/bias", "tokens"}
    assert all(type(array) is np.ndarray for array in params.values())
    np.testing.assert_array_equal(params["tokens"], make_state(1)["params"]["tokens"])
    assert checkpoint.read_params(workdir, 1, []) == {}


def test_damage_is_detected_only_in_params_that_are_read(saved, make_state, flip_bit):
    workdir = saved(1)
    flip_bit(workdir, 1)
    bias = checkpoint.read_params(workdir, 1, ["h0/bias"])["h0/bias"]
    np.testing.assert_array_equal(bias, make_state(1)["params"]["h0"]["bias"])
    message = r"checkpoints/1/params: damaged .*name another run or another step"
    with pytest.raises(UserError, match=message):
        checkpoint.read_params(workdir, 1, ["h0/bias", "tokens"])


def test_unknown_param_name_is_refused(saved):
    with pytest.raises(UserError, match=r"params: has no h7/bias; it holds h0/bias"):
        checkpoint.read_params(saved(1), 1, ["tokens", "h7/bias"])


@pytest.mark.parametrize("folders", [(), ("checkpoints",)])
def test_folder_without_checkpoints_is_refused(tmp_path, folders):
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"config\.init\.path: .* has no checkpoints/"):
        checkpoint.steps(tmp_path)
