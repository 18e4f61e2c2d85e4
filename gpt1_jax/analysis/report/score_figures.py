"""Draw the figures of an experiment's scores. plots.py draws the lines and the strip plots."""

from collections.abc import Mapping, Sequence

from gpt1_jax.analysis.report import formatting, paper, plots
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.plots import Axis, Line, Panel
from gpt1_jax.analysis.report.rendering import Figure
from gpt1_jax.analysis.report.scores import EXAMPLES, Column, Condition, Scores
from gpt1_jax.analysis.stats.intervals import Estimate

TASKS_PER_STRIP_PLOT = 5
MAX_LOG_TICKS = 6  # the labels of more values would overlap


def experiment(name: str, scores: Scores, differences: Differences) -> list[Figure]:
    """Return the figures of one experiment.

    An experiment with a numeric setting shows against that setting the scores, and then, for each
    variant, the differences between the full model and the variant. Any other experiment shows the
    scores of all seeds as strip plots.
    """
    if len(scores.values) <= 1:
        return _strip_plots(name, scores)
    figures = [_scores_against_setting(name, scores)]
    if scores.setting == "init.layers":
        figures += [*_training_accuracy(name, scores), published_transfer()]
    variants = dict.fromkeys(other.variant for _, other, _ in differences.single)
    return figures + [
        _differences_against_setting(name, scores, differences, variant) for variant in variants
    ]


