"""Small bodies of both kinds, and params for them whose every number matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.lstm import LSTM
from gpt1_jax.models.transformer import Transformer

VOCAB, CONTEXT, WIDTH = 20, 8, 12
BODIES = {
    "transformer": lambda **changes: Transformer(
        VOCAB, **{**dict(context=CONTEXT, layers=2, width=WIDTH, heads=3, ffn=16), **changes}
    ),
    "lstm": lambda **changes: LSTM(
        VOCAB, **{**dict(context=CONTEXT, width=WIDTH, units=10), **changes}
    ),
}


@pytest.fixture(params=BODIES)
def make_body(request):
    """(**changes) -> a small body; the test runs for every kind."""
    return BODIES[request.param]


@pytest.fixture
def fresh():
    """(model, *inputs) -> params with noise added, so that no bias is 0 and no gain is 1."""

    def scattered(model, *inputs):
        shapes = jax.eval_shape(
            lambda *inputs: model.init({"params": jax.random.key(0)}, *inputs, train=False)[
                "params"
            ],
            *inputs,
        )
        random = np.random.default_rng(0)
        noise = lambda leaf, mean: jnp.asarray(
            mean + 0.3 * random.standard_normal(leaf.shape), leaf.dtype
        )
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: noise(leaf, mean=path[-1].key == "scale"), shapes
        )

    return scattered


@pytest.fixture
def apply():
    """(model, params, *inputs, train, seed) -> the model's forward pass as one program."""

    def forward(model, params, *inputs, train=False, seed=0, **options):
        rngs = {"dropout": jax.random.key(seed)} if train else None
        return jax.jit(
            lambda params, *inputs: model.apply(
                {"params": params}, *inputs, train=train, rngs=rngs, **options
            )
        )(params, *inputs)

    return forward
