"""What was found, in plain sentences made of the numbers, cautious where an interval includes zero; and which runs are amiss."""

import collections
from collections.abc import Iterable

from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.results import (
    FAILED,
    FINISHED,
    MISSING,
    UNFINISHED,
    FinetuningRun,
    Results,
)
from gpt1_jax.analysis.report.scores import Column, Condition, Scores
from gpt1_jax.analysis.stats import significance
from gpt1_jax.analysis.stats.degenerate import degenerate_reason
from gpt1_jax.analysis.stats.intervals import Difference
from gpt1_jax.registry import TASKS

HOW = (
    "Points are 100 x the metric. Square brackets hold 95% intervals of a bootstrap over examples and seeds, paired by example; p is "
    "two-sided, after Holm's correction within each list. The smallest detectable change is the true one that so many seeds and examples "
    "show in four of five repetitions. A change is claimed where p is below 0.05 and Student's t agrees; with three seeds the intervals "
    "can be too narrow (in simulations they covered 76 of 100 where seeds are all that varies)."
)
SCALE = "0 is guessing, 1 the ceiling that the configuration declares."


def headline(scores: Scores) -> str:
    """How well the full model does; "" where it was not run."""
    fulls = [condition for condition in scores.conditions if condition.variant == "full"]
    full = next(
        (condition for condition in fulls if condition.value is None), fulls[-1] if fulls else None
    )  # the last value is all of it
    columns = scores.shared_columns([full]) if full else []
    if not columns:
        return ""
    estimate = scores.average(columns, full)
    what = f"{100 * estimate.mean:.1f} on average over {formatting.count(len(columns), 'task')}"
    spread = formatting.interval(100 * estimate.low, 100 * estimate.high)
    return f"The full model scores {what} {spread}, with {formatting.count(estimate.seeds, 'seed')}: {formatting.names(columns)}."


def comparisons(scores: Scores, found: Differences) -> list[str]:
    """Full against each variant on average: at every value of the setting, or, of numbers, at the first and the last."""
    ends = {*scores.values[:1], *scores.values[-1:]}
    told = {
        other: difference
        for (_, other), difference in found.average.items()
        if not ends or other.value in ends
    }
    texts = [
        formatting.change(formatting.opening(other, scores.setting), difference, found.shared)
        for other, difference in told.items()
    ]
    return texts + _caution(told.values())


def ends(scores: Scores) -> list[str]:
    """From the first value of a numeric setting to the last, for each variant."""
    found = {}
    for variant in (
        dict.fromkeys(condition.variant for condition in scores.conditions)
        if len(scores.values) > 1
        else ()
    ):
        first, last = Condition(variant, scores.values[0]), Condition(variant, scores.values[-1])
        if {first, last} <= set(scores.conditions) and (columns := scores.shared_columns([first, last])):
            found[first, last] = columns, scores.average_difference(columns, first, last)
    adjusted = (
        significance.correct_family({pair: difference for pair, (_, difference) in found.items()})
        if found
        else {}
    )
    texts = []
    for (first, last), difference in adjusted.items():
        several = f"{paper.variant_of(first.variant).phrase}, " if first.variant != "full" else ""
        values = " to ".join(
            formatting.value(condition.value, scores.setting) for condition in (first, last)
        )
        begin = f"{several}{'from' if several else 'From'} {values} {formatting.setting(scores.setting)}"
        texts.append(formatting.change(begin, difference, found[first, last][0]))
    return texts + _caution(adjusted.values())


def _caution(told: Iterable[Difference]) -> list[str]:
    return [
        "With one seed the spread between seeds is unknown, and these figures leave it out."
    ] * any(entry.seeds == 1 for entry in told)


def zero_shot(results: Results) -> list[str]:
    """Where each body's probes end."""
    words = []
    for body, run in results.zero_shot.items():
        probes = [
            probe
            for probe in run.result.get("probes", {}).values()
            if probe["curve"] and probe["steps"]
        ]
        reached = [(probe, max(probe["steps"], key=int)) for probe in probes]
        parts = [
            f"{paper.CURVES.get(probe['curve'], probe['curve'])} {probe['steps'][step]['relative']:.2f}".replace(
                "-", "−"
            )
            for probe, step in reached
        ]
        if parts:
            name = paper.BODIES.get(body, body)
            words.append(
                f"The {name} as it was pretrained (update {max(int(step) for _, step in reached):,}): {', '.join(parts)}. {SCALE}"
            )
    return words


def runs(results: Results) -> tuple[list[str], dict[str, list[str]]]:
    """How the runs ended: sentences, and for each kind of trouble the runs in it."""
    groups, reasons = collections.defaultdict(list), collections.defaultdict(list)
    for name, run in results.runs.items():
        groups[run.status].append(name)
        if reason := degenerate(run):
            reasons[reason].append(name)
    counted = ", ".join(
        f"{len(groups[status])} {status}" for status in (FINISHED, FAILED, UNFINISHED, MISSING)
    )
    words = [f"Of {formatting.count(len(results.runs), 'finetuning run')}: {counted}."]
    learnt_nothing = sum(map(len, reasons.values()))
    if learnt_nothing:
        kinds = ", ".join(f"{reason} {len(names)}" for reason, names in reasons.items())
        text = f"{formatting.count(learnt_nothing, 'finished run')} learnt nothing ({kinds})."
        words.append(
            f"{text} They count in every number: that a seed fails is a part of what a recipe does."
        )
    waiting = [
        f"{run.name} ({run.status})"
        for run in (*results.pretrain.values(), *results.zero_shot.values())
        if run.status != FINISHED
    ]
    if waiting:
        words.append(f"Pretraining and probes: {', '.join(waiting)}.")
    trouble = {FAILED: [f"{name}: {results.runs[name].error}" for name in groups[FAILED]]}
    trouble |= {status: groups[status] for status in (UNFINISHED, MISSING)} | reasons
    return words, {kind: names for kind, names in trouble.items() if names}


def degenerate(run: FinetuningRun) -> str:
    """Why a finished run has learnt nothing, judged by its first development split; "" if it has."""
    split = TASKS[run.result["task"]].validation[0] if run.status == FINISHED else ""
    return degenerate_reason(*run.predictions[split]) if split in run.predictions else ""


def other_data(every: Iterable[Scores]) -> str:
    """One sentence if scores are not of the published data; "" if all are."""
    unpublished = {}
    for scores in every:
        for column in scores.columns:
            unpublished[column.title] = unpublished.get(column.title, False) or _unpublished(
                scores, column
            )
    named = [title for title, other in unpublished.items() if other]
    if not named:
        return ""
    which = "No task was" if len(named) == len(unpublished) else f"{', '.join(named)}: not"
    return f"{which} read in full from the published data; such numbers say nothing about the published tasks."


def _unpublished(scores: Scores, column: Column) -> bool:
    every = [
        run for condition in scores.conditions for run in scores.runs(column, condition).values()
    ]
    return any(
        run.result["data"]["splits"][split].get("published") is False
        for run in every
        for split in ("train", *column.splits)
    )
