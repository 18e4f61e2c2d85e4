"""Pictures of results: lines with bands, and strips of single runs; each as PNG, as SVG, and as SVG to stand in a page.

matplotlib takes a second to import and comes in with the first picture. Nothing of it is global: figures are objects, not pyplot's.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

INK = "#010203"  # text and axes; in a page, the colour of its text
# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow, which vanishes on white; in a page var(--s0), ...
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",
)  # the last one for what is no series
MARKERS = "os^DvPX"
STROKES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
WIDTH, POINTS = 4.6, 10.5  # inches, and the size of the type: readable on a page of 360 pixels
FONT = re.compile(r"font-family: [^;\"]*;?")


class Line(NamedTuple):
    """A curve: x and y with as many values, a band from low to high where there is one, and `slot`, its colour and marker; without
    values it is for the legend alone. `stroke` is a place in STROKES."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    slot: int = 0
    stroke: int = 0
    marked: bool = True
    faint: bool = False


class Panel(NamedTuple):
    """One pair of axes: what its y axis says, its curves, and whether the level 0 is drawn."""

    y: str
    lines: Sequence[Line]
    zero: bool = False


class Axis(NamedTuple):
    """The x axis: what it says, its scale (log keeps to positive values), and ticks (value -> label) where they are words."""

    label: str
    log: bool = False
    ticks: Mapping[float, str] = {}


class Figure(NamedTuple):
    """A finished picture: `title` says what it shows, `alt` the same in words for who cannot see it, `inline` is an <svg> element."""

    name: str
    title: str
    alt: str
    inline: str
    svg: str
    png: bytes


def curves(
    name: str, title: str, alt: str, axis: Axis, panels: Sequence[Panel], height: float = 3.1
) -> Figure:
    """Panels below each other over one x axis; a legend of the labels, each once, below them."""
    figure, rows = _figure(height, len(panels))
    for place, (row, panel) in enumerate(zip(rows, panels, strict=True)):
        if panel.zero:
            row.axhline(0, color=INK, alpha=0.45, linewidth=1, linestyle=(0, (1, 2)))
        for line in panel.lines:
            _draw(row, line)
        if axis.log:
            row.set_xscale("log")
        row.set_ylabel(panel.y)
        if axis.ticks:
            row.set_xticks(list(axis.ticks), list(axis.ticks.values()))
            row.minorticks_off()
        if place < len(panels) - 1:
            row.tick_params(labelbottom=False)
        else:
            row.set_xlabel(axis.label)
    _legend(figure, [line for panel in panels for line in panel.lines])
    return _finished(figure, name, title, alt)


def strip(
    name: str,
    title: str,
    alt: str,
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    y: str,
    height: float = 3.1,
) -> Figure:
    """Single values as dots over their group, the series side by side in it, with their mean as a bar: group -> series -> values."""
    figure, (row,) = _figure(height, 1)
    series = list(dict.fromkeys(label for values in groups.values() for label in values))
    shown, width = [], 0.28 / max(len(series), 1)
    for slot, label in enumerate(series):
        offset = (slot - (len(series) - 1) / 2) * 0.7 / len(series)
        for place, values in enumerate(groups.values()):
            dots = values.get(label, ())
            if not len(dots):
                continue
            x, mean = place + offset, sum(dots) / len(dots)
            spread = [x + (number % 5 - 2) * width / 4 for number in range(len(dots))]
            row.plot(
                spread,
                dots,
                MARKERS[slot % len(MARKERS)],
                color=COLOURS[slot % len(COLOURS)],
                markersize=5,
                alpha=0.75,
                mew=0,
            )
            row.plot(
                [x - width, x + width],
                [mean, mean],
                color=COLOURS[slot % len(COLOURS)],
                linewidth=2,
            )
        shown.append(Line(label, (), (), slot=slot))
    row.set_xticks(range(len(groups)), list(groups))
    row.set_xlim(-0.6, len(groups) - 0.4)
    row.set_ylabel(y)
    _legend(figure, shown)
    return _finished(figure, name, title, alt)


def _figure(height: float, panels: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    rows = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for row in rows:
        for side, spine in row.spines.items():
            spine.set_visible(side in ("bottom", "left"))
            spine.set(color=INK, alpha=0.5, linewidth=0.8)
        row.tick_params(colors=INK, labelsize=POINTS - 1, width=0.8, length=3, which="both")
        row.xaxis.label.set(color=INK, size=POINTS)
        row.yaxis.label.set(color=INK, size=POINTS)
        row.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
        row.set_axisbelow(True)
    return figure, rows


def _draw(row, line: Line) -> None:
    if not len(line.x):
        return
    row.plot(line.x, line.y, alpha=0.4 if line.faint else 1, **_style(line))
    if len(line.low) and not any(map(math.isnan, line.low)):
        row.fill_between(
            line.x,
            line.low,
            line.high,
            color=COLOURS[line.slot % len(COLOURS)],
            alpha=0.16,
            linewidth=0,
        )


def _style(line: Line) -> dict:
    colour = COLOURS[line.slot % len(COLOURS)]
    style = {
        "color": colour,
        "linestyle": STROKES[line.stroke % len(STROKES)],
        "linewidth": 0.8 if line.faint else 1.8,
    }
    if line.marked:
        style |= {
            "marker": MARKERS[line.slot % len(MARKERS)],
            "markersize": 4.5,
            "mew": 1.2,
            "mfc": "none" if line.stroke else colour,
        }
    return style


def _legend(figure, lines: Sequence[Line]) -> None:
    from matplotlib.lines import Line2D

    shown = {}
    for line in lines:
        if line.label and not line.faint:
            shown.setdefault(line.label, line)
    if not shown:
        return
    handles = [Line2D([], [], **_style(line)) for line in shown.values()]
    columns = (
        1 if max(map(len, shown)) > 28 else 2 if max(map(len, shown)) > 12 or len(shown) < 3 else 3
    )
    figure.legend(
        handles,
        list(shown),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=POINTS - 1,
        labelcolor=INK,
        handlelength=2.4,
    )


def _finished(figure, name: str, title: str, alt: str) -> Figure:
    """The figure in its three forms; the same bytes for the same figure."""
    import matplotlib

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # found once, for both files
    text, picture = io.StringIO(), io.BytesIO()
    bare = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(
        {"svg.hashsalt": name, "svg.fonttype": "none", "path.simplify": True}
    ):
        figure.savefig(text, format="svg", transparent=True, metadata=bare)
        figure.savefig(
            picture, format="png", dpi=200, facecolor="white", metadata={"Software": None}
        )
    return Figure(
        name, title, alt, _inline(text.getvalue(), name, alt), text.getvalue(), picture.getvalue()
    )


def _inline(svg: str, name: str, alt: str) -> str:
    """The <svg> element for a page: of any width, in the page's type and colours, its ids its own, nothing read from elsewhere."""
    body = svg[svg.index("<svg ") :]
    box = re.search(r'viewBox="([^"]*)"', body)[1]
    body = re.sub(r"<(style|metadata)\b.*?</\1>", "", body[body.index(">") + 1 :], flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", body)
    body = FONT.sub("", body)
    for slot, colour in enumerate(COLOURS):
        body = body.replace(colour, f"var(--s{slot})")
    body = re.sub(r"\n\s*", "\n", body.replace(INK, "currentColor"))
    return f'<svg role="img" aria-label="{_attribute(alt)}" viewBox="{box}">{body.strip()}\n'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
