"""Implement finetuning a second time, in NumPy and float64, without any code of the project.

Streams are computed one after the other, without padding. Gradients are taken by complex steps: the
imaginary part of the loss at x + ih, divided by h, is exact up to rounding, so there is no backward
pass. For that purpose every array of params has a first axis of perturbed copies. Its size is 1
where nothing is perturbed.

Params are a flat dict, slash-joined name -> array.
"""

from collections.abc import Mapping, Sequence

import numpy as np

STEP = 1e-30


def logsumexp(z):
    largest = z.real.max(axis=-1, keepdims=True)  # a constant, so its derivative cancels
    return np.log(np.exp(z - largest).sum(axis=-1)) + largest[..., 0]


def softmax(z):
    return np.exp(z - logsumexp(z)[..., None])


def normalize(x, params, name):
    centered = x - x.mean(axis=-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)
    return scaled * params[f"{name}/scale"][:, None] + params[f"{name}/bias"][:, None]


def linear(x, params, name):
    return x @ params[f"{name}/kernel"] + params[f"{name}/bias"][:, None]


def attention(x, params, name, heads):
    query, key, value = np.split(linear(x, params, f"{name}/c_attn"), 3, axis=-1)
    future = np.triu(np.full((x.shape[1], x.shape[1]), -1e9), 1)
    depth, outputs = x.shape[2] // heads, []
    for head in range(heads):
        columns = slice(head * depth, (head + 1) * depth)
        scores = query[..., columns] @ key[..., columns].swapaxes(1, 2) / np.sqrt(depth)
        outputs.append(softmax(scores + future) @ value[..., columns])
    return linear(np.concatenate(outputs, axis=-1), params, f"{name}/c_proj")


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def hidden(params, stream: Sequence[int], heads: int):
    """Return the states after the last block, [N L D]."""
    x = params["tokens"][:, stream] + params["positions"][:, : len(stream)]
    for block in sorted({name.split("/")[0] for name in params if name.startswith("h")}):
        x = normalize(x + attention(x, params, f"{block}/attn", heads), params, f"{block}/ln_1")
        mlp = linear(gelu(linear(x, params, f"{block}/mlp/c_fc")), params, f"{block}/mlp/c_proj")
        x = normalize(x + mlp, params, f"{block}/ln_2")
    return x


def objective(
    params, examples, labels, task_format: str, heads: int, lm_coef: float, published: Mapping
):
    """Return task loss + lm_coef * language model loss of a batch.

    Each quirk that is False in `published` is replaced by its modern form.
    """
    embedding = softmax_rows(params, published["softmax_positions"])
    task, stream_losses = 0, []  # of the streams that count: (sum of the token losses, tokens)
    for example, label in zip(examples, labels, strict=True):
        last_states = []
        for number, stream in enumerate(example):
            states = hidden(params, stream, heads)
            last_states.append(states[:, -1])
            all_count = task_format != "choice" or published["lm_loss_on_wrong_answers"]
            if all_count or number == label:
                losses = token_losses(states[:, :-1], embedding, stream[1:])
                stream_losses.append((losses.sum(axis=-1), len(stream) - 1))
        if task_format == "choice":
            pooled = np.stack(last_states, axis=1)
        else:
            pooled = sum(last_states)[:, None]
        scores = linear(pooled, params, "clf")
        scores = scores.reshape(len(scores), -1)
        task = task + (logsumexp(scores) - scores[:, label]) / len(examples)
    if published["per_sequence_lm_mean"]:
        lm = sum(total / tokens for total, tokens in stream_losses) / len(stream_losses)
    else:
        lm = sum(total for total, _ in stream_losses) / sum(tokens for _, tokens in stream_losses)
    return task + lm_coef * lm


def softmax_rows(params, positions: bool):
    """Return the rows of the language model's softmax: tokens, and as published positions."""
    if not positions:
        return params["tokens"]
    rows = [params["tokens"], params["positions"]]
    copies = np.broadcast_shapes(*(row.shape[:1] for row in rows))
    return np.concatenate([np.broadcast_to(row, (*copies, *row.shape[1:])) for row in rows], axis=1)


def token_losses(states, embedding, targets: Sequence[int]):
    """Return the negative log-likelihood of every target, [N L]."""
    logits = states @ embedding.swapaxes(1, 2)
    shape = len(logits), len(targets), 1
    indices = np.broadcast_to(np.array(targets)[None, :, None], shape)
    return logsumexp(logits) - np.take_along_axis(logits, indices, 2)[..., 0]


def gradient(params, *batch):
    """Return the loss and its gradient; all elements of an array are computed in one pass."""
    unperturbed, gradients = {name: array[None] + 0j for name, array in params.items()}, {}
    for name, array in params.items():
        copies = array + 1j * STEP * np.eye(array.size).reshape(array.size, *array.shape)
        loss = objective({**unperturbed, name: copies}, *batch)
        gradients[name] = loss.imag.reshape(array.shape) / STEP
    return objective(unperturbed, *batch).real[0], gradients


def schedule(count: int, steps: int, warmup: float, published: Mapping[str, bool]) -> float:
    """Return the factor of the learning rate after `count` updates."""
    x = (count if published["zero_first_update"] else count + 1) / steps
    if x < warmup:
        return x / warmup * (1 - x if published["decay_includes_warmup"] else 1)
    return 1 - x if published["decay_includes_warmup"] else 1 - (x - warmup) / (1 - warmup)


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
    """Return the params after one update per batch, and the loss of every update.

    An update clips by the global norm and applies Adam with weight decay and a linear schedule.
    """
    b1, b2, eps, losses = 0.9, 0.999, 1e-8, []
    m, v = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    for count, batch in enumerate(batches):
        loss, grads = gradient(params, *batch)
        losses.append(loss)
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        factor = schedule(count, steps, warmup, published)
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
