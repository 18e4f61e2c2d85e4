"""Write the sentences of the summary: the results, and the runs that have problems.

A sentence claims a change only where the test calls it significant.
"""

import collections
from collections.abc import Iterable

from gpt1_jax.analysis.report import formatting, notes, paper
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.results import Results
from gpt1_jax.analysis.report.run_folders import FAILED, FINISHED, MISSING, UNFINISHED, Folder
from gpt1_jax.analysis.report.scores import Condition, Scores, degenerate
from gpt1_jax.analysis.stats.intervals import Estimate, correct_family
from gpt1_jax.runs import environment

METHOD = (
    "Scores are 100 x the metric. Seeds, examples and their interaction make up the variance of a "
    "score or a change. Square brackets hold its interval by Student's t, at the 95% level for "
    "scores. p values are two-sided. Holm's method corrects the p values and the intervals of each "
    "list, so an interval excludes 0 exactly if p is below 0.05. Then the change is called "
    "significant. The smallest detectable change is an estimate of the smallest true change that "
    "the same test finds in four of five repetitions with this number of seeds and examples."
)
RELATIVE = "0 is chance and 1 is the ceiling that the configuration declares."


def headline(scores: Scores) -> str:
    """Return a sentence with the score of the full model, or "" if no such run has finished.

    If a setting is varied, the sentence is about its last value, which is the complete model.
    """
    full = [condition for condition in scores.conditions if condition.variant == "full"]
    if not full:
        return ""
    chosen = next((condition for condition in full if condition.value is None), full[-1])
    columns = scores.shared_columns([chosen])
    if not columns:
        return ""
    estimate = scores.average(columns, chosen)
    assert estimate  # the columns have a score
    interval = formatting.interval(100 * estimate.low, 100 * estimate.high)
    runs = min(len(scores.runs(column, chosen)) for column in columns)
    origins = ""
    if scores.pretrainings:
        origins = f" from {formatting.count(scores.pretrainings, 'pretraining run')}"
    return (
        f"The full model scores {100 * estimate.mean:.1f} {interval} on average over "
        f"{formatting.count(len(columns), 'task')} ({formatting.names(columns)}), with "
        f"{formatting.count(runs, 'seed')}{origins}."
    )


def variant_effects(scores: Scores, differences: Differences) -> list[str]:
    """Return a sentence for each variant on its average difference from the full model.

    A numeric setting gives sentences for its first and its last value, any other for all values.
    """
    ends = {*scores.values[:1], *scores.values[-1:]}
    averages = {
        other: difference
        for (_, other), difference in differences.average.items()
        if not ends or other.value in ends
    }
    sentences = []
    for other, difference in averages.items():
        beginning = formatting.opening(other, scores.setting)
        sentences.append(formatting.change(beginning, difference, differences.shared))
    return sentences + _one_seed_warning(averages.values())


def setting_effects(scores: Scores) -> list[str]:
    """Return a sentence for each variant on the change from the first value to the last."""
    if len(scores.values) < 2:
        return []
    columns, differences = {}, {}
    for variant in dict.fromkeys(condition.variant for condition in scores.conditions):
        first, last = (Condition(variant, scores.values[index]) for index in (0, -1))
        shared = scores.shared_columns([first, last])
        if {first, last} <= set(scores.conditions) and shared:
            columns[first, last] = shared
            differences[first, last] = scores.average_difference(shared, first, last)
    if not differences:
        return []
    corrected = correct_family(differences)
    sentences = []
    for pair, difference in corrected.items():
        first, last = (formatting.value(condition.value, scores.setting) for condition in pair)
        values = formatting.at(f"{first} to {last}", scores.setting)
        beginning = f"From {values}"
        if pair[0].variant != "full":
            beginning = f"{paper.variant_of(pair[0].variant).phrase}, from {values}"
        sentences.append(formatting.change(beginning, difference, columns[pair]))
    return sentences + _one_seed_warning(corrected.values())


