"""Define the paper's numbers (Radford et al. 2018) and its names for rows and columns.

paper_numbers.json holds the numbers and their sources.
"""

import functools
import json
import pathlib
from collections.abc import Collection
from typing import NamedTuple

# Task -> its name in the paper's tables. The tasks of Table 5 come first, in its order.
TASKS = {
    "cola": "CoLA",
    "sst2": "SST2",
    "mrpc": "MRPC",
    "stsb": "STSB",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "snli": "SNLI",
    "scitail": "SciTail",
    "story_cloze_2016": "StoryCloze",
    "story_cloze_2018": "StoryCloze 2018",
    "race": "RACE",
    "race_middle": "RACE-m",
    "race_high": "RACE-h",
    "wnli": "WNLI",
    "ax": "AX",
    "dprd": "DPRD",
}


class Variant(NamedTuple):
    """Hold the names of a variant in reports.

    Attributes:
        row: the key of its row in Table 5 of paper_numbers.json; "" if the paper has no such row.
        name: a long name in the style of Table 5.
        short: a short name, for figures.
        phrase: the beginning of a sentence about the variant.
    """

    row: str
    name: str
    short: str
    phrase: str


VARIANTS = {
    "full": Variant("full", "Transformer w/ aux LM (full)", "full", "In full"),
    "no_pretraining": Variant(
        "no_pretraining", "Transformer w/o pre-training", "w/o pre-training", "Without pre-training"
    ),
    "no_aux_lm": Variant(
        "no_aux_lm", "Transformer w/o aux LM", "w/o aux LM", "Without the auxiliary LM loss"
    ),
    "lstm": Variant(
        "lstm_aux_lm", "LSTM w/ aux LM", "LSTM", "With an LSTM in place of the Transformer"
    ),
    "frozen": Variant("", "Transformer, body frozen", "frozen", "With the pretrained body frozen"),
    "reinit_last_block": Variant(
        "",
        "Transformer, last block reinitialized",
        "last block reinitialized",
        "With the last block reinitialized",
    ),
    "no_positions": Variant(
        "", "Transformer w/o positions", "w/o positions", "Without embeddings of positions"
    ),
    "pre_norm": Variant("", "Transformer, pre-LN", "pre-LN", "With pre-LN"),
    "shuffled": Variant(
        "",
        "Transformer, corpus by sentences",
        "corpus by sentences",
        "Pretrained on sentences in random order",
    ),
    "probe": Variant("", "Linear probe of the frozen body", "linear probe", "With a linear probe"),
}
BODIES = {"transformer": "Transformer", "lstm": "LSTM"}
METRICS = {"accuracy": "acc.", "f1": "F1", "matthews": "mc", "pearson": "pc", "spearman": "sc"}
# Curve of Figure 2 (right) -> the name of its probe there.
CURVES = {
    "sentiment": "sentiment analysis",
    "winograd": "Winograd schemas",
    "acceptability": "linguistic acceptability",
    "qa": "question answering",
}


class Published(NamedTuple):
    """Describe one column of Tables 2 to 4.

    Attributes:
        column: the name in the paper.
        task: the task.
        split: the split of this project that is nearest to the paper's.
        number: the paper's number.
    """

    column: str
    task: str
    split: str
    number: float


@functools.cache
def numbers() -> dict:
    """Return the content of paper_numbers.json."""
    return json.loads(
        (pathlib.Path(__file__).parent / "paper_numbers.json").read_text(encoding="utf-8")
    )


def table5(variant: str) -> dict[str, float]:
    """Return the row of a variant in Table 5: task -> number.

    Return {} for a variant that the paper does not have.
    """
    table = numbers()["table5"]
    names = {title: task for task, title in TASKS.items()}
    columns = zip(table["columns"], table.get(variant_of(variant).row, ()), strict=False)
    return {names[column]: number for column, number in columns if column != "avg"}


