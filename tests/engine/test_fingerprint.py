"""Test what the fingerprint of params depends on."""

import jax.numpy as jnp
import numpy as np

from gpt1_jax.engine import fingerprint


def test_fingerprint_depends_on_names_shapes_types_and_bits():
    params = {"a": np.arange(6, dtype=np.float32), "b": {"c": np.zeros(2, np.float32)}}
    digest = fingerprint.params_sha256(params)
    assert fingerprint.params_sha256({"b": {"c": jnp.zeros(2)}, "a": jnp.arange(6.0)}) == digest
    others = [
        {**params, "a": np.nextafter(params["a"], np.float32(9))},
        {**params, "a": params["a"].reshape(2, 3)},
        {**params, "a": params["a"].astype(np.int32)},
        {"x": params["a"], "b": params["b"]},
    ]
    assert len({digest, *map(fingerprint.params_sha256, others)}) == 5
