"""The LSTM baseline against a loop in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.lstm import LSTM

from .conftest import BODIES, CONTEXT, VOCAB


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(params, tokens):
    """One row of tokens in float64, one step after the other."""
    layer = params["h0"]
    cell = output = np.zeros(layer["recurrent"].shape[0])
    hidden = []
    for token in tokens:
        gates = (
            params["tokens"][token] @ layer["input"]["kernel"]
            + output @ layer["recurrent"]
            + layer["bias"]
        )
        forget, admit, emit, proposal = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(admit) * np.tanh(proposal)
        output = sigmoid(emit) * np.tanh(cell)
        hidden.append(output @ layer["projection"]["kernel"] + layer["projection"]["bias"])
    return np.stack(hidden)


def test_a_forward_pass_equals_a_loop_in_numpy(fresh, apply):
    model = LanguageModel(BODIES["lstm"]())
    tokens = jax.random.randint(jax.random.key(1), (3, CONTEXT), 0, VOCAB)
    params = fresh(model, tokens)
    hidden, table = apply(model, params, tokens)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    np.testing.assert_allclose(
        hidden, np.stack([reference(exact, row) for row in np.asarray(tokens)]), rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(table, params["tokens"])


def test_the_papers_size_and_names():
    model = LanguageModel(LSTM(40_478))
    tokens = jax.ShapeDtypeStruct((1, 4), jnp.int32)
    params = jax.eval_shape(
        lambda tokens: model.init({"params": jax.random.key(0)}, tokens, train=False)["params"],
        tokens,
    )
    assert set(params) == {"tokens", "h0"} and params["tokens"].shape == (40_478, 768)
    assert params["h0"]["recurrent"].shape == (2048, 4 * 2048) and params["h0"]["projection"][
        "kernel"
    ].shape == (2048, 768)


def test_gates_start_orthogonal_with_the_forget_gate_open():
    model = LanguageModel(BODIES["lstm"]())
    init = jax.jit(
        lambda key: model.init({"params": key}, jnp.zeros((1, 2), jnp.int32), train=False)
    )
    layer = init(jax.random.key(0))["params"]["h0"]
    for gate in np.split(np.asarray(layer["recurrent"]), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(len(gate)), atol=1e-5)
    np.testing.assert_array_equal(
        layer["bias"], np.repeat([1.0, 0.0, 0.0, 0.0], len(layer["bias"]) // 4)
    )
