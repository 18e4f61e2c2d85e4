"""Build the sections of a report.

A section is a list of blocks. A block is a pair of its kind and its value:

    ("text", str)                                a paragraph
    ("notes", str)                               a paragraph in small print
    ("groups", [(title, [str])])                 lists of sentences, each with a title
    ("names", (title, [str]))                    a list of names that the reader can unfold
    ("table", Table)
    ("figures", [Figure])
    ("samples", (title, [{"step", "text"}]))     texts that a model generated
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt1_jax.analysis.report import (
    curve_figures,
    curve_tests,
    notes,
    paper,
    recipe_table,
    run_tables,
    score_figures,
    score_tables,
    selection,
    summary,
)
from gpt1_jax.analysis.report.curve_tests import Curve
from gpt1_jax.analysis.report.differences import Differences, compare
from gpt1_jax.analysis.report.results import Experiment, Results
from gpt1_jax.analysis.report.scores import Scores

TITLES = {
    "table5": "Table 5: ablations",
    "main": "Tables 2 to 4: the full model",
    "transfer": "Figure 2, left: layers transferred",
    "data_size": "Number of labeled examples",
    "top": "Frozen body and reinitialized last block",
    "seeds": "Scores of single seeds",
    "quirks": "Quirks of the published finetuning",
    "lm_coef": "Weight of the auxiliary LM loss",
    "updates": "Pretraining steps",
    "few_shot": "Few labeled examples",
    "depth": "Number of blocks",
    "heads": "Number of heads",
    "vocabulary": "Size of the vocabulary",
    "context": "Length of the context",
    "positions": "Embeddings of positions",
    "norm": "Place of the layer norm",
    "shuffled": "Sentences in random order",
    "layers_probe": "Linear probes of the blocks",
    "selection": "Learning rate selected on development data",
}
ZERO_SHOT = "Figure 2, right: zero-shot probes"
LEADING = ("table5", "main", "transfer")  # experiments that come first on the page
SAMPLES = 6  # samples shown of each pretraining, from its first run

Block = tuple[str, Any]


class Section(NamedTuple):
    """Describe a section of the page. `name` is its anchor."""

    name: str
    title: str
    blocks: list[Block]


class _Analysis(NamedTuple):
    """Hold what is computed from one experiment."""

    experiment: Experiment
    title: str
    scores: Scores
    differences: Differences
    curves: list[Curve]


def build(results: Results) -> list[Section]:
    """Return the sections from the top of the page to the bottom, with the summary first."""
    analyses = [_analyze(experiment) for experiment in results.experiments]
    experiments = [_experiment(analysis) for analysis in analyses]
    leading = [section for section in experiments if section.name in LEADING]
    others = [section for section in experiments if section.name not in LEADING]
    return [
        *_summary(results, analyses),
        *leading,
        *_zero_shot(results),
        *others,
        *_learning_curves([analysis.scores for analysis in analyses]),
        *_recipe(results),
        *_pretraining(results),
        *_finetuning(results),
    ]


def _analyze(experiment: Experiment) -> _Analysis:
    scores = Scores(experiment)
    title = TITLES.get(experiment.name, experiment.name.replace("_", " ").capitalize())
    return _Analysis(experiment, title, scores, compare(scores), curve_tests.curves(scores))


def _summary(results: Results, analyses: Sequence[_Analysis]) -> list[Section]:
    """Return the section with the results in sentences, and the runs with problems."""
    if not results.runs:
        return []
    groups = []
    for _, title, scores, differences, curves in analyses:
        sentences = summary.variant_effects(scores, differences) + summary.setting_effects(scores)
        sentences += curve_tests.sentences(scores, curves)
        if sentences:
            sentences += notes.pretraining_note(scores)
        groups.append((title, list(dict.fromkeys(sentences))))
    groups.append((ZERO_SHOT, summary.zero_shot(results)))
    groups = [(title, sentences) for title, sentences in groups if sentences]
    measured = [analysis.scores for analysis in analyses]
    runs = ("Runs", summary.unpublished_data(measured) + summary.runs(results))
    blocks = [("text", _headline(measured)), ("groups", [*groups, runs])]
    blocks += [("names", problem) for problem in summary.problems(results).items()]
    if groups:
        blocks.append(("notes", summary.METHOD))
    return [Section("summary", "Summary", blocks)]


def _headline(measured: Sequence[Scores]) -> str:
    """Return the headline of the first experiment that has one.

    Experiments without a numeric setting go first, because only the variant differs between their
    runs.
    """
    for scores in sorted(measured, key=lambda scores: bool(scores.values)):
        headline = summary.headline(scores)
        if headline:
            return headline
    return "No run has finished yet."


def _experiment(analysis: _Analysis) -> Section:
    """Return the section of one experiment: its scores, its figures and its differences."""
    experiment, title, scores, differences, curves = analysis
    name = experiment.name
    if not scores.conditions:
        return Section(name, title, [("text", "No run of this experiment has finished.")])
    if name == "main":
        tables = score_tables.main_tables(experiment)
        if tables:  # no variant to compare with
            return Section(name, title, [("table", table) for table in tables])
    figures = ("figures", score_figures.experiment(name, scores, differences))
    if name == "table5":
        tables = score_tables.table5(scores) + score_tables.table5_on_test(experiment)
        blocks = [*(("table", table) for table in tables), figures]
    else:
        blocks = [figures, ("table", score_tables.score_table(name, f"{title}: scores", scores))]
    if name == "selection" and (chosen := selection.table(name, title, experiment)):
        blocks.insert(0, ("table", chosen))
    if curves:
        blocks.append(("table", curve_tests.table(name, title, scores, curves)))
    if differences.single:
        blocks.append(("table", score_tables.differences(name, title, scores, differences)))
    return Section(name, title, blocks)


def _zero_shot(results: Results) -> list[Section]:
    """Return the section of the zero-shot probes, if any has finished."""
    probes = {}  # name of the pretraining -> seed -> task -> the result of its probe
    for name, runs in results.zero_shot.items():
        for seed, run in runs.items():
            if run.result.get("probes"):
                probes.setdefault(name, {})[seed] = run.result["probes"]
    if not probes:
        return []
    blocks = [
        ("figures", curve_figures.zero_shot(probes)),
        ("table", run_tables.zero_shot(probes)),
    ]
    return [Section("zero_shot", ZERO_SHOT, blocks)]


def _learning_curves(measured: Sequence[Scores]) -> list[Section]:
    """Return the learning curves of every task of the first experiment that has finished runs."""
    for scores in measured:
        if scores.columns:
            text = (
                "Thick lines are means over seeds. Thin lines are single runs. The score of a run "
                "is that of the checkpoint with the best development score."
            )
            figures = [curve_figures.learning(scores, column) for column in scores.columns]
            blocks = [("text", text), ("figures", figures)]
            return [Section("learning", "Learning curves", blocks)]
    return []


def _recipe(results: Results) -> list[Section]:
    """Return the section of the recipe, if a run of the ablation has finished."""
    table = recipe_table.table(results) if results.runs else None
    return [Section("recipe", "Recipe", [("table", table)])] if table else []


def _pretraining(results: Results) -> list[Section]:
    """Return the section of the pretraining runs: loss, throughput, facts and samples."""
    if not results.pretrain:
        return []
    started = {
        name: {seed: run for seed, run in runs.items() if run.lines or run.result}
        for name, runs in results.pretrain.items()
    }
    blocks = [
        ("figures", curve_figures.pretraining(started)),
        ("table", run_tables.pretraining(results.pretrain)),
    ]
    for name, runs in started.items():
        run = next((run for run in runs.values() if run.samples), None)
        if run:
            title = f"Samples from the {paper.pretraining(name)}"
            blocks.append(("samples", (title, _evenly_spaced(run.samples))))
    return [Section("pretraining", "Pretraining", blocks)]


def _evenly_spaced(samples: Sequence[Mapping]) -> list[Mapping]:
    """Return a few samples, from the first to the last at equal distances."""
    indices = {round(index) for index in np.linspace(0, len(samples) - 1, SAMPLES)}
    return [samples[index] for index in sorted(indices)]


def _finetuning(results: Results) -> list[Section]:
    """Return the section with one row for every finetuning run."""
    if not results.runs:
        return []
    return [Section("runs", "All finetuning runs", [("table", run_tables.finetuning(results))])]
