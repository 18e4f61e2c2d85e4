"""The report of the ablation factory, or of a pretraining run: one page, tables and figures, made of what has finished.

    gpt1 report runs/exp_ablations

It writes report.html, which needs neither network nor script, tables/*.{md,csv,tex} and figures/*.{png,svg} into the folder. The same
runs give the same bytes.
"""

import pathlib

from gpt1_jax import storage
from gpt1_jax.analysis.report import results, sections
from gpt1_jax.analysis.report.plots import Figure
from gpt1_jax.analysis.report.results import Results
from gpt1_jax.analysis.report.sections import Section
from gpt1_jax.analysis.report.tables import Table
from gpt1_jax.errors import UserError


def write(workdir: pathlib.Path) -> pathlib.Path:
    """Writes the report of the runs below `workdir` into it, each file whole or not at all; gives the path of the page.

    Raises:
        UserError: the folder is neither the factory's nor a pretraining run's, its cells.json is damaged, or it cannot be written to.
    """
    workdir = pathlib.Path(workdir)
    found = results.read(workdir)
    parts = sections.every(found)
    files = {workdir / "report.html": _page(found, parts).encode()}
    for kind, value in (block for section in parts for block in section.blocks):
        if kind == "table":
            files |= _table_files(workdir / "tables", value)
        elif kind == "pictures":
            files |= {
                path: content
                for picture in value
                for path, content in _picture_files(workdir / "figures", picture).items()
            }
    try:
        for path, content in files.items():
            storage.write_bytes(path, content)
    except OSError as error:
        raise UserError(
            f"{workdir}: the report cannot be written ({error.strerror or error}); make the folder writable"
        ) from None
    return workdir / "report.html"


def _page(found: Results, parts: list[Section]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    name = found.workdir.resolve().name
    return environment.get_template("report.html.jinja").render(name=name, sections=parts)


def _table_files(folder: pathlib.Path, table: Table) -> dict[pathlib.Path, bytes]:
    texts = {"md": table.markdown() + "\n", "csv": table.csv(), "tex": table.latex()}
    return {folder / f"{table.name}.{suffix}": text.encode() for suffix, text in texts.items()}


def _picture_files(folder: pathlib.Path, picture: Figure) -> dict[pathlib.Path, bytes]:
    return {
        folder / f"{picture.name}.svg": picture.svg.encode(),
        folder / f"{picture.name}.png": picture.png,
    }
