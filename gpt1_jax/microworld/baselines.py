"""How far counting words gets on each task: `python -m gpt1_jax.microworld.baselines` prints the table."""

import re

import numpy as np
import scipy.stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

from gpt1_jax.microworld.row_sampler import Row
from gpt1_jax.microworld.tasks import TASKS, rows
from gpt1_jax.microworld.world import World, draw

CHANCE = {name: 0.0 if name == "stsb" else 100 / len(task.labels) for name, task in TASKS.items()}
# Letters have no training rows: they are judged by the counts of MNLI's own.
TRAINED_ON = {"mnli_mismatched": "mnli"}


def floor(
    world: World,
    name: str,
    train: int = 1500,
    dev: int = 1500,
    seed: int = 0,
    *,
    apart: bool = True,
) -> float:
    """Accuracy in percent (stsb: Pearson's r x 100) on dev rows of a linear model over counts of the train rows' words.

    Args:
        apart: False judges on further rows about the train words, which asks more of a task: that even counts of words
            known by their labels are not enough.
    """
    source = TRAINED_ON.get(name, name)
    fitted = rows(world, source, {"train": train + dev}, seed)["train"]
    judged = rows(world, name, {"dev": dev}, seed)["dev"] if apart else fitted[train:]
    if name == "stsb":
        model = make_pipeline(CountVectorizer(analyzer=words_of), Ridge())
        scores = model.fit(fitted[:train], [row.label for row in fitted[:train]]).predict(judged)
        return 100 * float(scipy.stats.pearsonr(scores, [row.label for row in judged]).statistic)
    model = make_pipeline(CountVectorizer(analyzer=words_of), LogisticRegression(max_iter=1000))
    guesses = (_choose if fitted[0].choices else _classify)(model, fitted[:train], judged)
    return 100 * float(np.mean(guesses == [row.label for row in judged]))


def words_of(row: Row) -> list[str]:
    """A row's words, marked with the text they are in, and the words that two texts share or do not."""
    bags = [re.findall(r"\w+", text.lower()) for text in (*row.texts, row.question, *row.choices)]
    marked = [f"{place}:{word}" for place, bag in enumerate(bags) for word in bag]
    first, last = set(bags[0]), set(bags[-1] if row.choices else bags[len(row.texts) - 1])
    both = [f"both:{word}" for word in sorted(first & last)] + ["both"] * len(first & last)
    return marked + both + [f"one:{word}" for word in sorted(first ^ last)]


def _classify(model: Pipeline, fitted: list[Row], judged: list[Row]) -> np.ndarray:
    return model.fit(fitted, [row.label for row in fitted]).predict(judged)


def _choose(model: Pipeline, fitted: list[Row], judged: list[Row]) -> np.ndarray:
    """Score each choice beside its text alone; the highest wins."""

    def alone(examples):
        return [row._replace(choices=(choice,)) for row in examples for choice in row.choices]

    model.fit(
        alone(fitted), [int(i == row.label) for row in fitted for i in range(len(row.choices))]
    )
    return model.decision_function(alone(judged)).reshape(len(judged), -1).argmax(axis=1)


def table(world: World) -> str:
    """All tasks as a markdown table."""
    lines = [
        "| task | chance | floor, test words | floor, train words | ceiling |",
        "|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        test_words = floor(world, name)
        train_words = "-" if name in TRAINED_ON else f"{floor(world, name, apart=False):.1f}"
        lines.append(
            f"| {name} | {CHANCE[name]:.1f} | {test_words:.1f} | {train_words} | {task.ceiling:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(draw()))
