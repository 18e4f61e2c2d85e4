"""Compare the published decoder with NumPy code, and check its size and names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.registry import MODELS

from .conftest import BODIES, CONTEXT, VOCAB


def test_parameters_at_the_published_size():
    model = LanguageModel(MODELS["transformer"](40_478))
    tokens = jax.ShapeDtypeStruct((1, 512), jnp.int32)
    init = lambda tokens: model.init({"params": jax.random.key(0)}, tokens, train=False)
    params = jax.eval_shape(init, tokens)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 116_534_784
    assert set(params) == {"tokens", "positions", *(f"h{layer}" for layer in range(12))}
    assert sum(leaf.size for leaf in jax.tree.leaves(params["h0"])) == 7_087_872
    assert params["tokens"].shape == (40_478, 768) and params["positions"].shape == (512, 768)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_initial_weights_are_as_published():
    model = LanguageModel(Transformer(2000, context=64, layers=1, width=96, heads=2, ffn=192))
    tokens = jnp.zeros((1, 4), jnp.int32)
    init = jax.jit(lambda key: model.init({"params": key}, tokens, train=False))
    params = init(jax.random.key(0))["params"]
    block = params["h0"]
    weights = [params["tokens"], params["positions"]]
    weights += [block["attn"][name]["kernel"] for name in ("c_attn", "c_proj")]
    weights += [block["mlp"][name]["kernel"] for name in ("c_fc", "c_proj")]
    for weight in weights:
        assert abs(float(weight.std()) / 0.02 - 1) < 0.05 and abs(float(weight.mean())) < 0.001
    for layer in (block["attn"]["c_attn"], block["mlp"]["c_proj"], block["ln_1"]):
        assert (layer["bias"] == 0).all()
    assert (block["ln_2"]["scale"] == 1).all()


def normalize(x, params):
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = (centered**2).mean(axis=-1, keepdims=True)
    return centered / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"]


def linear(x, params):
    return x @ params["kernel"] + params["bias"]


def attention(x, params, heads):
    length, width = x.shape
    depth = width // heads
    q, k, v = np.split(linear(x, params["c_attn"]), 3, axis=-1)
    y = np.zeros_like(x)
    for head in range(heads):
        columns = slice(head * depth, (head + 1) * depth)
        for position in range(length):
            past = slice(0, position + 1)
            scores = k[past, columns] @ q[position, columns] / np.sqrt(depth)
            att = np.exp(scores - scores.max())
            y[position, columns] = att / att.sum() @ v[past, columns]
    return linear(y, params["c_proj"])


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def mlp(x, params):
    return linear(gelu(linear(x, params["c_fc"])), params["c_proj"])


def reference(params, tokens, layers, heads):
    """Return the hidden states of one row of tokens in float64, computed position by position.

    Params "ln_f" are those of a pre-LN body, which here has no positions, too.
    """
    x = params["tokens"][tokens]
    if "positions" in params:
        x = x + params["positions"][: len(tokens)]
    for layer in range(layers):
        block = params[f"h{layer}"]
        if "ln_f" in params:
            x = x + attention(normalize(x, block["ln_1"]), block["attn"], heads)
            x = x + mlp(normalize(x, block["ln_2"]), block["mlp"])
            continue
        x = normalize(x + attention(x, block["attn"], heads), block["ln_1"])
        x = normalize(x + mlp(x, block["mlp"]), block["ln_2"])
    return normalize(x, params["ln_f"]) if "ln_f" in params else x


OPTIONS = {"learned_positions": False, "pre_norm": True}


@pytest.mark.parametrize(("length", "options"), [(1, {}), (CONTEXT, {}), (CONTEXT, OPTIONS)])
def test_forward_pass_equals_numpy_implementation(random_params, apply, length, options):
    model = LanguageModel(BODIES["transformer"](**options))
    tokens = jax.random.randint(jax.random.key(1), (3, length), 0, VOCAB)
    params = random_params(model, tokens)
    hidden, embedding = apply(model, params, tokens)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = np.stack([reference(exact, row, layers=2, heads=3) for row in np.asarray(tokens)])
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-5)
    rows = [params[name] for name in ("tokens", "positions") if name in params]
    np.testing.assert_array_equal(embedding, np.concatenate(rows))
    assert ("positions" in params, "ln_f" in params) == (not options, bool(options))


def test_heads_that_do_not_divide_the_width_are_refused():
    model = LanguageModel(BODIES["transformer"](heads=5))
    message = r"config\.model\.heads: 5 does not divide config\.model\.width=12; choose a divisor"
    with pytest.raises(UserError, match=message):
        model.init({"params": jax.random.key(0)}, jnp.zeros((1, 2), jnp.int32), train=False)


def test_flops_agree_with_the_compiler(random_params):
    body = Transformer(50, context=64, layers=2, width=64, heads=2, ffn=256)
    model = LanguageModel(body)
    tokens = jnp.zeros((4, 64), jnp.int32)
    variables = {"params": random_params(model, tokens)}
    forward = jax.jit(lambda variables: model.apply(variables, tokens, train=False)[0])
    cost = forward.lower(variables).cost_analysis()
    # The compiler also counts softmax, normalization and sums.
    assert abs(cost["flops"] / (tokens.size * body.flops(64)) - 1) < 0.15
