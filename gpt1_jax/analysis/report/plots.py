"""Draw line charts with bands, and strip plots of single runs.

Importing matplotlib takes a second, so it is imported when the first figure is drawn. This module
uses figure objects and never pyplot, so it has no global state.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gpt1_jax.analysis.report.rendering import COLORS, INK, Figure, render
from gpt1_jax.errors import printable

MARKERS = "os^DvPX"
LINESTYLES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
GRAY = len(COLORS) - 1  # the series of legend entries that only explain a line style
WIDTH = 4.6  # inches
FONT_SIZE = 10.5  # points; readable on a page of 360 pixels
HEIGHT = 3.1  # inches


class Line(NamedTuple):
    """Describe a curve. A line without values appears in the legend only.

    Attributes:
        label: the text in the legend. Lines with the same label share one entry.
        x, y: the values, the same number of both.
        low, high: the limits of the band; () for no band.
        series: the number of the series, which selects the color and the marker.
        linestyle: an index into LINESTYLES.
        markers: True draws a marker at every value.
        faint: True draws a thin line that has no legend entry.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    series: int = 0
    linestyle: int = 0
    markers: bool = True
    faint: bool = False


class Panel(NamedTuple):
    """Describe one pair of axes: the label of the y axis, the curves, and whether to draw y = 0."""

    ylabel: str
    lines: Sequence[Line]
    zero: bool = False


class Axis(NamedTuple):
    """Describe the x axis.

    Attributes:
        label: the label of the axis.
        log: True for a logarithmic scale, which shows positive values only.
        ticks: value -> label; {} lets matplotlib choose the ticks.
    """

    label: str
    log: bool = False
    ticks: Mapping[Any, str] = {}


def line_legend(label: str, linestyle: int) -> Line:
    """Return a line without values that explains a line style in the legend."""
    return Line(label, (), (), series=GRAY, linestyle=linestyle, markers=False)


def draw_lines(
    name: str, title: str, alt: str, axis: Axis, panels: Sequence[Panel], height: float = HEIGHT
) -> Figure:
    """Draw panels below each other over one x axis, with one legend below them."""
    figure, rows = _new_figure(height, len(panels))
    for row, panel in zip(rows, panels, strict=True):
        if panel.zero:
            row.axhline(0, color=INK, alpha=0.45, linewidth=1, linestyle=(0, (1, 2)))
        for line in panel.lines:
            _draw_line(row, line)
        if axis.log:
            row.set_xscale("log")
        row.set_ylabel(_plain(panel.ylabel))
        if axis.ticks:
            row.set_xticks(list(axis.ticks), [_plain(label) for label in axis.ticks.values()])
            row.minorticks_off()
    for row in rows[:-1]:
        row.tick_params(labelbottom=False)
    rows[-1].set_xlabel(_plain(axis.label))
    _draw_legend(figure, [line for panel in panels for line in panel.lines])
    return render(figure, name, title, alt)


def draw_strip_plot(
    name: str,
    title: str,
    alt: str,
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    ylabel: str,
) -> Figure:
    """Draw single values as dots and their mean as a bar, with the series of a group side by side.

    Args:
        name, title, alt: as in Figure.
        groups: group -> series -> values.
        ylabel: the label of the y axis.
    """
    figure, (row,) = _new_figure(HEIGHT, 1)
    labels = list(dict.fromkeys(label for values in groups.values() for label in values))
    width = 0.28 / max(len(labels), 1)
    for series, label in enumerate(labels):
        offset = (series - (len(labels) - 1) / 2) * 0.7 / len(labels)
        for position, values in enumerate(groups.values()):
            if len(values.get(label, ())):
                _draw_dots(row, position + offset, width, values[label], series)
    row.set_xticks(range(len(groups)), list(map(_plain, groups)))
    row.set_xlim(-0.6, len(groups) - 0.4)
    row.set_ylabel(_plain(ylabel))
    _draw_legend(
        figure, [Line(label, (), (), series=series) for series, label in enumerate(labels)]
    )
    return render(figure, name, title, alt)


def _new_figure(height: float, panels: int):
    """Return a matplotlib figure and its axes, one below the other, in the style of the report."""
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(WIDTH, height), layout="constrained")
    rows = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for row in rows:
        for side, spine in row.spines.items():
            spine.set_visible(side in ("bottom", "left"))
            spine.set(color=INK, alpha=0.5, linewidth=0.8)
        row.tick_params(colors=INK, labelsize=FONT_SIZE - 1, width=0.8, length=3, which="both")
        row.xaxis.label.set(color=INK, size=FONT_SIZE)
        row.yaxis.label.set(color=INK, size=FONT_SIZE)
        row.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
        row.set_axisbelow(True)
    return figure, rows


def _draw_dots(row, x: float, width: float, values: Sequence[float], series: int) -> None:
    """Draw values around x, in up to five columns so that they overlap less, and their mean."""
    color, mean = COLORS[series % len(COLORS)], sum(values) / len(values)
    columns = [x + (number % 5 - 2) * width / 4 for number in range(len(values))]
    marker = MARKERS[series % len(MARKERS)]
    row.plot(columns, values, marker, color=color, markersize=5, alpha=0.75, mew=0)
    row.plot([x - width, x + width], [mean, mean], color=color, linewidth=2)


def _draw_line(row, line: Line) -> None:
    if not len(line.x):
        return
    row.plot(line.x, line.y, alpha=0.4 if line.faint else 1, **_style(line))
    if len(line.low) and not any(map(math.isnan, line.low)):
        color = COLORS[line.series % len(COLORS)]
        row.fill_between(line.x, line.low, line.high, color=color, alpha=0.16, linewidth=0)


def _style(line: Line) -> dict:
    """Return the keyword arguments of matplotlib for a line."""
    color = COLORS[line.series % len(COLORS)]
    style = {
        "color": color,
        "linestyle": LINESTYLES[line.linestyle % len(LINESTYLES)],
        "linewidth": 0.8 if line.faint else 1.8,
    }
    if line.markers:
        style |= {
            "marker": MARKERS[line.series % len(MARKERS)],
            "markersize": 4.5,
            "mew": 1.2,
            "mfc": "none" if line.linestyle else color,
        }
    return style


def _draw_legend(figure, lines: Sequence[Line]) -> None:
    """Draw a legend with one entry for each label, in as many columns as the labels allow."""
    from matplotlib.lines import Line2D

    entries = {}
    for line in lines:
        if line.label and not line.faint:
            entries.setdefault(line.label, line)
    if not entries:
        return
    longest = max(map(len, entries))
    if longest > 28:
        columns = 1
    elif longest > 12 or len(entries) < 3:
        columns = 2
    else:
        columns = 3
    figure.legend(
        [Line2D([], [], **_style(line)) for line in entries.values()],
        list(map(_plain, entries)),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=FONT_SIZE - 1,
        labelcolor=INK,
        handlelength=2.4,
    )


def _plain(label: str) -> str:
    """Return a label that matplotlib shows as it is: $ does not begin mathematics."""
    return printable(label).replace("$", r"\$")
