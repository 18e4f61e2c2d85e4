"""Render a matplotlib figure as PNG, as SVG, and as an inline SVG element for a page."""

import html
import io
import re
from typing import Any, NamedTuple

INK = "#010203"  # the color of text and axes; an inline SVG replaces it by the page's text color
# Okabe and Ito's colors, which color-blind readers can distinguish. Their yellow is left out,
# because it is hard to see on white. An inline SVG replaces the colors by var(--s0), var(--s1) ...
COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",  # gray: for legend entries that stand for no series
)


class Figure(NamedTuple):
    """Hold a rendered figure.

    Attributes:
        name: the name of its files, without a suffix.
        title: the caption.
        alt: a text with the same content, for readers who cannot see the figure.
        inline: an <svg> element for a page.
        svg: the content of an SVG file.
        png: the content of a PNG file.
    """

    name: str
    title: str
    alt: str
    inline: str
    svg: str
    png: bytes


def render(figure, name: str, title: str, alt: str) -> Figure:
    """Render a matplotlib figure in its three forms. The same figure gives the same bytes."""
    import matplotlib

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # both files use the layout that was just computed
    svg, png = io.StringIO(), io.BytesIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    options: Any = {"svg.hashsalt": name, "svg.fonttype": "none", "path.simplify": True}
    with matplotlib.rc_context(options):
        figure.savefig(svg, format="svg", transparent=True, metadata=no_metadata)
        figure.savefig(png, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    text = svg.getvalue()
    return Figure(name, title, alt, _inline(text, name, alt), text, png.getvalue())


def _inline(svg: str, name: str, alt: str) -> str:
    """Return the <svg> element for a page, of any width.

    The element uses the fonts and the colors of the page, and it loads nothing from elsewhere. Its
    ids start with the name of the figure, so that they are unique in the page.
    """
    start = svg.index("<svg ")
    body = svg[svg.index(">", start) + 1 :]
    (box,) = re.findall(r'viewBox="([^"]*)"', svg[start:])[:1]
    body = re.sub(r"<(style|metadata)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", body)
    body = re.sub(r'font-family: [^;"]*;?', "", body)
    for series, color in enumerate(COLORS):
        body = body.replace(color, f"var(--s{series})")
    body = re.sub(r"\n\s*", "\n", body.replace(INK, "currentColor"))
    return f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="{box}">{body.strip()}\n'
