"""What stands on a body: the language model and the classifier, the same for every body.

Both put the body's params at the top of their own tree (tokens, positions, h0, ...), so that transfer maps by name.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gpt1_jax.models.dropout import dropout


class LanguageModel(nn.Module):
    """Next-token prediction with the table tied to the input: the logits are hidden . table^T, formed by whoever reads them."""

    body: nn.Module

    def setup(self):
        nn.share_scope(self, self.body)

    def __call__(
        self, tokens: Int[Array, "B L"], train: bool
    ) -> tuple[Float[Array, "B L D"], Float[Array, "T D"]]:
        """Hidden states, and the table that the step drew."""
        table = self.body.table(train)
        return self.body(tokens, table, train), table


class Classifier(nn.Module):
    """One linear layer on the state at the extract token.

    Attributes:
        outputs: K', columns of the layer: the classes, or 1 where every stream is one answer.
        sum_streams: add the states of an example's streams before the layer (similarity).
        clf_dropout: on the states.
        shared_clf_dropout: one mask an example, shared by its streams as published; for summed streams it therefore does not matter
            whether dropout comes before or after the sum. Otherwise every stream has its own.
    """

    body: nn.Module
    outputs: int
    sum_streams: bool = False
    clf_dropout: float = 0.1
    shared_clf_dropout: bool = True

    def setup(self):
        nn.share_scope(self, self.body)
        self.clf = nn.Dense(
            self.outputs, kernel_init=nn.initializers.normal(0.02)
        )  # not zero, as published

    def __call__(
        self,
        tokens: Int[Array, "B R L"],
        extract: Int[Array, "B C"],
        train: bool,
        segment_ids: Int[Array, "B R L"] | None = None,
    ) -> tuple[Float[Array, "B S K"], Float[Array, "B R L D"], Float[Array, "T D"]]:
        """Class scores, hidden states, and the table that the step drew.

        The last two axes of the scores, flattened, are the classes of the task in every format: [1, K] with one stream or summed
        ones, [C, 1] for a choice among C.

        Args:
            tokens: the R rows of every example: one for each of its C streams, or a single one in which they branch.
            extract: where each stream ends among the R * L tokens of its example.
            segment_ids: of rows that branch, what the body takes.
        """
        table = self.body.table(train)
        rows = lambda array: array.reshape(-1, array.shape[-1])
        hidden = self.body(
            rows(tokens), table, train, None if segment_ids is None else rows(segment_ids)
        )
        states = hidden.reshape(len(tokens), -1, hidden.shape[-1])
        states = jnp.take_along_axis(states, extract[:, :, None], axis=1).astype(jnp.float32)
        if train:
            streams = 1 if self.shared_clf_dropout else states.shape[1]
            shape = (states.shape[0], streams, states.shape[2])
            states = dropout(states, self.clf_dropout, self.make_rng("dropout"), shape)
        if self.sum_streams:
            states = states.sum(axis=1, keepdims=True)
        return self.clf(states), hidden.reshape(*tokens.shape, -1), table
