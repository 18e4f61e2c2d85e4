"""Finetuning written a second time: NumPy, float64, one stream after the other, no padding, no code of the project.

Gradients are taken by complex steps: the imaginary part of the loss at x + ih, over h, is exact to rounding, so that no backward pass
is written here. Every array of params has a first axis of perturbed copies for that; it is 1 where nothing is perturbed.

Params are a flat dict, slash-joined name -> array.
"""

from collections.abc import Mapping, Sequence

import numpy as np

STEP = 1e-30


def logsumexp(z):
    most = z.real.max(axis=-1, keepdims=True)  # a constant, so its derivative cancels
    return np.log(np.exp(z - most).sum(axis=-1)) + most[..., 0]


def softmax(z):
    return np.exp(z - logsumexp(z)[..., None])


def normalise(x, params, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * params[f"{name}/scale"][:, None] + params[f"{name}/bias"][:, None]


def linear(x, params, name):
    return x @ params[f"{name}/kernel"] + params[f"{name}/bias"][:, None]


def attention(x, params, name, heads):
    query, key, value = np.split(linear(x, params, f"{name}/c_attn"), 3, axis=-1)
    future = np.triu(np.full((x.shape[1], x.shape[1]), -1e9), 1)
    depth, mixed = x.shape[2] // heads, []
    for head in range(heads):
        own = slice(head * depth, (head + 1) * depth)
        scores = query[..., own] @ key[..., own].swapaxes(1, 2) / np.sqrt(depth)
        mixed.append(softmax(scores + future) @ value[..., own])
    return linear(np.concatenate(mixed, axis=-1), params, f"{name}/c_proj")


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def hidden(params, stream: Sequence[int], heads: int):
    """The states after the last block, [N L D]."""
    x = params["tokens"][:, stream] + params["positions"][:, : len(stream)]
    for block in sorted({name.split("/")[0] for name in params if name.startswith("h")}):
        x = normalise(x + attention(x, params, f"{block}/attn", heads), params, f"{block}/ln_1")
        mlp = linear(gelu(linear(x, params, f"{block}/mlp/c_fc")), params, f"{block}/mlp/c_proj")
        x = normalise(x + mlp, params, f"{block}/ln_2")
    return x


def objective(
    params, examples, labels, kind: str, heads: int, lm_coef: float, published: Mapping[str, bool]
):
    """Task loss + lm_coef * language model loss of a batch: as published, or otherwise where `published` has False."""
    rows = (
        [params["tokens"], params["positions"]]
        if published["softmax_positions"]
        else [params["tokens"]]
    )
    shapes = np.broadcast_shapes(*(row.shape[:1] for row in rows))
    table = np.concatenate(
        [np.broadcast_to(row, (*shapes, *row.shape[1:])) for row in rows], axis=1
    )
    task, streams = (
        0,
        [],
    )  # of the streams: (summed loss of their tokens, how many, whether they count)
    for example, label in zip(examples, labels, strict=True):
        ends = []
        for number, stream in enumerate(example):
            states = hidden(params, stream, heads)
            ends.append(states[:, -1])
            logits = states[:, :-1] @ table.swapaxes(1, 2)
            chosen = np.take_along_axis(
                logits,
                np.broadcast_to(
                    np.array(stream[1:])[None, :, None], (len(logits), len(stream) - 1, 1)
                ),
                2,
            )
            counts = kind != "choice" or published["lm_loss_on_wrong_answers"] or number == label
            streams.append(
                ((logsumexp(logits) - chosen[..., 0]).sum(axis=-1), len(stream) - 1, counts)
            )
        pooled = np.stack(ends, axis=1) if kind == "choice" else sum(ends)[:, None]
        scores = linear(pooled, params, "clf")
        scores = scores.reshape(len(scores), -1)
        task = task + (logsumexp(scores) - scores[:, label]) / len(examples)
    counted = [(total, tokens) for total, tokens, counts in streams if counts]
    if published["per_sequence_lm_mean"]:
        lm = sum(total / tokens for total, tokens in counted) / len(counted)
    else:
        lm = sum(total for total, _ in counted) / sum(tokens for _, tokens in counted)
    return task + lm_coef * lm


def gradient(params, *batch):
    """(loss, its gradient), all elements of an array in one pass."""
    whole, gradients = {name: array[None] + 0j for name, array in params.items()}, {}
    for name, array in params.items():
        copies = array + 1j * STEP * np.eye(array.size).reshape(array.size, *array.shape)
        gradients[name] = (
            objective({**whole, name: copies}, *batch).imag.reshape(array.shape) / STEP
        )
    return objective(whole, *batch).real[0], gradients


def train(
    params,
    batches,
    *,
    steps: int,
    warmup: float,
    lr: float,
    decay: float,
    clip: float,
    published: Mapping[str, bool],
):
    """The params after one update a batch, and the loss of each: clipping by the global norm, Adam, decay, linear schedule."""
    b1, b2, eps, losses = 0.9, 0.999, 1e-8, []
    m, v = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    for count, batch in enumerate(batches):
        loss, grads = gradient(params, *batch)
        losses.append(loss)
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        x = (count if published["zero_first_update"] else count + 1) / steps
        if x < warmup:
            factor = x / warmup * (1 - x if published["decay_includes_warmup"] else 1)
        else:
            factor = (
                1 - x if published["decay_includes_warmup"] else 1 - (x - warmup) / (1 - warmup)
            )
        first, second = 1 - b1 ** (count + 1), 1 - b2 ** (count + 1)
        for name, p in params.items():
            g = grads[name] * min(1, clip / norm)
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            if published["uncorrected_epsilon"]:
                move = m[name] / (np.sqrt(v[name]) + eps) * np.sqrt(second) / first
            else:
                move = m[name] / first / (np.sqrt(v[name] / second) + eps)
            if p.ndim > 1:
                move = move + decay * p * (
                    np.sqrt(second) / first if published["bias_ratio_decay"] else 1
                )
            params = {**params, name: p - lr * factor * move}
    return params, losses
