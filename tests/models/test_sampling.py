"""Text drawn from a language model: from its own distribution, token rows only, the same for the same key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models import sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS

VOCABULARY = 11


@pytest.mark.parametrize("body", ["transformer", "lstm"])
def test_each_token_is_drawn_given_those_before_it(body):
    sizes = {"layers": 1, "heads": 2, "ffn": 16} if body == "transformer" else {"units": 8}
    model = LanguageModel(MODELS[body](VOCABULARY, context=6, width=8, **sizes))
    params = model.init({"params": jax.random.key(0)}, jnp.zeros((1, 6), jnp.int32), train=False)["params"]
    # Sharp enough that draws follow the model, and position rows that would win every draw.
    params = {**params, "tokens": params["tokens"] * 300, **({"positions": params["positions"] + 50.0} if "positions" in params else {})}
    start, key = jnp.array([3, 5]), jax.random.key(7)
    texts = np.asarray(sampling.sample(model, params, start, 5, key))
    assert texts.shape == (2, 5) and texts.max() < VOCABULARY
    np.testing.assert_array_equal(texts, sampling.sample(model, params, start, 5, key))
    known = np.asarray(start)[:, None]
    for place in range(5):  # the plain way, one text longer each time
        hidden, table = model.apply({"params": params}, jnp.asarray(known), train=False)
        logits = hidden[:, -1] @ table[:VOCABULARY].T
        drawn = jax.random.categorical(jax.random.fold_in(key, place), logits)
        np.testing.assert_array_equal(drawn, texts[:, place])
        known = np.concatenate([known, texts[:, place : place + 1]], axis=1)
