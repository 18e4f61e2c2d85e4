"""Compare the fused attention kernels with the plain way, interpreted on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt1_jax.errors import UserError
from gpt1_jax.models import attention, fused_attention
from gpt1_jax.models.blocked_attention import BLOCK
from gpt1_jax.models.dropout import hash_key
from gpt1_jax.models.transformer import Transformer

KEY = jax.random.key(3)
# Small tiles, so that short rows have several.
PLATFORMS = {
    "gpu": fused_attention.GPU._replace(interpret=True, largest_tile=16),
    "tpu": fused_attention.TPU._replace(interpret=True, largest_tile=16),
}
WIDTH, HEADS = 128, 4  # on a TPU, a program then holds all four heads


def segment_ids(rows: int, length: int, prefix: int) -> jax.Array:
    """Return the segment ids of rows with a prefix, two segments of 20 tokens, and padding."""
    ids = np.full((rows, length), -1, np.int32)
    ids[:, :prefix] = 0
    ids[:, prefix : prefix + 20] = 1
    ids[:, prefix + 20 : prefix + 40] = 2
    return jnp.asarray(ids)


def results(attend, length: int, dtype=jnp.float32):
    """Return the outputs of `attend` and the gradients of queries, keys, values and their bias."""
    random = np.random.default_rng(0)
    product = jnp.asarray(random.standard_normal((2, length, 3 * WIDTH)), dtype)
    bias = jnp.asarray(random.standard_normal(3 * WIDTH), jnp.float32)
    gradient = jnp.asarray(random.standard_normal((2, length, WIDTH)), dtype)
    output, transpose = jax.vjp(attend, product, bias)
    product_gradient, bias_gradient = transpose(gradient)
    arrays = output, *jnp.split(product_gradient, 3, axis=2), bias_gradient / length
    return [np.asarray(array, np.float32) for array in arrays]


def fused(platform, segments, rate: float):
    return lambda product, bias: fused_attention.fused_attention(
        product, bias, segments, hash_key(KEY), HEADS, rate, platform
    )


def plain(segments, rate: float):
    key = KEY if rate else None
    return lambda product, bias: attention.attend(
        "plain", product, bias, segments, HEADS, rate, key
    )


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize(
    ("length", "prefix"),
    [(16, None), (40, None), (64, 17), (50, 0)],
    ids=["one tile", "padded", "segments", "segments without prefix"],
)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_fused_kernels_equal_the_plain_way(platform, length, prefix, rate):
    segments = None if prefix is None else segment_ids(2, length, prefix)
    expected = results(plain(segments, rate), length)
    for one, other in zip(
        results(fused(PLATFORMS[platform], segments, rate), length), expected, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("prefix", [None, 150])
def test_blocks_of_a_cpu_equal_the_plain_way(prefix, rate):
    length = 2 * BLOCK + 20
    segments = None if prefix is None else segment_ids(2, length, prefix)
    key = KEY if rate else None
    blocked = lambda product, bias: attention.attend(
        "auto", product, bias, segments, HEADS, rate, key
    )
    for one, other in zip(
        results(blocked, length), results(plain(segments, rate), length), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_half_precision_is_near_the_exact_result(platform):
    exact = results(plain(None, 0.1), 40)
    for half in (plain(None, 0.1), fused(PLATFORMS[platform], None, 0.1)):
        for one, other in zip(results(half, 40, jnp.bfloat16), exact, strict=True):
            np.testing.assert_allclose(one, other, rtol=0.05, atol=0.05)


def test_tiles_of_long_rows_need_no_more_padding_than_tiles_of_128():
    tiles = {length: fused_attention.TPU.sizes(length, WIDTH, HEADS, 0.0) for length in (640, 1536)}
    assert {length: sizes.tile for length, sizes in tiles.items()} == {640: 128, 1536: 512}
    assert all(sizes.tile * sizes.tiles == length for length, sizes in tiles.items())


def test_body_uses_the_kernels_by_choice_and_only_for_supported_sizes():
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 20, (2, 24)), jnp.int32)

    def hidden(kind, heads=HEADS):
        body = Transformer(
            20, context=24, layers=1, width=WIDTH, heads=heads, ffn=16, attention=kind
        )
        embedding = lambda module: module(tokens, module.embedding(True), True)
        rngs = {"params": jax.random.key(0), "dropout": KEY}
        return jax.jit(lambda: body.init_with_output(rngs, method=embedding)[0])()

    np.testing.assert_allclose(hidden("fused"), hidden("plain"), atol=1e-5)
    np.testing.assert_array_equal(hidden("auto"), hidden("plain"))  # on the CPU
    with pytest.raises(UserError, match="config.model.attention: no fused kernel"):
        hidden("fused", heads=128)
