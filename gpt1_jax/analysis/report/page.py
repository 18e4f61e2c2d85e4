"""Write the report of an ablation or of a pretraining run.

    gpt1 report runs/exp_ablations

The report is one page, report.html, which needs neither a network nor scripts. The tables and the
figures of the page are also written as files: tables/*.{md,csv,tex} and figures/*.{png,svg}. Only
runs that have finished give results. The same runs give the same bytes.
"""

import pathlib

from gpt1_jax import storage
from gpt1_jax.analysis.report import results, sections
from gpt1_jax.analysis.report.rendering import Figure
from gpt1_jax.analysis.report.sections import Section
from gpt1_jax.analysis.report.tables import Table
from gpt1_jax.errors import UserError


def write(workdir: storage.Path) -> storage.Path:
    """Write the report of the runs below `workdir` into it, and return the path of the page.

    Each file is written atomically.

    Raises:
        UserError: the folder holds neither an ablation nor a pretraining run, its cells.json is
            damaged, or a file cannot be written.
    """
    workdir = storage.path(str(workdir))
    parts = sections.build(results.read(workdir))
    page = workdir / "report.html"
    files = {page: _encode(_page(workdir.resolve().name, parts))}
    for kind, value in (block for section in parts for block in section.blocks):
        if kind == "table":
            files |= _table_files(workdir / "tables", value)
        elif kind == "figures":
            for figure in value:
                files |= _figure_files(workdir / "figures", figure)
    try:
        for path, content in files.items():
            storage.write_bytes(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{workdir}: the report cannot be written ({reason}); make the folder writable"
        ) from None
    return page


def _page(name: str, parts: list[Section]) -> str:
    """Return the HTML of the page. `name` is its heading."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.jinja").render(name=name, sections=parts)


def _table_files(folder: storage.Path, table: Table) -> dict[storage.Path, bytes]:
    texts = {"md": table.markdown() + "\n", "csv": table.csv(), "tex": table.latex()}
    return {folder / f"{table.name}.{suffix}": _encode(text) for suffix, text in texts.items()}


def _figure_files(folder: storage.Path, figure: Figure) -> dict[storage.Path, bytes]:
    return {
        folder / f"{figure.name}.svg": _encode(figure.svg),
        folder / f"{figure.name}.png": figure.png,
    }


def _encode(text: str) -> bytes:
    """Return the text in UTF-8; what UTF-8 cannot represent (half a surrogate) is escaped."""
    return text.encode(errors="backslashreplace")
