"""Test the notations of a table: CSV, Markdown and LaTeX."""

import csv
import re

from gpt1_jax.analysis.report.tables import Cell, Row, Table


def test_the_files_of_all_tables_parse(workdir):
    for path in (workdir / "tables").glob("*.csv"):
        with path.open() as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1 and len(set(rows[0])) == len(rows[0]), path
    for path in (workdir / "tables").glob("*.md"):
        lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, path
        assert len({len(line) for line in lines}) == 1, path
    for path in (workdir / "tables").glob("*.tex"):
        text = path.read_text()
        rows = text[text.index(r"\toprule") : text.index(r"\bottomrule")].split("\n")
        columns = len(re.search(r"\\begin\{tabular\}\{(lr*)\}", text)[1])
        separators = {len(re.findall(r"(?<!\\)&", row)) for row in rows if row.endswith(r"\\")}
        assert separators == {columns - 1}, path
        bare = re.sub(r"\\[{}]", "", text)
        assert not set("→†δ−±×") & set(text), f"{path}: not in LaTeX's usual fonts"
        assert bare.count("{") == bare.count("}") and not re.search(r"(?<!\\)[%#_]", text), path


def test_a_table_has_three_notations():
    cells = [
        Cell("1.5*", "[1, 2]", 1.5, {"low": 1.0, "high": 2.0}),
        Cell("a|b_c"),
        Cell("–", style="absent"),
    ]
    rows = [Row("one", cells), Row("two", [Cell("7", number=7.0)] * 3, "paper")]
    table = Table("t", "100% & more", "row", ["x\nacc.", "y", "z"], rows, ["note"])
    assert table.csv() == (
        "row,source,x acc.,x acc. low,x acc. high,y,z\n"
        "one,ours,1.5,1.0,2.0,a|b_c,\n"
        "two,paper,7.0,,,7.0,7.0\n"
    )
    assert table.markdown().splitlines() == [
        "| row   | x acc.      | y      | z   |",
        "|-------|-------------|--------|-----|",
        r"| one   | 1.5* [1, 2] | a\|b_c | –   |",
        "| *two* | *7*         | *7*    | *7* |",
        "",
        "- note",
    ]
    latex = table.latex()
    assert r"\caption{100\% \& more}" in latex
    assert r"one & 1.5* {\scriptsize [1, 2]} & a|b\_c & -- \\" in latex
    assert r"\textit{two} & \textit{7}" in latex


def test_a_table_without_notes_ends_with_its_last_row():
    table = Table("", "", "c", ["rte"], [Row("full", [Cell("50.0")])])
    assert table.markdown() == "| c    | rte  |\n|------|------|\n| full | 50.0 |"
