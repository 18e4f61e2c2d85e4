"""Provide small bodies of every kind and random params for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.lstm import LSTM
from gpt1_jax.models.transformer import Transformer

VOCAB, CONTEXT, WIDTH = 20, 8, 12


def small_transformer(**changes) -> Transformer:
    sizes = dict(context=CONTEXT, layers=2, width=WIDTH, heads=3, ffn=16)
    return Transformer(VOCAB, **{**sizes, **changes})


def small_lstm(**changes) -> LSTM:
    return LSTM(VOCAB, **{**dict(context=CONTEXT, width=WIDTH, units=10), **changes})


BODIES = {"transformer": small_transformer, "lstm": small_lstm}


@pytest.fixture(params=BODIES)
def make_body(request):
    """Return a function (**changes) -> small body; run the test for every kind of body."""
    return BODIES[request.param]


@pytest.fixture
def random_params():
    """Return a function (model, *inputs) -> random params, where no bias is 0 and no gain is 1."""

    def make(model, *inputs):
        def init(*inputs):
            return model.init({"params": jax.random.key(0)}, *inputs, train=False)["params"]

        random = np.random.default_rng(0)

        def draw(path, leaf):
            mean = path[-1].key == "scale"
            return jnp.asarray(mean + 0.3 * random.standard_normal(leaf.shape), leaf.dtype)

        return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, *inputs))

    return make


@pytest.fixture
def apply():
    """Return a function (model, params, *inputs, train, seed) -> forward pass as one program."""

    def forward(model, params, *inputs, train=False, seed=0, **options):
        rngs = {"dropout": jax.random.key(seed)} if train else None

        @jax.jit
        def run(params, *inputs):
            return model.apply({"params": params}, *inputs, train=train, rngs=rngs, **options)

        return run(params, *inputs)

    return forward
