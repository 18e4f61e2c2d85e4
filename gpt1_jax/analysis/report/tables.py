"""Results as tables for people and for programs: one value, four notations (the page's is in its template)."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """One entry.

    Attributes:
        text: as it is shown.
        small: what stands below it in smaller type, such as an interval.
        number: its value, in the units that are shown; None for words.
        more: further numbers by name (low, high, p), which a CSV file gives columns of their own.
        style: "" or a word for the page: "clear" (an interval without zero), "absent", "flag".
        link: a relative address.
    """

    text: str = "–"
    small: str = ""
    number: float | None = None
    more: Mapping[str, float] = {}
    style: str = ""
    link: str = ""


class Row(NamedTuple):
    """One line: its name, its cells, and its style: "" or "paper" for published numbers."""

    name: str
    cells: Sequence[Cell]
    style: str = ""


class Table(NamedTuple):
    """A table: `name` is that of its files, `corner` what its first column holds, `notes` stand below it."""

    name: str
    title: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def wordy(self) -> list[bool]:
        """Of each column, whether it has words and no number: a page sets those to the left."""
        return [
            all(row.cells[place].number is None for row in self.rows)
            for place in range(len(self.columns))
        ]

    def markdown(self) -> str:
        """A Markdown table, aligned to read as text too; its notes below."""
        lines = [[_plain(text) for text in (self.corner, *self.columns)]]
        for row in self.rows:
            cells = [" ".join(filter(None, (cell.text, cell.small))) for cell in row.cells]
            mark = "*" if row.style == "paper" else ""
            lines.append([f"{mark}{_plain(text)}{mark}" for text in (row.name, *cells)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "| "
            + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            + " |"
            for line in lines
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        notes = [""] * bool(self.notes) + [f"- {note}" for note in self.notes]
        return "\n".join([texts[0], rule, *texts[1:], *notes])

    def csv(self) -> str:
        """Comma-separated values: numbers in full where there are any, each column followed by the further numbers of its cells."""
        further = [
            list(dict.fromkeys(name for row in self.rows for name in row.cells[place].more))
            for place in range(len(self.columns))
        ]
        header = [self.corner, "source"]
        for column, names in zip(self.columns, further, strict=True):
            column = column.replace("\n", " ")
            header += [column, *(f"{column} {name}" for name in names)]
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(header)
        for row in self.rows:
            line = [row.name, row.style or "ours"]
            for cell, names in zip(row.cells, further, strict=True):
                shown = "" if cell.style == "absent" else cell.text
                line += [
                    shown if cell.number is None else repr(round(cell.number, 6)),
                    *(_number(cell.more.get(name)) for name in names),
                ]
            writer.writerow(line)
        return content.getvalue()

    def latex(self) -> str:
        """A LaTeX table (package booktabs); published numbers in italics, small parts in a smaller size."""
        lines = [" & ".join(map(_latex, (self.corner, *self.columns))) + r" \\"]
        for row in self.rows:
            cells = [
                _latex(cell.text)
                + (rf" {{\scriptsize {_latex(cell.small)}}}" if cell.small else "")
                for cell in row.cells
            ]
            mark = r"\textit{%s}" if row.style == "paper" else "%s"
            lines.append(" & ".join(mark % text for text in (_latex(row.name), *cells)) + r" \\")
        notes = [rf"\par\footnotesize {_latex(note)}" for note in self.notes]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{_latex(self.title)}}}",
                rf"\begin{{tabular}}{{l{'r' * len(self.columns)}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                *notes,
                r"\end{table}",
                "",
            ]
        )


def _plain(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))


def _latex(text: str) -> str:
    text = re.sub(
        r"[\\&%$#_{}~^]",
        lambda found: _ESCAPES.get(found[0], "\\" + found[0]),
        text.replace("\n", " "),
    )
    return (
        text.replace("–", "--")
        .replace("−", "$-$")
        .replace("±", r"$\pm$")
        .replace("×", r"$\times$")
        .replace("δ", r"$\delta$")
    )


_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
