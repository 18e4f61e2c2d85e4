"""Results as tables for people."""

from collections.abc import Mapping


def markdown(rows: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """A Markdown table of fractions times 100: a line a row, a column for every key that a row has, aligned to read as text too."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[corner, *columns]]
    for name, row in rows.items():
        cells.append([name, *(f"{100 * row[column]:.1f}" if column in row else "-" for column in columns)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
