"""Write the notes below tables of scores."""

from collections.abc import Collection, Iterable, Sequence

from gpt1_jax.analysis.report import formatting
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.scores import Column, Scores
from gpt1_jax.analysis.stats.intervals import Estimate

METRIC_NAMES = {
    "matthews": "Matthews' correlation",
    "f1": "F1",
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
}
SELECTION_SPLIT = "the development split, which also chose the checkpoint"
FAILED_RUNS = "“2/3 failed” counts runs that learned nothing. Every number includes them."
ONE_SEED = (
    "With one seed, the standard deviation between seeds is unknown. Such intervals and p values "
    "do not include it."
)
FEW_PRETRAININGS = 3  # a claim about pretraining needs at least so many runs of it
CLUSTERED = (
    "Several seeds start from each pretraining run, so they are not independent. The values of a "
    "pretraining run are the means over its seeds; n and sd are of these."
)
PAPER_RUNS = (
    "The paper's rows are single runs on hidden test sets, scored by the GLUE server. They are "
    "shown for orientation. Scores on development and test sets are not comparable, so no "
    "difference between ours and the paper's is computed."
)
MNLI = (
    "MNLI is the mean of its matched and mismatched sets. The paper's 81.8 is the mean of 82.1 and "
    "81.4."
)
QNLI = (
    "The paper's QNLI score (88.1) is on version 1, which is no longer distributed. Our score is "
    "on version 2. The BERT paper (Table 1) reports 87.4 on version 2 for the paper's model."
)


def score_note(split: str) -> str:
    """Return the note that explains the entries with a score on `split`."""
    return (
        f"Scores are 100 x the metric on {split}, averaged over seeds. Brackets hold the 95% "
        "interval. sd is the standard deviation between seeds. n is the number of seeds. "
        f"{FAILED_RUNS}"
    )


def difference_note(differences: Differences) -> str:
    """Return the note that explains the entries with a difference."""
    families = [_family(differences.single.values(), "task difference")]
    if len(differences.shared) > 1:
        families.append(_family(differences.average.values(), "average"))
    return (
        "Differences are in points. Holm's method corrects p and the intervals over "
        f"{', and separately over '.join(families)}. * marks p < 0.05. The interval excludes 0 "
        "exactly where there is a *. δ is an estimate of the smallest true difference that this "
        f"test finds in four of five repetitions. {FAILED_RUNS} A difference counts the runs of "
        "both sides."
    )


def pretraining_note(scores: Scores) -> list[str]:
    """Return sentences on the number of pretraining runs; [] if it is not known."""
    count = scores.pretrainings
    if not count:
        return []
    runs = formatting.count(count, "pretraining run")
    if count >= FEW_PRETRAININGS:
        text = f"Every score rests on {runs}. The intervals include the spread between them."
    else:
        missing = "No interval" if count == 1 else "Hardly any interval"
        text = (
            f"Every score rests on {runs} only. {missing} includes the spread between pretraining "
            f"runs, so a claim about pretraining or about a body needs at least {FEW_PRETRAININGS}."
        )
    return [text, CLUSTERED] if scores.are_clustered else [text]


def _family(family: Collection[Estimate], noun: str) -> str:
    """Return the size of a family and the level of its intervals."""
    level = 100 * (1 - next(iter(family)).alpha)
    return f"{formatting.count(len(family), noun)} ({level:.3g}% intervals)"


def average_note(shared: Sequence[Column]) -> str:
    """Return the note that names the columns of the average."""
    return f"Avg. is the mean of the columns that all rows have: {formatting.names(shared)}."


def table5_average_note(shared: Sequence[Column], scores: Scores) -> str:
    """Return the note about the averages in Table 5."""
    text = average_note(shared)
    others = [column for column in scores.columns if column not in shared]
    if others:
        text += f" It leaves out {formatting.names(others)}."
    return (
        f"{text} The paper's average is over the same columns. It is shown if the paper has all of "
        "them."
    )


def paper_notes(columns: Sequence[Column]) -> list[str]:
    """Return the notes about the differences between our experiments and the paper's."""
    notes = [PAPER_RUNS]
    metrics = [
        f"{column.title} ({METRIC_NAMES[column.metric]})"
        for column in columns
        if column.metric != "accuracy" and not column.data
    ]
    if metrics:
        notes.append(f"The metrics are the paper's: accuracy, except for {', '.join(metrics)}.")
    tasks = {column.task for column in columns}
    if "mnli" in tasks:
        notes.append(MNLI)
    if "qnli" in tasks:
        notes.append(QNLI)
    return notes


def data_notes(tables: Iterable[Scores]) -> list[str]:
    """Return the notes about columns on data that differ from the published or the usual data."""
    unpublished, unknown, other_data = [], [], []
    for scores in tables:
        for column in scores.columns:
            published = scores.published(column)
            if False in published:
                unpublished.append(column)
            elif None in published:
                unknown.append(column)
            if column.data:
                other_data.append(column)
    notes = []
    if unpublished:
        notes.append(
            "These columns are not on the published data, or only on a part of it: "
            f"{_titles(unpublished)}. The paper has no numbers to compare them with."
        )
    if unknown:
        notes.append(
            "It is not known if the data of these columns have the published size: "
            f"{_titles(unknown)}."
        )
    if other_data:
        notes.append(
            "Runs that have read other data than the first run of their task have separate "
            f"columns, marked with a hash of the data: {_titles(other_data)}."
        )
    return notes


def _titles(columns: Sequence[Column]) -> str:
    return ", ".join(dict.fromkeys(column.title for column in columns))
