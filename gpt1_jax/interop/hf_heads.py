"""Convert the head of a run to the head of a model class of transformers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gpt1_jax.errors import UserError
from gpt1_jax.runs import reader

TOLERANCE = 1e-5  # largest error of a class score that `fold_bias` may cause


class Head(NamedTuple):
    """Describe the head of an exported model.

    Attributes:
        architecture: the class of transformers that loads the model.
        tensors: tensors of the head by name.
        config: settings of the head in config.json.
    """

    architecture: str
    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]


LANGUAGE_MODEL = Head("OpenAIGPTLMHeadModel", {}, {})  # the embedding is its softmax


def classifier(run: reader.FinetunedRun, params: Mapping) -> Head:
    """Return the head of a finetuned run.

    Raises:
        UserError: the bias of the head cannot be folded into its weights.
    """
    if run.streams["format"] == "choice":
        return _choice_head(run, params["clf"])
    return _sequence_head(run, params)


def _choice_head(run: reader.FinetunedRun, clf: Mapping[str, np.ndarray]) -> Head:
    tensors = {
        "multiple_choice_head.summary.weight": np.ascontiguousarray(clf["kernel"].T),
        "multiple_choice_head.summary.bias": np.ascontiguousarray(clf["bias"]),
    }
    config = {
        "num_labels": 1,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "summary_proj_to_labels": True,
        "summary_activation": None,
        "summary_first_dropout": run.config["clf_dropout"],
    }
    return Head("OpenAIGPTDoubleHeadsModel", tensors, config)


def _sequence_head(run: reader.FinetunedRun, params: Mapping) -> Head:
    architecture = "OpenAIGPTForSequenceClassification"
    kernel, bias = params["clf"]["kernel"], params["clf"]["bias"]
    norm = params[f"h{run.sizes['layers'] - 1}"]["ln_2"]
    if run.streams["format"] == "similarity":
        bias = bias / 2  # the logits of both orders are added
    weight, max_error = fold_bias(kernel, bias, norm["scale"], norm["bias"])
    if max_error > TOLERANCE:
        raise UserError(
            f"--workdir: {run.workdir} has a head with a bias, {architecture} has none, and the "
            f"weights cannot replace it (scores would change by {max_error:.1g}); give --lm to "
            "leave the head out"
        )
    labels = _label_names(run, len(bias))
    regression = run.config["regression"]
    config = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "regression" if regression else "single_label_classification",
    }
    return Head(architecture, {"score.weight": weight}, config)


def _label_names(run: reader.FinetunedRun, outputs: int) -> list[str]:
    """Return a name for each output of the head."""
    if run.config["regression"]:
        return ["score"]
    return run.streams["labels"] or [str(score) for score in range(outputs)]


def fold_bias(
    kernel: Float[np.ndarray, "D K"],
    bias: Float[np.ndarray, "K"],
    scale: Float[np.ndarray, "D"],
    shift: Float[np.ndarray, "D"],
) -> tuple[Float[np.ndarray, "K D"], float]:
    """Return weights that give the class scores h . kernel + bias without a bias.

    This holds for every output h of a layer norm with this scale and shift. Such an h is
    scale * z + shift with sum(z) = 0. Hence (1 / scale) . h = sum(shift / scale) =: c for every z,
    and the weights (b / c) / scale replace a bias b.

    Returns:
        The weights, and the largest error of a score in float32 on 256 random states. The error is
        inf if c or an element of scale is 0.
    """
    kernel64, bias64, scale64, shift64 = (
        array.astype(np.float64) for array in (kernel, bias, scale, shift)
    )
    weight = kernel64.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if bias.any():
            weight = weight + np.outer(bias64 / np.sum(shift64 / scale64), 1 / scale64)
        weight = weight.astype(np.float32)
        z = np.random.default_rng(0).standard_normal((256, len(scale)))
        z -= z.mean(axis=1, keepdims=True)
        hidden = (scale64 * z / z.std(axis=1, keepdims=True) + shift64).astype(np.float32)
        max_error = np.abs(hidden @ weight.T - (hidden @ kernel64 + bias64)).max()
    return weight, float(max_error) if np.isfinite(max_error) else float("inf")
