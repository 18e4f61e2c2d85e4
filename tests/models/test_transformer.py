"""The published decoder: its size, its names, and one forward pass written a second time in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.registry import MODELS

from .conftest import BODIES, CONTEXT, VOCAB


def test_the_published_model_has_exactly_its_parameters():
    model = LanguageModel(MODELS["transformer"](40_478))
    tokens = jax.ShapeDtypeStruct((1, 512), jnp.int32)
    params = jax.eval_shape(
        lambda tokens: model.init({"params": jax.random.key(0)}, tokens, train=False)["params"],
        tokens,
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 116_534_784
    assert set(params) == {"tokens", "positions", *(f"h{layer}" for layer in range(12))}
    assert sum(leaf.size for leaf in jax.tree.leaves(params["h0"])) == 7_087_872
    assert params["tokens"].shape == (40_478, 768) and params["positions"].shape == (512, 768)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_weights_start_as_published():
    model = LanguageModel(Transformer(2000, context=64, layers=1, width=96, heads=2, ffn=192))
    init = jax.jit(
        lambda key: model.init({"params": key}, jnp.zeros((1, 4), jnp.int32), train=False)
    )
    params = init(jax.random.key(0))["params"]
    weights = [params["tokens"], params["positions"]]
    weights += [params["h0"]["attn"][name]["kernel"] for name in ("c_attn", "c_proj")]
    weights += [params["h0"]["mlp"][name]["kernel"] for name in ("c_fc", "c_proj")]
    for weight in weights:
        assert abs(float(weight.std()) / 0.02 - 1) < 0.05 and abs(float(weight.mean())) < 0.001
    for leaf in (
        params["h0"]["attn"]["c_attn"]["bias"],
        params["h0"]["mlp"]["c_proj"]["bias"],
        params["h0"]["ln_1"]["bias"],
    ):
        assert (leaf == 0).all()
    assert (params["h0"]["ln_2"]["scale"] == 1).all()


def normalise(x, params):
    centred = x - x.mean(axis=-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * params["scale"]
        + params["bias"]
    )


def linear(x, params):
    return x @ params["kernel"] + params["bias"]


def attention(x, params, heads):
    length, width = x.shape
    depth = width // heads
    query, key, value = np.split(linear(x, params["c_attn"]), 3, axis=-1)
    mixed = np.zeros_like(x)
    for head in range(heads):
        own = slice(head * depth, (head + 1) * depth)
        for position in range(length):
            seen = slice(0, position + 1)
            scores = key[seen, own] @ query[position, own] / np.sqrt(depth)
            weights = np.exp(scores - scores.max())
            mixed[position, own] = weights / weights.sum() @ value[seen, own]
    return linear(mixed, params["c_proj"])


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def reference(params, tokens, layers, heads):
    """The published decoder on one row of tokens, in float64, position by position."""
    x = params["tokens"][tokens] + params["positions"][: len(tokens)]
    for layer in range(layers):
        block = params[f"h{layer}"]
        x = normalise(x + attention(x, block["attn"], heads), block["ln_1"])
        x = normalise(
            x + linear(gelu(linear(x, block["mlp"]["c_fc"])), block["mlp"]["c_proj"]), block["ln_2"]
        )
    return x


@pytest.mark.parametrize("length", [1, CONTEXT])
def test_a_forward_pass_equals_its_second_writing_in_numpy(fresh, apply, length):
    model = LanguageModel(BODIES["transformer"]())
    tokens = jax.random.randint(jax.random.key(1), (3, length), 0, VOCAB)
    params = fresh(model, tokens)
    hidden, table = apply(model, params, tokens)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = np.stack([reference(exact, row, layers=2, heads=3) for row in np.asarray(tokens)])
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(table, np.concatenate([params["tokens"], params["positions"]]))


def test_heads_that_do_not_divide_the_width_are_refused():
    model = LanguageModel(BODIES["transformer"](heads=5))
    with pytest.raises(
        UserError, match=r"config\.model\.heads: 5 does not divide config\.model\.width=12"
    ):
        model.init({"params": jax.random.key(0)}, jnp.zeros((1, 2), jnp.int32), train=False)


def test_flops_agree_with_what_the_compiler_counts(fresh):
    body = Transformer(50, context=64, layers=2, width=64, heads=2, ffn=256)
    model = LanguageModel(body)
    tokens = jnp.zeros((4, 64), jnp.int32)
    variables = {"params": fresh(model, tokens)}
    cost = (
        jax.jit(lambda variables: model.apply(variables, tokens, train=False)[0])
        .lower(variables)
        .cost_analysis()
    )
    assert (
        abs(cost["flops"] / (tokens.size * body.flops(64)) - 1) < 0.15
    )  # softmax, normalisation and sums come on top
