"""Check the classifier: scores in the four formats and its shared dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.models.heads import Classifier

from .conftest import BODIES, CONTEXT, VOCAB, WIDTH


def inputs(streams: int, examples: int = 2):
    tokens = jax.random.randint(jax.random.key(2), (examples, streams, CONTEXT), 0, VOCAB)
    extract = jax.random.randint(jax.random.key(3), (examples, streams), 1, CONTEXT)
    return tokens, extract + CONTEXT * jnp.arange(streams)[None]


# streams, outputs, sum_streams -> shape of the scores of two examples
FORMATS = {
    "single": (1, 2, False, (2, 1, 2)),
    "pair": (1, 3, False, (2, 1, 3)),
    "similarity": (2, 6, True, (2, 1, 6)),
    "choice": (4, 1, False, (2, 4, 1)),
}


@pytest.mark.parametrize(
    ("kind", "body"), [*((kind, "lstm") for kind in FORMATS), ("similarity", "transformer")]
)
def test_scores_of_every_format(random_params, apply, kind, body):
    streams, outputs, sum_streams, shape = FORMATS[kind]
    model = Classifier(BODIES[body](), outputs=outputs, sum_streams=sum_streams)
    tokens, extract = inputs(streams)
    params = random_params(model, tokens, extract)
    scores, hidden, _ = apply(model, params, tokens, extract)
    assert scores.shape == shape and hidden.shape == (2, streams, CONTEXT, WIDTH)
    assert "clf" in params
    # The layer reads the states at the extract tokens. Summed streams are added before the layer.
    states = np.asarray(hidden).reshape(2, streams * CONTEXT, WIDTH)
    states = states[np.arange(2)[:, None], np.asarray(extract)]
    states = states.sum(axis=1, keepdims=True) if sum_streams else states
    expected = states @ np.asarray(params["clf"]["kernel"]) + np.asarray(params["clf"]["bias"])
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_similarity_is_symmetric(random_params, apply):
    model = Classifier(BODIES["lstm"](), outputs=6, sum_streams=True)
    tokens, extract = inputs(2)
    params = random_params(model, tokens, extract)
    scores, _, _ = apply(model, params, tokens, extract)
    swapped_extract = (extract + jnp.array([[CONTEXT, -CONTEXT]]))[:, ::-1]
    swapped_scores, _, _ = apply(model, params, tokens[:, ::-1], swapped_extract)
    np.testing.assert_allclose(scores, swapped_scores, atol=1e-5)


def classifier_dropout_only(**options) -> Classifier:
    body = BODIES["transformer"](embd_dropout=0.0, attn_dropout=0.0, resid_dropout=0.0)
    return Classifier(body, outputs=1, clf_dropout=0.5, **options)


def test_streams_of_an_example_share_one_dropout_mask(random_params, apply):
    model = classifier_dropout_only()
    stream, extract = inputs(1, examples=1)
    # Three equal examples of four equal streams.
    tokens = jnp.tile(stream, (3, 4, 1))
    extract = jnp.tile(extract + CONTEXT * jnp.arange(4)[None], (3, 1))
    params = random_params(model, tokens, extract)
    clean, _, _ = apply(model, params, tokens, extract)
    noisy, _, _ = apply(model, params, tokens, extract, train=True)
    np.testing.assert_allclose(noisy, jnp.broadcast_to(noisy[:, :1], noisy.shape), atol=1e-6)
    assert len(np.unique(np.round(noisy[:, 0, 0], 4))) == 3  # examples have different masks
    assert (np.abs(noisy - clean) > 1e-3).any()


def test_unshared_dropout_masks_differ_between_streams(random_params, apply):
    model = classifier_dropout_only(shared_clf_dropout=False)
    stream, extract = inputs(1, examples=1)
    tokens, extract = jnp.tile(stream, (1, 4, 1)), extract + CONTEXT * jnp.arange(4)[None]
    params = random_params(model, tokens, extract)
    noisy, _, _ = apply(model, params, tokens, extract, train=True)
    assert len(np.unique(np.round(noisy, 4))) == 4


def test_layer_starts_at_small_random_numbers():
    model = Classifier(BODIES["transformer"](), outputs=500)
    tokens, extract = inputs(1)
    init = jax.jit(lambda key: model.init({"params": key}, tokens, extract, train=False))
    clf = init(jax.random.key(0))["params"]["clf"]
    assert abs(float(clf["kernel"].std()) / 0.02 - 1) < 0.05 and (clf["bias"] == 0).all()


def test_scores_are_float32_for_a_bfloat16_body(make_body, random_params, apply):
    model = Classifier(make_body(dtype="bfloat16"), outputs=2)
    tokens, extract = inputs(1)
    scores, _, _ = apply(model, random_params(model, tokens, extract), tokens, extract)
    assert scores.dtype == jnp.float32
