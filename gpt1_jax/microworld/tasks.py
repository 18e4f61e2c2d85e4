"""Generate labeled rows: `make_rows(world, "sst2", {"train": 1500, "dev": 500})`.

Train rows are about one half of the world's words, dev and test rows about all words (World.words).
The words that decide every second dev row occur in no train row, so a model can learn their meaning
only from the novels. Every label follows from the world's facts without noise. A reader who
knows the world therefore scores CEILING on every task.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gpt1_jax.errors import UserError
from gpt1_jax.microworld import row_makers
from gpt1_jax.microworld.phrases import is_reserved
from gpt1_jax.microworld.row_sampler import RowSampler, TaskRow
from gpt1_jax.microworld.world import World

CEILING = 100.0  # percent


class RowTask(NamedTuple):
    """Hold the function that makes a row with a given label, and the possible labels."""

    make: Callable[[RowSampler, Any], TaskRow]
    labels: tuple[int | float, ...]


TASKS = {
    "cola": RowTask(row_makers.cola, (0, 1)),
    "sst2": RowTask(row_makers.sst2, (0, 1)),
    "mrpc": RowTask(row_makers.mrpc, (0, 1)),
    "qqp": RowTask(row_makers.qqp, (0, 1)),
    "stsb": RowTask(row_makers.stsb, tuple(row_makers.SIMILARITY)),
    "mnli": RowTask(row_makers.mnli, (0, 1, 2)),
    "mnli_mismatched": RowTask(row_makers.mnli_mismatched, (0, 1, 2)),
    "snli": RowTask(row_makers.snli, (0, 1, 2)),
    "scitail": RowTask(row_makers.scitail, (0, 1)),
    "rte": RowTask(row_makers.rte, (0, 1)),
    "qnli": RowTask(row_makers.qnli, (0, 1)),
    "story_cloze": RowTask(row_makers.story_cloze, (0, 1)),
    "dpr": RowTask(row_makers.dpr, (0, 1)),
    "race_middle": RowTask(row_makers.race_middle, (0, 1, 2, 3)),
    "race_high": RowTask(row_makers.race_high, (0, 1, 2, 3)),
}


def make_rows(
    world: World, name: str, counts: Mapping[str, int], seed: int = 0
) -> dict[str, list[TaskRow]]:
    """Return rows of the task `name` for each split, in random order.

    All labels are equally frequent. No two rows have the same texts, not even in different splits.
    No text is a sentence of a novel.

    Args:
        counts: split (train, dev, test, or held_out: dev rows about the words of no train row) ->
            number of rows.

    Raises:
        UserError: the world is too small for that many different rows.
    """
    labels = TASKS[name].labels
    used: set[tuple[str, ...]] = set()
    rows = {}
    for split, count in counts.items():
        sampler = RowSampler(world, split, f"{name}/{split}/{world.seed}/{seed}")
        rows[split] = [
            _make_row(sampler, name, labels[i % len(labels)], used) for i in range(count)
        ]
        sampler.rng.shuffle(rows[split])
    return rows


def _make_row(
    sampler: RowSampler, name: str, label: int | float, used: set[tuple[str, ...]]
) -> TaskRow:
    """Return a row whose texts are reserved for the tasks and new; add the texts to `used`."""
    for _ in range(10_000):
        row = TASKS[name].make(sampler, label)
        if row.texts not in used and all(map(is_reserved, row.texts)):
            used.add(row.texts)
            return row
    raise UserError(f"microworld {name}: found only {len(used)} different rows; ask for fewer rows")
