"""Provide checkpoints to the tests of reading and of managing them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.engine import optim
from gpt1_jax.engine.checkpoint_manager import Checkpoints

OPTIMIZER = optim.adam(
    0.1, optim.warmup_linear(10, 0.1), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
)

RUN = {"tokenizer": "abc", "seed": 0, "config": "c0"}  # what the checkpoints of the run share


@pytest.fixture(scope="session")
def make_state():
    """Return make_state(seed): random params, one of them large, and moments."""

    def make(seed):
        random = np.random.default_rng(seed)
        params = {
            "tokens": random.standard_normal((300, 64)),
            "h0": {"bias": random.standard_normal(3)},
            "h1": {"bias": random.standard_normal(3)},
        }
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
        opt_state = jax.tree.map(
            lambda leaf: leaf + jnp.asarray(seed + 1, leaf.dtype), OPTIMIZER.init(params)
        )
        return {"params": params, "opt_state": opt_state}

    return make


@pytest.fixture
def saved(tmp_path, make_state):
    """Return saved(*steps, **options): a run's folder with the state of seed N at step N."""

    def save(*steps, keep=10, keep_steps=(), scores=None):
        checkpoints = Checkpoints(tmp_path, RUN, keep=keep, keep_steps=keep_steps)
        for step in steps:
            score = scores[step] if scores else None
            checkpoints.save(step, make_state(step), score)
        checkpoints.wait()
        checkpoints.close()
        return tmp_path

    return save


@pytest.fixture(scope="session")
def reopen():
    """Return reopen(workdir, ...): its checkpoints, as the next start of the same run opens them.

    Lines of the log, and the seconds of each sleep, are appended to the lists that are passed.
    """

    def open_again(workdir, log_lines=None, sleeps=None, run=RUN, keep=10):
        log_line = [].append if log_lines is None else log_lines.append
        sleep = [].append if sleeps is None else sleeps.append
        return Checkpoints(workdir, run, keep=keep, log_line=log_line, sleep=sleep)

    return open_again


@pytest.fixture(scope="session")
def assert_same():
    """Return assert_same(a, b): two trees have the same structure, types and bits."""

    def check(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()

    return check


@pytest.fixture(scope="session")
def flip_bit():
    """Return flip_bit(workdir, step, item): flip a bit in the middle of the item's largest file."""

    def flip(workdir, step, item="params"):
        paths = (workdir / "checkpoints" / str(step) / item).rglob("*")
        file = max((path for path in paths if path.is_file()), key=lambda path: path.stat().st_size)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    return flip