def _one_seed_warning(differences: Iterable[Estimate]) -> list[str]:
    return [notes.ONE_SEED] if any(difference.seeds == 1 for difference in differences) else []


def zero_shot(results: Results) -> list[str]:
    """Return a sentence for each pretraining on the relative performance at its last checkpoint.

    The performance is the mean over its runs.
    """
    sentences = []
    for name, runs in results.zero_shot.items():
        curves, last = {}, 0
        for run in runs.values():
            for probe in run.result.get("probes", {}).values():
                if probe["curve"] and probe["steps"]:
                    step = max(probe["steps"], key=int)
                    relative = probe["steps"][step]["relative"]
                    curves.setdefault(probe["curve"], []).append(relative)
                    last = max(last, int(step))
        if curves:
            scores = [
                f"{paper.CURVES.get(curve, curve)} {formatting.fraction_and_range(values)}"
                for curve, values in curves.items()
            ]
            count = formatting.count(max(map(len, curves.values())), "pretraining run")
            sentences.append(
                f"Relative performance of the {paper.pretraining(name)} after {last:,} pretraining "
                f"steps, with {count}: {', '.join(scores)}. {RELATIVE}"
            )
    return sentences


def runs(results: Results) -> list[str]:
    """Return sentences on how the runs ended."""
    statuses = collections.Counter(run.status for run in results.runs.values())
    counts = [f"{statuses[status]} {status}" for status in (FINISHED, FAILED, UNFINISHED, MISSING)]
    total = formatting.count(len(results.runs), "finetuning run")
    sentences = [f"Status of {total}: {', '.join(counts)}."]
    reasons = collections.Counter(filter(None, map(degenerate, results.runs.values())))
    if reasons:
        kinds = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        sentences.append(
            f"Finished runs that learned nothing: {reasons.total()} ({kinds}). Every score "
            "includes these runs, because failed seeds are a property of the method."
        )
    others = results.other_runs
    sentences += _versions([*results.runs.values(), *others])
    incomplete = [f"{run.name} ({run.status})" for run in others if run.status != FINISHED]
    if incomplete:
        sentences.append(
            f"Pretraining and zero-shot runs without a result: {', '.join(incomplete)}."
        )
    return sentences


def _versions(folders: Iterable[Folder]) -> list[str]:
    """Return a sentence on what made the runs; [] without a record."""
    makers = collections.Counter(
        " and then ".join(dict.fromkeys(environment.title(start) for start in folder.starts))
        for folder in folders
        if folder.starts
    )
    if len(makers) < 2:
        return [f"All runs were made by {maker}." for maker in makers]
    counts = "; ".join(f"{number} by {maker}" for maker, number in sorted(makers.items()))
    return [f"The runs were made by different versions, so compare them with care: {counts}."]


def problems(results: Results) -> dict[str, list[str]]:
    """Return the runs with a problem: problem -> names, with the error for failed runs."""
    names = {kind: [] for kind in (FAILED, UNFINISHED, MISSING)}
    for name, run in results.runs.items():
        if run.status == FAILED:
            names[FAILED].append(f"{name}: {run.error}")
        elif run.status != FINISHED:
            names[run.status].append(name)
        elif reason := degenerate(run):
            names.setdefault(reason, []).append(name)
    return {kind: entries for kind, entries in names.items() if entries}


def unpublished_data(measured: Iterable[Scores]) -> list[str]:
    """Return a sentence on scores that are not from the complete published data; [] if all are."""
    unpublished = {}
    for scores in measured:
        for column in scores.columns:
            earlier = unpublished.get(column.title, False)
            unpublished[column.title] = earlier or False in scores.published(column)
    titles = [title for title, is_unpublished in unpublished.items() if is_unpublished]
    if not titles:
        return []
    if len(titles) == len(unpublished):
        sentence = "No score is from the complete published data."
    else:
        names = ", ".join(titles)
        sentence = f"Some scores are not from the complete published data: {names}."
    return [f"{sentence} Such scores say nothing about the published tasks."]
