"""Define the LSTM baseline of the paper (section 5): one layer of 2048 units.

The paper says no more. The other decisions are those of this project. The embedding is as wide as
the Transformer's and tied. A projection maps the units back to this width. Dropout acts on the
embedding and on the output of the projection. The state is zero at the start of every window.

Letters: B batch, L length, D width, U units, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gpt1_jax.models.dropout import dropout
from gpt1_jax.registry import MODELS

State = tuple[Float[Array, "B U"], Float[Array, "B U"]]  # cell and output


class LSTMLayer(nn.Module):
    """Apply one LSTM layer and project its output to the width of its input.

    The initialization is the usual one for this cell: fan-in scaled inputs, orthogonal recurrence,
    forget bias 1. With N(0, 0.02) everywhere, all gates would start half open and pass next to no
    signal. The baseline would then be unfair.
    """

    width: int
    units: int
    resid_dropout: float
    dtype: DTypeLike

    def setup(self):
        self.input = nn.Dense(4 * self.units, use_bias=False, dtype=self.dtype)
        self.recurrent = self.param(
            "recurrent", _orthogonal_gates, (self.units, 4 * self.units)
        ).astype(self.dtype)
        self.bias = self.param("bias", _forget_bias, (4 * self.units,))
        self.projection = nn.Dense(self.width, dtype=self.dtype)

    def __call__(
        self, x: Float[Array, "B L D"], train: bool, segment_ids: Int[Array, "B L"] | None
    ) -> Float[Array, "B L D"]:
        """Return the projected outputs for whole texts."""
        # One product covers the inputs of all steps. The scan keeps only the recurrent product.
        inputs = self.input(x).swapaxes(0, 1)
        state = zero_state(len(x), self.units, self.dtype)
        if segment_ids is None:
            outputs = scan_tokens(self.recurrent, self.bias, state, inputs)
        else:
            step = functools.partial(lstm_step, self.recurrent, self.bias)
            outputs = scan_segments(step, state, inputs, segment_ids)
        y = self.projection(outputs.swapaxes(0, 1))
        return dropout(y, self.resid_dropout, self.make_rng("dropout")) if train else y

    def decode(self, x: Float[Array, "B L D"], lengths: Int[Array, "B"]) -> Float[Array, "B L D"]:
        """Return the projected outputs for the next tokens and update the state in the cache."""
        inputs = self.input(x).swapaxes(0, 1)
        step = functools.partial(lstm_step, self.recurrent, self.bias)
        state = self.get_variable("cache", "cell"), self.get_variable("cache", "output")
        (cell, output), outputs = scan_lengths(step, state, inputs, lengths)
        self.put_variable("cache", "cell", cell)
        self.put_variable("cache", "output", output)
        return self.projection(outputs.swapaxes(0, 1))


def zero_state(batch: int, units: int, dtype: DTypeLike) -> State:
    """Return the state before any token; the cell is float32 for every `dtype`."""
    return jnp.zeros((batch, units), jnp.float32), jnp.zeros((batch, units), dtype)


def lstm_step(
    recurrent: Float[Array, "U 4*U"],
    bias: Float[Array, "4*U"],
    state: State,
    inputs: Float[Array, "B 4*U"],
) -> tuple[State, Float[Array, "B U"]]:
    """Return the state after one token, and its output once more for the scan to stack.

    Args:
        recurrent: weights from the previous output to the gates.
        bias: biases of the gates.
        state: state before the token.
        inputs: product of the token's input and the input weights, in the type of `recurrent`.
    """
    cell, output = state
    cell, output = update_cell(cell, inputs + output @ recurrent + bias[None])
    output = output.astype(recurrent.dtype)
    return (cell, output), output


def update_cell(
    cell: Float[Array, "B U"], gates: Float[Array, "B 4*U"]
) -> tuple[Float[Array, "B U"], Float[Array, "B U"]]:
    """Return the cell and the output after one token, from the sums at its gates."""
    forget_gate, input_gate, output_gate, candidate = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(forget_gate) * cell + jax.nn.sigmoid(input_gate) * jnp.tanh(candidate)
    return cell, jax.nn.sigmoid(output_gate) * jnp.tanh(cell)


@jax.custom_vjp
def scan_tokens(
    recurrent: Float[Array, "U 4*U"],
    bias: Float[Array, "4*U"],
    state: State,
    inputs: Float[Array, "L B 4*U"],
) -> Float[Array, "L B U"]:
    """Return the outputs of whole rows; arguments as for `lstm_step`.

    The gradient of the recurrent weights is one product over all tokens. By automatic
    differentiation, every token would read and write the whole sum.
    """
    return jax.lax.scan(functools.partial(lstm_step, recurrent, bias), state, inputs)[1]


def _scan_tokens_forward(recurrent, bias, state, inputs):
    def step(state, inputs):
        cell, output = state
        gates = inputs + output @ recurrent + bias[None]
        new_cell, output = update_cell(cell, gates)
        output = output.astype(recurrent.dtype)
        return (new_cell, output), (output, gates, cell)

    _, (outputs, gates, cells) = jax.lax.scan(step, state, inputs)
    return outputs, (recurrent, bias, state, outputs, gates, cells)


def _scan_tokens_backward(saved, outputs_gradient):
    recurrent, bias, state, outputs, gates, cells = saved
    dtype = recurrent.dtype

    def step(later, xs):
        cell_gradient, output_gradient = later
        outer, gates, cell = xs
        _, transpose = jax.vjp(update_cell, cell, gates)
        total = (output_gradient + outer).astype(gates.dtype)
        cell_gradient, gates_gradient = transpose((cell_gradient, total))
        product = gates_gradient.astype(dtype)
        return (cell_gradient, product @ recurrent.T), gates_gradient

    zeros = jax.tree.map(jnp.zeros_like, state)
    state_gradient, gates_gradient = jax.lax.scan(
        step, zeros, (outputs_gradient, gates, cells), reverse=True
    )
    earlier = jnp.concatenate([state[1][None], outputs[:-1]])
    recurrent_gradient = jnp.einsum("lbu,lbg->ug", earlier, gates_gradient.astype(dtype))
    return (
        recurrent_gradient,
        gates_gradient.sum(axis=(0, 1)).astype(bias.dtype),
        state_gradient,
        gates_gradient.astype(dtype),
    )


scan_tokens.defvjp(_scan_tokens_forward, _scan_tokens_backward)


def scan_segments(
    step: Callable,
    state: State,
    inputs: Float[Array, "L B 4*U"],
    segment_ids: Int[Array, "B L"],
) -> Float[Array, "L B U"]:
    """Return the outputs of rows with segments.

    Every segment starts from the state at the end of the shared prefix (segment 0). The scan
    carries this state beside the current one.
    """

    def segment_step(states, xs):
        state, prefix_state = states
        inputs, in_prefix, starts_segment = xs
        state, output = step(where_tree(starts_segment, prefix_state, state), inputs)
        return (state, where_tree(in_prefix, state, prefix_state)), output

    segment_ids = segment_ids.T
    previous = jnp.concatenate([segment_ids[:1], segment_ids[:-1]])
    xs = (inputs, segment_ids == 0, segment_ids != previous)
    _, outputs = jax.lax.scan(segment_step, (state, state), xs)
    return outputs


def scan_lengths(
    step: Callable, state: State, inputs: Float[Array, "L B 4*U"], lengths: Int[Array, "B"]
) -> tuple[State, Float[Array, "L B U"]]:
    """Return the state and the outputs of rows of different lengths.

    A row keeps its state after its last token.
    """

    def masked_step(state, xs):
        inputs, active = xs
        new_state, output = step(state, inputs)
        return where_tree(active, new_state, state), output

    active = jnp.arange(len(inputs))[:, None] < lengths[None]
    return jax.lax.scan(masked_step, state, (inputs, active))


def where_tree(condition: Bool[Array, "B"], x: State, y: State) -> State:
    """Return the rows of `x` where the condition is True, else the rows of `y`."""
    return jax.tree.map(lambda x, y: jnp.where(condition[:, None], x, y), x, y)


@MODELS.register("lstm")
class LSTM(nn.Module):
    """Map tokens to hidden states through the layer h0, by the interface of `Transformer`.

    Attributes:
        table_dropout: apply `embd_dropout` to the embedding matrix. If False, apply it to the
            inputs.
    """

    vocab_size: int
    context: int = 512
    width: int = 768
    units: int = 2048
    embd_dropout: float = 0.1
    resid_dropout: float = 0.1
    dtype: DTypeLike = jnp.float32
    table_dropout: bool = True

    layers = 1

    def setup(self):
        self.tokens = self.param(
            "tokens", nn.initializers.normal(0.02), (self.vocab_size, self.width)
        )
        self.h0 = LSTMLayer(self.width, self.units, self.resid_dropout, self.dtype)

    def embedding(self, train: bool) -> Float[Array, "V D"]:
        """Return the embedding matrix, tied between input and softmax.

        Dropout acts on the matrix once a step, as in the Transformer.
        """
        embedding = self.tokens
        if train and self.table_dropout:
            embedding = dropout(embedding, self.embd_dropout, self.make_rng("dropout"))
        return embedding.astype(self.dtype)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        embedding: Float[Array, "V D"],
        train: bool,
        segment_ids: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Return the projected outputs of the layer; arguments as for `Transformer`."""
        x = embedding[tokens]
        if train and not self.table_dropout:
            x = dropout(x, self.embd_dropout, self.make_rng("dropout"))
        return self.h0(x, train, segment_ids)

    def init_cache(self, batch: int, length: int) -> dict[str, Any]:
        """Return the collection "cache" of an empty text: the state of `batch` rows.

        The size does not depend on `length`.
        """
        cell, output = zero_state(batch, self.units, self.dtype)
        return {"h0": {"cell": cell, "output": output}}

    def decode(
        self,
        tokens: Int[Array, "B L"],
        embedding: Float[Array, "V D"],
        lengths: Int[Array, "B"],
    ) -> Float[Array, "B L D"]:
        """Return the hidden states of the tokens that follow the cached ones; see `Transformer`."""
        return self.h0.decode(embedding[tokens], lengths)

    def flops(self, length: int) -> int:
        """Return the operations per token of a forward pass, as `Transformer.flops`."""
        return 2 * (4 * self.units * (self.width + self.units) + self.units * self.width)


def _orthogonal_gates(key, shape: tuple[int, int], dtype=jnp.float32) -> Float[Array, "U 4*U"]:
    units = shape[0]
    square = nn.initializers.orthogonal()
    gates = [square(gate, (units, units), dtype) for gate in jax.random.split(key, 4)]
    return jnp.concatenate(gates, axis=1)


def _forget_bias(_, shape: tuple[int], dtype=jnp.float32) -> Float[Array, "N"]:
    return jnp.zeros(shape, dtype).at[: shape[0] // 4].set(1.0)
