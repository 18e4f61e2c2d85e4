"""Define the heads on a body: the language model and the classifier. They work with every body.

Both share the scope of the body. Its params (tokens, positions, h0, ...) are therefore at the top
of the tree, where transfer finds them by name.

Letters: B batch, C streams per example, R rows per example, L length, D width, K classes, P parts
of the batch, E rows of the embedding (the vocabulary, then any positions).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gpt1_jax.models.dropout import dropout


class LanguageModel(nn.Module):
    """Predict the next token with the embedding tied to the input.

    The caller forms the logits: hidden . embedding^T.
    """

    body: nn.Module

    def setup(self):
        nn.share_scope(self, self.body)

    def __call__(
        self, tokens: Int[Array, "B L"], train: bool
    ) -> tuple[Float[Array, "B L D"], Float[Array, "E D"]]:
        """Return the hidden states and the embedding, after dropout if `train`."""
        embedding = self.body.embedding(train)
        return self.body(tokens, embedding, train), embedding


class Classifier(nn.Module):
    """Apply one linear layer to the hidden state at the extract token.

    Attributes:
        body: model that returns the hidden states.
        outputs: columns of the layer: the number of classes, or 1 if every stream is one choice.
        sum_streams: add the states of an example's streams before the layer (similarity).
        clf_dropout: dropout rate on the states.
        shared_clf_dropout: share one mask among the streams of an example, as published. With
            summed streams, dropout before and after the sum are then equal. If False, every stream
            has its own mask.
    """

    body: nn.Module
    outputs: int
    sum_streams: bool = False
    clf_dropout: float = 0.1
    shared_clf_dropout: bool = True

    def setup(self):
        nn.share_scope(self, self.body)
        # As published, the layer does not start at zero.
        self.clf = nn.Dense(self.outputs, kernel_init=nn.initializers.normal(0.02))

    def __call__(
        self,
        tokens: Int[Array, "P R L"],
        extract: Int[Array, "B C"],
        train: bool,
        segment_ids: Int[Array, "P R L"] | None = None,
    ) -> tuple[Float[Array, "B S K"], Float[Array, "P R L D"], Float[Array, "E D"]]:
        """Return class scores, hidden states and the embedding, after dropout if `train`.

        The last two axes [S K] of the scores, flattened, are the classes of the task in every
        format. They are [1, K] for one stream or summed streams and [C, 1] for a choice among C.

        Args:
            tokens: rows of every part. A part is one example, with a row for each of its C streams
                or one packed row (R = 1); or several examples that share rows.
            extract: index of each stream's extract token among the R * L tokens of its part.
            train: apply dropout.
            segment_ids: segment ids of packed rows, as the body takes them.
        """
        embedding = self.body.embedding(train)
        length = tokens.shape[-1]
        if segment_ids is not None:
            segment_ids = segment_ids.reshape(-1, length)
        hidden = self.body(tokens.reshape(-1, length), embedding, train, segment_ids)
        states = hidden.reshape(len(tokens), -1, hidden.shape[-1])
        indices = extract.reshape(len(tokens), -1, 1)
        states = jnp.take_along_axis(states, indices, axis=1).astype(jnp.float32)
        states = states.reshape(*extract.shape, -1)
        if train:
            batch, streams, width = states.shape
            shape = (batch, 1 if self.shared_clf_dropout else streams, width)
            states = dropout(states, self.clf_dropout, self.make_rng("dropout"), shape)
        if self.sum_streams:
            states = states.sum(axis=1, keepdims=True)
        return self.clf(states), hidden.reshape(*tokens.shape, -1), embedding
