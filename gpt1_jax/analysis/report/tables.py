"""Write tables as Markdown, CSV and LaTeX. The template of the page writes them as HTML."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """Hold one entry of a table.

    Attributes:
        text: the text that is shown.
        small: lines below it in a smaller type, such as an interval.
        number: the value, in the units that are shown; None for text.
        more: further numbers by name (low, high, p); a CSV file gives each its own column.
        style: "" or a CSS class of the page: "significant", "absent" or "flag".
        link: a relative address.
    """

    text: str = "–"
    small: str = ""
    number: float | None = None
    more: Mapping[str, float] = {}
    style: str = ""
    link: str = ""

    @property
    def small_line(self) -> str:
        """Return the small text as one line."""
        return self.small.replace("\n", ", ")


class Row(NamedTuple):
    """Hold one row: its name, its cells, and its style ("", or "paper" for published numbers)."""

    name: str
    cells: Sequence[Cell]
    style: str = ""


class Table(NamedTuple):
    """Hold a table of text and numbers.

    Attributes:
        name: the name of its files.
        title: the caption.
        corner: the header of the first column, which holds the names of the rows.
        columns: the headers of the other columns.
        rows: the rows.
        notes: sentences below the table.
    """

    name: str
    title: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()

    @property
    def text_columns(self) -> list[bool]:
        """Return True for each column without numbers; the page aligns those to the left."""
        return [
            all(row.cells[column].number is None for row in self.rows)
            for column in range(len(self.columns))
        ]

    def markdown(self) -> str:
        """Return a Markdown table, aligned so that it reads well as plain text, and its notes."""
        lines = [[_escape_markdown(text) for text in (self.corner, *self.columns)]]
        for row in self.rows:
            texts = [" ".join(filter(None, (cell.text, cell.small_line))) for cell in row.cells]
            mark = "*" if row.style == "paper" else ""
            lines.append([f"{mark}{_escape_markdown(text)}{mark}" for text in (row.name, *texts)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        header, *rows = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        notes = [f"- {note}" for note in self.notes]
        if notes:
            notes.insert(0, "")
        return "\n".join([header, rule, *rows, *notes])

    def csv(self) -> str:
        """Return comma-separated values.

        Numbers have six decimals. The further numbers of a column's cells follow it as columns.
        """
        further_names = [
            list(dict.fromkeys(name for row in self.rows for name in row.cells[column].more))
            for column in range(len(self.columns))
        ]
        header = [self.corner, "source"]
        for column, names in zip(self.columns, further_names, strict=True):
            title = column.replace("\n", " ")
            header += [title, *(f"{title} {name}" for name in names)]
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(map(_escape_formula, header))
        for row in self.rows:
            line = [row.name, row.style or "ours"]
            for cell, names in zip(row.cells, further_names, strict=True):
                text = "" if cell.style == "absent" else cell.text
                line.append(text if cell.number is None else _format_number(cell.number))
                line += [_format_number(cell.more.get(name)) for name in names]
            writer.writerow(map(_escape_formula, line))
        return content.getvalue()

    def latex(self) -> str:
        """Return a LaTeX table (package booktabs).

        Published numbers are in italics, small text is in a smaller size.
        """
        lines = [" & ".join(map(_escape_latex, (self.corner, *self.columns))) + r" \\"]
        for row in self.rows:
            texts = [_escape_latex(row.name), *map(_latex_cell, row.cells)]
            if row.style == "paper":
                texts = [rf"\textit{{{text}}}" for text in texts]
            lines.append(" & ".join(texts) + r" \\")
        notes = [rf"\par\footnotesize {_escape_latex(note)}" for note in self.notes]
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{_escape_latex(self.title)}}}",
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


def _escape_markdown(text: str) -> str:
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)  # Markdown may hold HTML
    return text.replace("|", r"\|").replace("\n", " ")


def _escape_formula(text: str) -> str:
    """Return the text so that a spreadsheet shows it instead of computing it."""
    is_formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?|[+-](nan|inf)", re.ASCII)


def _format_number(value: float | None) -> str:
    return "" if value is None else repr(round(value, 6))


def _latex_cell(cell: Cell) -> str:
    text = _escape_latex(cell.text)
    return rf"{text} {{\scriptsize {_escape_latex(cell.small_line)}}}" if cell.small else text


def _escape_latex(text: str) -> str:
    return text.replace("\n", " ").translate(_LATEX)


_LATEX = str.maketrans(
    {
        **{character: "\\" + character for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "δ": r"$\delta$",
        "→": r"$\rightarrow$",
        "†": r"\dag{}",
    }
)
