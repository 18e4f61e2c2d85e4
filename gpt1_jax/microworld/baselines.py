"""Measure the score of a linear model over word counts on each task.

`python -m gpt1_jax.microworld.baselines` prints the table of docs/microworld.md.
"""

import re
from typing import Any

import numpy as np
import scipy.stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from gpt1_jax.microworld.row_sampler import TaskRow
from gpt1_jax.microworld.tasks import CEILING, TASKS, make_rows
from gpt1_jax.microworld.world import World, draw

CHANCE = {name: 0.0 if name == "stsb" else 100 / len(task.labels) for name, task in TASKS.items()}
# Letters have no train rows. Their baseline is trained on MNLI's rows.
TRAIN_TASK = {"mnli_mismatched": "mnli"}


def baseline(
    world: World,
    name: str,
    train: int = 1500,
    dev: int = 1500,
    seed: int = 0,
    *,
    held_out: bool = True,
) -> float:
    """Return the score of a linear model over word counts.

    The score is the accuracy in percent, for stsb Pearson's r x 100.

    Args:
        world: the world that the rows are about.
        name: the task.
        train: the number of rows that the model is trained on.
        dev: the number of rows that it is evaluated on.
        seed: the seed of the rows.
        held_out: evaluate on rows about the words of no train row. If False, evaluate on further
            rows about the train words.
    """
    source = TRAIN_TASK.get(name, name)
    rows = make_rows(world, source, {"train": train + dev}, seed)["train"]
    train_rows, test_rows = rows[:train], rows[train:]
    if held_out:
        test_rows = make_rows(world, name, {"held_out": dev}, seed)["held_out"]
    labels = [row.label for row in test_rows]
    if name == "stsb":
        model = make_pipeline(CountVectorizer(analyzer=row_features), Ridge())  # pyright: ignore[reportArgumentType]
        scores = _classify(model, train_rows, test_rows)
        correlation: Any = scipy.stats.pearsonr(scores, labels)[0]
        return 100 * float(correlation)
    counts = CountVectorizer(analyzer=row_features)  # pyright: ignore[reportArgumentType]
    model = make_pipeline(counts, LogisticRegression(max_iter=1000))
    predict = _choose if train_rows[0].choices else _classify
    return 100 * float(np.mean(predict(model, train_rows, test_rows) == labels))


def row_features(row: TaskRow) -> list[str]:
    """Return a row's words, marked by their text, and by how many of two texts contain them."""
    bags = [re.findall(r"\w+", text.lower()) for text in (*row.texts, row.question, *row.choices)]
    features = [f"{i}:{word}" for i, bag in enumerate(bags) for word in bag]
    first = set(bags[0])
    last = set(bags[-1] if row.choices else bags[len(row.texts) - 1])
    features += [f"both:{word}" for word in sorted(first & last)]
    features += ["both"] * len(first & last)
    features += [f"one:{word}" for word in sorted(first ^ last)]
    return features


def _classify(model: Pipeline, train: list[TaskRow], test: list[TaskRow]) -> np.ndarray:
    return model.fit(train, [row.label for row in train]).predict(test)


def _choose(model: Pipeline, train: list[TaskRow], test: list[TaskRow]) -> np.ndarray:
    """Score each choice alone. Return for each test row the index of the best choice."""
    labels = [int(i == row.label) for row in train for i in range(len(row.choices))]
    model.fit(_separate_choices(train), labels)
    scores = model.decision_function(_separate_choices(test))
    return scores.reshape(len(test), -1).argmax(axis=1)


def _separate_choices(rows: list[TaskRow]) -> list[TaskRow]:
    return [row._replace(choices=(choice,)) for row in rows for choice in row.choices]


def baseline_table(world: World) -> str:
    """Return the baselines of all tasks as a markdown table."""
    lines = [
        "| task | chance | baseline, held-out words | baseline, train words | ceiling |",
        "|---|---|---|---|---|",
    ]
    for name in TASKS:
        cells = [name, f"{CHANCE[name]:.1f}", f"{baseline(world, name):.1f}"]
        has_train_words = name not in TRAIN_TASK
        cells.append(f"{baseline(world, name, held_out=False):.1f}" if has_train_words else "-")
        cells.append(f"{CEILING:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(baseline_table(draw()))
