"""Define the experiments of an ablation.

An experiment is a function in FUNCTIONS. It returns the axes of a grid for a scale.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from configs import common, finetune
from configs.variants import QUIRKS, contexts, nested
from gpt1_jax.registry import TASKS

# In this order, two processes that work side by side seldom compile the same step.
TABLE5 = ("full", "lstm", "no_aux_lm", "no_pretraining")


def grid(
    variants: tuple[str, ...],
    tasks: tuple[str, ...],
    setting: str = "",
    levels: tuple[float, ...] = (),
    seeds: int = 0,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> ConfigDict:
    """Return the axes of an experiment, which has one point for each combination of their values.

    Args:
        variants: the variants.
        tasks: the tasks.
        setting: a setting of finetuning, such as "init.layers", or of pretraining, such as
            "pretrain.model.layers"; "" varies none.
        levels: the values of the setting. For "init.step", () stands for the checkpoints at the
            steps of Figure 2 (right).
        seeds: the number of seeds; 0 stands for config.seeds.
        changes: settings of finetuning of all points, which the variants may change again.
    """
    return ConfigDict(
        dict(
            variants=variants,
            tasks=tasks,
            setting=setting,
            levels=levels,
            seeds=seeds,
            changes=nested(dict(changes)),
        )
    )


def table5(scale: dict) -> ConfigDict:
    """Measure what pretraining, the auxiliary loss and the Transformer are worth (Table 5)."""
    return grid(TABLE5, scale["table_tasks"])


def main(scale: dict) -> ConfigDict:
    """Evaluate the full model on every task of the hub (Tables 2 to 4).

    Story Cloze is not among them: it exists as files only, which its authors send on request.
    """
    return grid(("full",), tuple(task for task in finetune.NAMES if TASKS[task].hub))


def transfer(scale: dict) -> ConfigDict:
    """Transfer nothing, the embeddings, or embeddings and the first K blocks (Figure 2, left)."""
    layers = common.SIZES[scale["size"]]["layers"]
    return grid(("full",), scale["curve_tasks"], "init.layers", tuple(range(-1, layers + 1)))


def data_size(scale: dict) -> ConfigDict:
    """Measure the effect of the auxiliary loss for several numbers of training examples.

    The paper says that larger data sets benefit from the auxiliary loss.
    """
    return grid(
        ("full", "no_aux_lm"), scale["table_tasks"], "data.examples", scale["training_rows"]
    )


def top(scale: dict) -> ConfigDict:
    """Compare the full model with a frozen body, and with a last block that is fresh."""
    return grid(("full", "frozen", "reinit_last_block"), scale["table_tasks"])


def quirks(scale: dict) -> ConfigDict:
    """Measure the quirks of the published finetuning: leave out each of them, then all.

    The choice task is included because some quirks concern only examples with several streams.
    """
    return grid(("full", *QUIRKS), (scale["table_tasks"][-1], scale["choice_task"]))


def seeds(scale: dict) -> ConfigDict:
    """Measure how much a score depends on its seed."""
    return grid(("full", "no_aux_lm"), scale["table_tasks"][-2:], seeds=10)


def lm_coef(scale: dict) -> ConfigDict:
    """Vary the weight of the auxiliary LM loss; the paper has 0.5."""
    return grid(("full",), scale["table_tasks"], "lm_coef", (0.0, 0.05, 0.1, 0.5, 1.0))


def updates(scale: dict) -> ConfigDict:
    """Finetune the checkpoints of pretraining: the score against the pretraining steps."""
    return grid(("full",), scale["curve_tasks"], "init.step")


def few_shot(scale: dict) -> ConfigDict:
    """Train on a few examples, drawn by the seed; each number of them has the same epochs."""
    return grid(
        ("full", "no_pretraining"),
        scale["table_tasks"],
        "data.examples",
        scale["few_rows"],
        changes=scale["few_shot"],
    )


def depth(scale: dict) -> ConfigDict:
    """Vary the number of blocks, from pretraining on."""
    return grid(("full",), scale["curve_tasks"], "pretrain.model.layers", scale["depths"])


def heads(scale: dict) -> ConfigDict:
    """Vary the number of heads of the same width, from pretraining on."""
    return grid(("full",), scale["curve_tasks"], "pretrain.model.heads", scale["heads"])


def vocabulary(scale: dict) -> ConfigDict:
    """Vary the size of the vocabulary, from pretraining on."""
    levels = scale["vocabularies"]
    return grid(("full",), scale["curve_tasks"], "pretrain.tokenizer.vocab_size", levels)


def context(scale: dict) -> ConfigDict:
    """Pretrain with shorter or longer windows, and as many tokens in a batch."""
    return grid(("full", *contexts(scale)), scale["curve_tasks"])


def positions(scale: dict) -> ConfigDict:
    """Leave out the embeddings of positions: only causality tells the order of the words."""
    return grid(("full", "no_positions"), scale["table_tasks"])


def norm(scale: dict) -> ConfigDict:
    """Compare post-LN, as published, with pre-LN."""
    return grid(("full", "pre_norm"), scale["table_tasks"])


def shuffled(scale: dict) -> ConfigDict:
    """Pretrain on sentences in random order.

    The paper prefers books to the 1B Word Benchmark, which is shuffled by sentences.
    """
    return grid(("full", "shuffled"), scale["table_tasks"])


def layers_probe(scale: dict) -> ConfigDict:
    """Train a linear classifier on the output of each block of a frozen body."""
    layers = common.SIZES[scale["size"]]["layers"]
    return grid(("probe",), scale["curve_tasks"], "model.layers", tuple(range(1, layers + 1)))


def selection(scale: dict) -> ConfigDict:
    """Choose the learning rate of each task on the development split: half of it, it, or twice."""
    rate = finetune.get_config(f"sst2,{scale['recipe']}").optim.lr
    return grid(("full",), scale["table_tasks"], "optim.lr", (rate / 2, rate, 2 * rate))


FUNCTIONS = (
    table5,
    main,
    transfer,
    data_size,
    top,
    quirks,
    seeds,
    lm_coef,
    updates,
    few_shot,
    depth,
    heads,
    vocabulary,
    context,
    positions,
    norm,
    shuffled,
    layers_probe,
    selection,
)
EXPERIMENTS = {function.__name__: function for function in FUNCTIONS}
