"""Compare the LSTM baseline with a loop in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.lstm import LSTM, lstm_step, scan_tokens

from .conftest import BODIES, CONTEXT, VOCAB


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(params, tokens):
    """Return the hidden states of one row of tokens in float64, computed step by step."""
    layer = params["h0"]
    cell = output = np.zeros(layer["recurrent"].shape[0])
    hidden = []
    for token in tokens:
        inputs = params["tokens"][token] @ layer["input"]["kernel"]
        gates = inputs + output @ layer["recurrent"] + layer["bias"]
        forget_gate, input_gate, output_gate, candidate = np.split(gates, 4)
        cell = sigmoid(forget_gate) * cell + sigmoid(input_gate) * np.tanh(candidate)
        output = sigmoid(output_gate) * np.tanh(cell)
        hidden.append(output @ layer["projection"]["kernel"] + layer["projection"]["bias"])
    return np.stack(hidden)


def test_forward_pass_equals_numpy_loop(random_params, apply):
    model = LanguageModel(BODIES["lstm"]())
    tokens = jax.random.randint(jax.random.key(1), (3, CONTEXT), 0, VOCAB)
    params = random_params(model, tokens)
    hidden, embedding = apply(model, params, tokens)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = np.stack([reference(exact, row) for row in np.asarray(tokens)])
    np.testing.assert_allclose(hidden, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(embedding, params["tokens"])


def test_gradient_of_whole_rows_is_that_of_automatic_differentiation():
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.standard_normal(shape), jnp.float32)
    arguments = draw(3, 12), draw(12), (draw(2, 3), draw(2, 3)), draw(5, 2, 12)

    def plain(recurrent, bias, state, inputs):
        step = functools.partial(lstm_step, recurrent, bias)
        return jax.lax.scan(step, state, inputs)[1]

    results = []
    for scan in (scan_tokens, plain):
        outputs, transpose = jax.vjp(scan, *arguments)
        results.append(jax.tree.leaves((outputs, transpose(jnp.cos(outputs)))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_names_and_shapes_at_the_size_of_the_paper():
    model = LanguageModel(LSTM(40_478))
    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    init = lambda tokens: model.init({"params": jax.random.key(0)}, tokens, train=False)
    params = jax.eval_shape(init, tokens)["params"]
    assert set(params) == {"tokens", "h0"} and params["tokens"].shape == (40_478, 768)
    assert params["h0"]["recurrent"].shape == (2048, 4 * 2048)
    assert params["h0"]["projection"]["kernel"].shape == (2048, 768)


def test_initial_gates_are_orthogonal_and_the_forget_gate_is_open():
    model = LanguageModel(BODIES["lstm"]())
    tokens = jnp.zeros((1, 2), jnp.int32)
    init = jax.jit(lambda key: model.init({"params": key}, tokens, train=False))
    layer = init(jax.random.key(0))["params"]["h0"]
    for gate in np.split(np.asarray(layer["recurrent"]), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(len(gate)), atol=1e-5)
    bias = np.repeat([1.0, 0.0, 0.0, 0.0], len(layer["bias"]) // 4)
    np.testing.assert_array_equal(layer["bias"], bias)
