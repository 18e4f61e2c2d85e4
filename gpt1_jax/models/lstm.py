"""The LSTM baseline of the paper (section 5): one layer of 2048 units in the same framework.

The paper says no more. Decided here: the token table stays as wide as the Transformer's and tied, a projection leads from the units
back to it, dropout falls on the table and on the projection's output, the state is zero at the start of every window.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from gpt1_jax.models.dropout import dropout
from gpt1_jax.registry import MODELS


class Layer(nn.Module):
    """One LSTM layer and the projection of its output to the width of its input.

    Initialised as is usual for this cell (fan-in scaled inputs, orthogonal recurrence, forget bias 1): N(0, 0.02) everywhere
    would start it with all gates half open and next to no signal, an unfair baseline.
    """

    units: int
    resid_dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        train: bool,
        segment_ids: Int[Array, "B L"] | None,
        lengths: Int[Array, "B"] | None = None,
    ) -> Float[Array, "B L D"]:
        batch, _, width = x.shape
        # All inputs meet their weights in one product; only the recurrent one stays inside the loop over time.
        inputs = nn.Dense(4 * self.units, use_bias=False, dtype=self.dtype, name="input")(x)
        recurrent = self.param("recurrent", _orthogonal_gates, (self.units, 4 * self.units)).astype(
            self.dtype
        )
        bias = self.param("bias", _forget_open, (4 * self.units,))

        def step(state, at_time):
            cell, output = state
            forget, admit, emit, proposal = jnp.split(
                at_time + output @ recurrent + bias[None], 4, axis=-1
            )
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(admit) * jnp.tanh(proposal)
            output = (jax.nn.sigmoid(emit) * jnp.tanh(cell)).astype(self.dtype)
            return (cell, output), output

        start = (
            jnp.zeros((batch, self.units), jnp.float32),
            jnp.zeros((batch, self.units), self.dtype),
        )
        if lengths is not None:
            start = self.get_variable("cache", "cell"), self.get_variable("cache", "output")
            going = jnp.arange(x.shape[1])[:, None] < lengths[None]
            end, outputs = jax.lax.scan(_halting(step), start, (inputs.swapaxes(0, 1), going))
            for name, state in zip(("cell", "output"), end, strict=True):
                self.put_variable("cache", name, state)
        elif segment_ids is None:
            _, outputs = jax.lax.scan(step, start, inputs.swapaxes(0, 1))
        else:
            times = inputs.swapaxes(0, 1), *_turns(segment_ids)
            _, outputs = jax.lax.scan(_branching(step), (start, start), times)
        hidden = nn.Dense(width, dtype=self.dtype, name="projection")(outputs.swapaxes(0, 1))
        return dropout(hidden, self.resid_dropout, self.make_rng("dropout")) if train else hidden


@MODELS.register("lstm")
class LSTM(nn.Module):
    """The body: tokens -> hidden states, through the layer h0; the contract is the Transformer's."""

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
        self.h0 = Layer(self.units, self.resid_dropout, self.dtype)

    def table(self, train: bool) -> Float[Array, "T D"]:
        """The token rows, which input and softmax share: T = vocab_size; dropped out once a step, as the Transformer's."""
        drops = train and self.table_dropout
        table = (
            dropout(self.tokens, self.embd_dropout, self.make_rng("dropout"))
            if drops
            else self.tokens
        )
        return table.astype(self.dtype)

    def __call__(
        self,
        tokens: Int[Array, "B L"],
        table: Float[Array, "T D"],
        train: bool,
        segment_ids: Int[Array, "B L"] | None = None,
    ) -> Float[Array, "B L D"]:
        """Hidden states of the layer, projected; arguments as the Transformer's."""
        inputs = table[tokens]
        if train and not self.table_dropout:
            inputs = dropout(inputs, self.embd_dropout, self.make_rng("dropout"))
        return self.h0(inputs, train, segment_ids)

    def cache(self, batch: int, length: int) -> dict[str, Any]:
        """The collection "cache" before any text: the state of `batch` rows, whatever the `length` to come."""
        state = {
            "cell": jnp.zeros((batch, self.units), jnp.float32),
            "output": jnp.zeros((batch, self.units), self.dtype),
        }
        return {"h0": state}

    def resume(
        self, tokens: Int[Array, "B L"], table: Float[Array, "T D"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B L D"]:
        """Hidden states of a piece of text that goes on from the collection "cache", as the Transformer's."""
        return self.h0(table[tokens], False, None, lengths)

    def flops(self, length: int) -> int:
        """Floating-point operations a token of a forward pass, whatever its `length`, without the softmax's product."""
        return 2 * (4 * self.units * (self.width + self.units) + self.units * self.width)


def _pick(which: Bool[Array, "B"], one: Any, other: Any) -> Any:
    return jax.tree.map(lambda one, other: jnp.where(which[:, None], one, other), one, other)


def _halting(step: Callable) -> Callable:
    """The step of a scan whose rows keep their state once they no longer go on."""

    def halting_step(state, at_time):
        inputs, going = at_time
        following, output = step(state, inputs)
        return _pick(going, following, state), output

    return halting_step


def _branching(step: Callable) -> Callable:
    """The step of a scan over rows that branch: beside the state it carries the prefix's last one, from which every branch starts."""

    def branching_step(states, at_time):
        state, prefix = states
        inputs, shared, begins = at_time
        state, output = step(_pick(begins, prefix, state), inputs)
        return (state, _pick(shared, state, prefix)), output

    return branching_step


def _turns(segment_ids: Int[Array, "B L"]) -> tuple[Bool[Array, "L B"], Bool[Array, "L B"]]:
    """Where a row is on its shared prefix, and where a branch begins."""
    segment_ids = segment_ids.T
    before = jnp.concatenate([segment_ids[:1], segment_ids[:-1]])
    return segment_ids == 0, segment_ids != before


def _orthogonal_gates(key, shape: tuple[int, int], dtype=jnp.float32) -> Float[Array, "U 4*U"]:
    units = shape[0]
    square = nn.initializers.orthogonal()
    return jnp.concatenate(
        [square(gate, (units, units), dtype) for gate in jax.random.split(key, 4)], axis=1
    )


def _forget_open(_, shape: tuple[int], dtype=jnp.float32) -> Float[Array, "N"]:
    return jnp.zeros(shape, dtype).at[: shape[0] // 4].set(1.0)