def table5_average(variant: str, tasks: Collection[str]) -> float | None:
    """Return the paper's average of a variant over `tasks`.

    Return the printed average if these are all tasks of Table 5, and None if the row lacks a task.
    """
    row, table = table5(variant), numbers()["table5"]
    if not tasks or not set(tasks) <= row.keys():
        return None
    if set(tasks) == row.keys():
        return table[variant_of(variant).row][table["columns"].index("avg")]
    return sum(row[task] for task in tasks) / len(tasks)


def main_tables() -> dict[str, tuple[str, tuple[Published, ...]]]:
    """Return the paper's tables of main results: name -> (title, columns).

    The columns use our test split where the test labels are public (SNLI, SciTail, Story Cloze and
    RACE), and our development split elsewhere.
    """
    nli, qa, glue = (numbers()[table]["GPT"] for table in ("table2", "table3", "table4"))
    columns = {
        "table2": (
            ("MNLI-m", "mnli", "validation", nli["MNLI-m"]),
            ("MNLI-mm", "mnli", "validation_mismatched", nli["MNLI-mm"]),
            ("SNLI", "snli", "test", nli["SNLI"]),
            ("SciTail", "scitail", "test", nli["SciTail"]),
            ("QNLI", "qnli", "validation", nli["QNLI_v1"]),
            ("RTE", "rte", "validation", nli["RTE"]),
        ),
        "table3": (
            ("StoryCloze", "story_cloze_2016", "test", qa["StoryCloze"]),
            ("RACE-m", "race_middle", "test", qa["RACE-m"]),
            ("RACE-h", "race_high", "test", qa["RACE-h"]),
            ("RACE", "race", "test", qa["RACE"]),
        ),
        "table4": (
            ("CoLA", "cola", "validation", glue["CoLA_mcc"]),
            ("SST2", "sst2", "validation", glue["SST2_acc"]),
            ("MRPC", "mrpc", "validation", glue["MRPC_f1"]),
            ("STSB", "stsb", "validation", glue["STSB_pearson"]),
            ("QQP", "qqp", "validation", glue["QQP_f1"]),
        ),
    }
    titles = {
        "table2": "Natural language inference",
        "table3": "Question answering",
        "table4": "Classification and similarity",
    }
    return {
        name: (titles[name], tuple(Published(*column) for column in columns[name]))
        for name in columns
    }


def task(name: str) -> str:
    """Return the name of a task in tables."""
    return TASKS.get(name, name)


def variant_of(name: str) -> Variant:
    """Return the names of a variant, made from `name` itself if VARIANTS does not have it."""
    words = name.replace("_", " ")
    return VARIANTS.get(name) or Variant("", words, words, f"In variant “{words}”")


def pretraining(name: str) -> str:
    """Return the name of a pretraining, which is that of its body or a change of its recipe."""
    return BODIES.get(name, name.replace("_", " "))


def order(name: str, known: dict) -> tuple[int, str]:
    """Return a sort key: names in `known` first, in its order, then all others alphabetically."""
    return (list(known).index(name) if name in known else len(known), name)


# Read from the axis of Figure 2 (right): 1,000 and an epoch of 9,600 steps, each times powers of
# two, and the last step.
ZERO_SHOT_STEPS = (
    1_000,
    2_000,
    4_000,
    8_000,
    9_600,
    19_200,
    38_400,
    76_800,
    153_600,
    307_200,
    614_400,
    960_000,
)


def zero_shot_steps(steps: int) -> tuple[int, ...]:
    """Return the steps of Figure 2 (right), scaled to a pretraining run of `steps` steps.

    They are distinct positive integers in ascending order. The last one is `steps`. A pretraining
    run that keeps the checkpoints of these steps gives a curve with the paper's points.
    """
    scaled = {int(step * steps / ZERO_SHOT_STEPS[-1] + 0.5) for step in ZERO_SHOT_STEPS}
    return tuple(sorted(scaled - {0}))
