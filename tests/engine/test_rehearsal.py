"""Test what compiling a small step for an absent machine tells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilers import needs_cuda, needs_libtpu
from jax.experimental.compilation_cache import compilation_cache

from gpt1_jax.engine import accelerators, optim, rehearsal, step

PARAMS = {"w": jax.ShapeDtypeStruct((256, 256), jnp.float32)}
OPTIMIZER = optim.adam(
    0.1, optim.warmup_linear(10, 0.1), b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0
)
STATE = {"params": PARAMS, "opt_state": jax.eval_shape(OPTIMIZER.init, PARAMS)}
WEIGHT = 256 * 256 * 4  # bytes


def compiled(target: str, rows: int, accumulate: int = 1) -> rehearsal.Compiled:
    """Compile a training step of one matrix on `rows` vectors."""

    def loss(params, batch, key):
        hidden = jnp.tanh(batch["x"] @ params["w"])
        return jnp.square(jnp.tanh(hidden @ params["w"])).mean(), {}

    training_step = step.training_step(loss, OPTIMIZER, accumulate=accumulate)
    batch = {"x": jax.ShapeDtypeStruct((rows, 256), np.float32)}
    return rehearsal.compile_step(training_step, accelerators.find_target(target), STATE, batch)


@needs_libtpu
@pytest.mark.parametrize("target", ["v5e:2x2", "v5p:2x2x2"])  # one host, two hosts
def test_step_for_tpus_reduces_its_gradients_once(target):
    found = compiled(target, rows=64)
    assert found.memory.aliased >= 3 * WEIGHT  # the params and both moments, updated in place
    assert found.memory.total < 10 * WEIGHT
    assert sum(kind.count for kind in found.collectives) == 1
    assert WEIGHT <= sum(kind.bytes for kind in found.collectives) <= WEIGHT + 1024
    assert found.flops > 0 and found.traffic.touched > 6 * WEIGHT and not found.unknown_loops


@needs_libtpu
def test_accumulation_is_counted_in_full():
    found = compiled("v5e:1x1", rows=4096, accumulate=8)
    counts = {operation.name: operation.count for operation in found.traffic.operations}
    assert counts["while/body/add"] == 7  # the first part is outside of the loop
    assert not found.unknown_loops


@needs_libtpu
def test_program_that_does_not_fit_is_refused_with_its_needs():
    with pytest.raises(rehearsal.DoesNotFit) as error:
        compiled("v5e:1x1", rows=2**25)
    assert error.value.needed > accelerators.find_target("v5e:1x1").accelerator.memory


@needs_libtpu
def test_compilation_leaves_the_cache_alone(tmp_path):
    earlier = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compilation_cache.reset_cache()
    try:
        compiled("v5e:2x2", rows=16)
        assert not list(tmp_path.iterdir())
        assert jax.config.jax_enable_compilation_cache
    finally:
        jax.config.update("jax_compilation_cache_dir", earlier)
        compilation_cache.reset_cache()


@needs_cuda
@pytest.mark.parametrize(("target", "collectives"), [("l4", 0), ("h100:8", 1)])
def test_step_for_gpus(target, collectives):
    found = compiled(target, rows=64)
    assert sum(kind.count for kind in found.collectives) == collectives
    assert found.flops is None and found.traffic.bytes == found.traffic.touched > 6 * WEIGHT
