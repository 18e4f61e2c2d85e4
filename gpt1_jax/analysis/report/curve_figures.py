"""Draw figures over training steps: zero-shot probes, learning curves and pretraining runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.report import formatting, paper, plots
from gpt1_jax.analysis.report.plots import Axis, Line, Panel
from gpt1_jax.analysis.report.rendering import Figure
from gpt1_jax.analysis.report.run_folders import Folder
from gpt1_jax.analysis.report.scores import Column, Scores

Probes = Mapping[str, Mapping[str, Mapping[str, Mapping]]]


def zero_shot(probes: Probes) -> list[Figure]:
    """Draw relative performance against pretraining steps, and Figure 2 (right) of the paper.

    Lines are means over the runs of a pretraining, bands reach from the lowest run to the highest.

    Args:
        probes: name of the pretraining -> seed -> task -> the result of its probe.

    Returns:
        Our figure and the paper's; [] if no probe with a curve has a result.
    """
    measured = {}  # (curve, name of the pretraining) -> the results of its runs
    for name, runs in probes.items():
        for tasks in runs.values():
            for task, probe in tasks.items():
                if probe["curve"] and probe["steps"]:
                    measured.setdefault((probe["curve"], name, task), []).append(probe)
    if not measured:
        return []
    curves = list(dict.fromkeys([*paper.CURVES, *(curve for curve, _, _ in measured)]))
    styles = {name: style for style, name in enumerate(dict.fromkeys([*paper.BODIES, *probes]))}
    lines = [
        _probe_line(curves, curve, styles[name], *_relative_performance(results))
        for (curve, name, _), results in sorted(
            measured.items(), key=lambda entry: curves.index(entry[0][0])
        )
    ]
    numbers = paper.numbers()["figure2_right"]
    published = [
        _probe_line(curves, curve, styles[body], numbers["updates"], [numbers[body][curve]])
        for body in paper.BODIES
        for curve in paper.CURVES
    ]
    names = ", ".join(paper.CURVES.get(curve, curve) for curve in curves)
    bands = ""
    if any(len(results) > 1 for results in measured.values()):
        bands = " Lines are means over pretraining runs, bands go from the lowest to the highest."
    return [
        _zero_shot_figure(
            "zero_shot",
            "Our relative performance",
            f"Relative zero-shot performance against pretraining steps: {names}.{bands} The raw "
            "scores are in the table.",
            lines,
            {name: styles[name] for name in probes},
        ),
        _zero_shot_figure(
            "zero_shot_paper",
            "The paper (digitized, ±0.01, clipped at 0)",
            "The paper's Figure 2, right. All four probes rise during pretraining. The Transformer "
            "ends above the LSTM on each of them.",
            published,
            {body: styles[body] for body in paper.BODIES},
        ),
    ]


def _relative_performance(results: Sequence[Mapping]) -> tuple[list[int], list[list[float]]]:
    """Return the steps that all runs have probed, and the values of each run there."""
    shared = set.intersection(*(set(probe["steps"]) for probe in results))
    steps = sorted(map(int, shared))
    return steps, [[probe["steps"][str(step)]["relative"] for step in steps] for probe in results]


def _probe_line(
    curves: Sequence[str],
    curve: str,
    linestyle: int,
    steps: Sequence[int],
    relative: Sequence[Sequence[float]],
) -> Line:
    """Return the line of one probe: the color shows the curve, the line style the pretraining."""
    band = (np.min(relative, axis=0), np.max(relative, axis=0)) if len(relative) > 1 else ((), ())
    return Line(
        paper.CURVES.get(curve, curve),
        steps,
        np.mean(relative, axis=0),
        *band,
        series=curves.index(curve),
        linestyle=linestyle,
    )


def _zero_shot_figure(
    name: str, title: str, alt: str, lines: Sequence[Line], styles: Mapping[str, int]
) -> Figure:
    """Draw the lines, with a legend of the line styles: name of the pretraining -> line style."""
    legend = [plots.line_legend(paper.pretraining(key), style) for key, style in styles.items()]
    axis = Axis("pretraining steps", log=True)
    panel = Panel("0 is chance, 1 is the ceiling", [*lines, *legend], zero=True)
    return plots.draw_lines(name, title, alt, axis, [panel], height=3.6)


def learning(scores: Scores, column: Column) -> Figure:
    """Draw the training loss of a task above its development score, with a color for each variant.

    A thick line is the mean over seeds, thin lines are single runs.
    """
    losses, metrics = [], []
    for series, condition in enumerate(scores.conditions):
        runs = scores.runs(column, condition).values()
        label = formatting.condition(condition, scores.setting)
        loss_line = Line(label, (), (), series=series, markers=False)
        losses += _mean_and_seeds(loss_line, [run.curve("task_loss") for run in runs])
        metric = f"{column.splits[0]}_{column.metric}"
        points = [(steps, 100 * values) for steps, values in (run.curve(metric) for run in runs)]
        metrics += _mean_and_seeds(Line(label, (), (), series=series), points)
    panels = [
        Panel("training loss", losses),
        Panel(f"100 x {paper.METRICS[column.metric]}, dev", metrics),
    ]
    alt = (
        f"Learning curves of {column.title}. The upper panel shows the training loss of the task. "
        f"The lower panel shows the score on the development split ({column.metric})."
    )
    name = "_".join(filter(None, ["learning", column.task, column.data]))
    return plots.draw_lines(name, column.title, alt, Axis("steps"), panels, height=4.4)


def _mean_and_seeds(mean: Line, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Line]:
    """Return the lines of single runs, and their mean if all runs logged the same steps.

    Args:
        mean: the line of the mean, without values.
        curves: steps and values of each run.
    """
    curves = [(steps, values) for steps, values in curves if len(steps)]
    if not curves:
        return []
    lines = []
    if len(curves) > 1:
        for steps, values in curves:
            lines.append(mean._replace(x=steps, y=values, markers=False, faint=True))
    first = curves[0][0]
    if all(np.array_equal(steps, first) for steps, _ in curves):
        average = np.mean([values for _, values in curves], axis=0)
        lines.append(mean._replace(x=first, y=average))
    return lines


def pretraining(pretrainings: Mapping[str, Mapping[str, Folder]]) -> list[Figure]:
    """Draw training loss, held-out loss and throughput against steps.

    Each pretraining has a color. Thick lines are means over its runs, thin lines are single runs. A
    figure without any values is left out.
    """
    losses, speeds = [], []
    for series, (key, runs) in enumerate(pretrainings.items()):
        name = paper.pretraining(key)

        def lines(line: Line, metric: str, runs=runs) -> list[Line]:
            return _mean_and_seeds(line, [run.curve(metric) for run in runs.values()])

        training = Line(f"{name}, training", (), (), series=series, markers=False)
        held_out = Line(f"{name}, held out", (), (), series=series, linestyle=1)
        losses += lines(training, "loss") + lines(held_out, "validation_loss")
        speeds += lines(Line(name, (), (), series=series, markers=False), "tokens_per_s")
    figures = [
        _step_figure(
            "pretraining_loss",
            "Loss",
            "Training loss and held-out loss against steps, in nats per token.",
            "nats per token",
            losses,
        ),
        _step_figure(
            "pretraining_speed",
            "Throughput",
            "Tokens per second against steps.",
            "tokens per second",
            speeds,
        ),
    ]
    return [figure for figure in figures if figure is not None]


def _step_figure(
    name: str, title: str, alt: str, ylabel: str, lines: Sequence[Line]
) -> Figure | None:
    """Draw the lines that have values against steps. Return None if no line has values."""
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return None
    return plots.draw_lines(name, title, alt, Axis("steps"), [Panel(ylabel, lines)])
