"""Draw figures over training steps: zero-shot probes, learning curves and pretraining runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.report import formatting, paper, plots
from gpt1_jax.analysis.report.plots import Axis, Line, Panel
from gpt1_jax.analysis.report.rendering import Figure
from gpt1_jax.analysis.report.results import Folder
from gpt1_jax.analysis.report.scores import Column, Scores


def zero_shot(probes: Mapping[str, Mapping[str, Mapping]]) -> list[Figure]:
    """Draw relative performance against pretraining updates, next to Figure 2 (right) of the paper.

    Args:
        probes: body -> task -> the result of its probe.

    Returns:
        Our figure and the paper's; [] if no probe with a curve has a result.
    """
    measured = [
        (body, probe)
        for body, tasks in probes.items()
        for probe in tasks.values()
        if probe["curve"] and probe["steps"]
    ]
    if not measured:
        return []
    curves = list(dict.fromkeys([*paper.CURVES, *(probe["curve"] for _, probe in measured)]))
    measured.sort(key=lambda entry: curves.index(entry[1]["curve"]))
    lines = []
    for body, probe in measured:
        steps = sorted(map(int, probe["steps"]))
        relative = [probe["steps"][str(step)]["relative"] for step in steps]
        lines.append(_probe_line(curves, probe["curve"], body, steps, relative))
    numbers = paper.numbers()["figure2_right"]
    published = [
        _probe_line(curves, curve, body, numbers["updates"], numbers[body][curve])
        for body in paper.BODIES
        for curve in paper.CURVES
    ]
    names = ", ".join(paper.CURVES.get(curve, curve) for curve in curves)
    return [
        _zero_shot_figure(
            "zero_shot",
            "Our relative performance",
            f"Relative zero-shot performance against pretraining updates: {names}. The raw scores "
            "are in the table.",
            lines,
        ),
        _zero_shot_figure(
            "zero_shot_paper",
            "The paper (digitised, clipped at 0)",
            "The paper's Figure 2, right. All four probes rise during pretraining. The Transformer "
            "ends above the LSTM on each of them.",
            published,
        ),
    ]


def _probe_line(
    curves: Sequence[str], curve: str, body: str, updates: Sequence[int], relative: Sequence[float]
) -> Line:
    """Return the line of one probe: the color shows the curve, the line style shows the body."""
    return Line(
        paper.CURVES.get(curve, curve),
        updates,
        relative,
        series=curves.index(curve),
        linestyle=int(body == "lstm"),
    )


def _zero_shot_figure(name: str, title: str, alt: str, lines: Sequence[Line]) -> Figure:
    bodies = [
        plots.line_legend(label, linestyle=int(body == "lstm"))
        for body, label in paper.BODIES.items()
    ]
    axis = Axis("pretraining updates", log=True)
    panel = Panel("0 is chance, 1 is the ceiling", [*lines, *bodies], zero=True)
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


def pretraining(runs: Mapping[str, Folder]) -> list[Figure]:
    """Draw training loss, held-out loss and throughput against steps, with a color for each body.

    A figure without any values is left out.
    """
    losses, speeds = [], []
    for series, (body, run) in enumerate(runs.items()):
        name = paper.BODIES.get(body, body)
        held_out = run.curve("validation_loss")
        losses += [
            Line(f"{name}, training", *run.curve("loss"), series=series, markers=False),
            Line(f"{name}, held out", *held_out, series=series, linestyle=1),
        ]
        speeds.append(Line(name, *run.curve("tokens_per_s"), series=series, markers=False))
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