def published_transfer() -> Figure:
    """Draw Figure 2 (left) as the paper published it."""
    numbers = paper.numbers()["figure2_left"]
    layers = numbers["n_transfer"]
    curves = {"mnli_m_dev": "MNLI dev", "race_dev": "RACE dev"}
    curves |= {"mnli_train": "MNLI train", "race_train": "RACE train"}
    lines = [
        Line(label, layers, numbers[curve], series=number % 2, linestyle=1 + number // 2)
        for number, (curve, label) in enumerate(curves.items())
    ]
    ticks = {layer: _tick(layer, "init.layers") for layer in layers if layer < 1 or layer % 2 == 0}
    return plots.draw_lines(
        "transfer_paper",
        "The paper: 12 layers (digitized, ±0.3)",
        "The paper's Figure 2, left, digitized with an error of 0.3 points. Accuracy rises with "
        "the number of layers transferred: on the development sets from 72.5 to 82.4 (MNLI) and "
        "from 39.6 to 60.1 (RACE), on the training sets from 79.5 to 97.3 and from 54.1 to 91.8.",
        Axis("layers transferred", ticks=ticks),
        [Panel("accuracy", lines)],
        height=3.6,
    )


def _training_accuracy(name: str, scores: Scores) -> list[Figure]:
    """Draw the training accuracy at the end of the runs; [] if no run has logged it.

    It is the mean over the last line of the log: with dropout, while the params still change.
    """
    lines = []
    for series, column in enumerate(scores.columns):
        points = {}
        for condition in _numeric_conditions(scores, "full"):
            curves = (
                run.curve("train_accuracy") for run in scores.runs(column, condition).values()
            )
            final = [100 * values[-1] for _, values in curves if len(values)]
            if final:
                points[scores.position(column, condition)] = final
        if points:
            values = list(points.values())
            lines.append(
                Line(
                    column.title,
                    list(points),
                    [sum(runs) / len(runs) for runs in values],
                    list(map(min, values)),
                    list(map(max, values)),
                    series=series,
                    linestyle=2,
                )
            )
    if not lines:
        return []
    axis = _setting_axis(scores, lines)
    title = f"Our training accuracy against {axis.label}"
    alt = (
        f"{title}, for {formatting.names(scores.columns)}: that of the last logged batches of each "
        "run, with dropout. Lines are means over seeds, bands go from the lowest to the highest."
    )
    panel = Panel("100 x accuracy, training", lines)
    return [plots.draw_lines(f"{name}_training", title, alt, axis, [panel])]


def _strip_plots(name: str, scores: Scores) -> list[Figure]:
    """Draw the scores of all seeds, a few tasks in each figure."""
    starts = range(0, len(scores.columns), TASKS_PER_STRIP_PLOT)
    parts = [scores.columns[start : start + TASKS_PER_STRIP_PLOT] for start in starts]
    if len(parts) == 1:
        return [_strip_plot(f"{name}_seeds", scores, parts[0])]
    return [
        _strip_plot(f"{name}_seeds_{number}", scores, part) for number, part in enumerate(parts, 1)
    ]


def _strip_plot(name: str, scores: Scores, columns: Sequence[Column]) -> Figure:
    groups = {}
    for column in columns:
        groups[column.title] = {
            formatting.condition(condition, scores.setting): [
                100 * score for score in scores.seed_scores(column, condition).values()
            ]
            for condition in scores.conditions
        }
    alt = (
        f"The score of every seed on {formatting.names(columns)}. Bars are means. The means are "
        "also in the table."
    )
    return plots.draw_strip_plot(
        name, "All seeds (bars are means)", alt, groups, "100 x metric, dev"
    )


def _scores_against_setting(name: str, scores: Scores) -> Figure:
    """Draw scores against the setting: a color for each task, a line style for each variant."""
    variants = list(dict.fromkeys(condition.variant for condition in scores.conditions))
    lines = []
    for series, column in enumerate(scores.columns):
        for linestyle, variant in enumerate(variants):
            estimates = {
                scores.position(column, condition): estimate
                for condition in _numeric_conditions(scores, variant)
                if (estimate := scores.estimate(column, condition))
            }
            lines += _line_with_band(column.title, estimates, series, linestyle)
    axis = _setting_axis(scores, lines)
    if len(variants) > 1:
        lines += [
            plots.line_legend(paper.variant_of(variant).short, linestyle)
            for linestyle, variant in enumerate(variants)
        ]
    title = f"Our scores against {axis.label}"
    alt = (
        f"{title}, for {formatting.names(scores.columns)}. Bands are 95% intervals. The numbers "
        "are in the table."
    )
    return plots.draw_lines(name, title, alt, axis, [Panel("100 x metric, dev", lines)])


def _differences_against_setting(
    name: str, scores: Scores, differences: Differences, variant: str
) -> Figure:
    """Draw the score of the full model minus that of a variant against the setting."""
    lines = []
    for series, column in enumerate(scores.columns):
        compared = {key[1]: value for key, value in differences.single.items() if key[2] == column}
        points = {
            scores.position(column, other): compared[other]
            for other in _numeric_conditions(scores, variant)
            if other in compared
        }
        lines += _line_with_band(column.title, points, series)
    axis, short = _setting_axis(scores, lines), paper.variant_of(variant).short
    title = f"Full minus {short} against {axis.label}"
    alt = (
        f"{title}, for {formatting.names(scores.columns)}. Bands are intervals. They and the "
        "numbers are in the table of differences."
    )
    panel = Panel(f"full minus {short}", lines, zero=True)
    return plots.draw_lines(f"{name}_{variant}", title, alt, axis, [panel])


def _numeric_conditions(scores: Scores, variant: str) -> list[Condition]:
    """Return the conditions of a variant that have a numeric value, in the order of `scores`."""
    return [
        condition
        for condition in scores.conditions
        if condition.variant == variant and condition.value in scores.values
    ]


def _line_with_band(
    label: str, points: Mapping[float, Estimate], series: int, linestyle: int = 0
) -> list[Line]:
    """Return one line of means with its 95% band, or no line if there are no points."""
    if not points:
        return []
    mean, low, high = (
        [100 * getattr(point, name) for point in points.values()]
        for name in ("mean", "low", "high")
    )
    return [Line(label, list(points), mean, low, high, series=series, linestyle=linestyle)]


def _setting_axis(scores: Scores, lines: Sequence[Line]) -> Axis:
    """Return the axis of the setting with a tick at every value.

    The value "all labeled examples" gets no tick, because each task has another number of them.
    """
    positions = [x for line in lines for x in line.x]
    smallest, largest = min(positions, default=0), max(positions, default=0)
    log = smallest > 0 and largest >= 5 * smallest
    values = scores.values
    if scores.setting == EXAMPLES:
        values = [value for value in values if 0 < value <= largest]
    if log and len(values) > MAX_LOG_TICKS:
        values = []
    ticks = {value: _tick(value, scores.setting) for value in values}
    return Axis(formatting.setting(scores.setting), log, ticks)


def _tick(value: float, setting: str) -> str:
    """Return the label of a tick.

    The label for the embeddings goes one line down. With twelve layers there is no room for it
    beside the label for nothing transferred.
    """
    text = formatting.value(value, setting)
    return f"\n{text}" if setting == "init.layers" and value == 0 else text
