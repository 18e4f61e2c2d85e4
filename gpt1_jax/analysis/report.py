"""The report of the ablation factory, or of a pretraining run: one page, tables and figures, made of what has finished.

    python -m gpt1_jax.analysis.report runs/exp_ablations

It writes report.html, which needs neither network nor script, tables/*.{md,csv,tex} and figures/*.{png,svg} into the folder. The same
runs give the same bytes.
"""

import os
import pathlib

from gpt1_jax import command
from gpt1_jax.analysis import results, sections
from gpt1_jax.analysis.plots import Picture
from gpt1_jax.analysis.results import Results
from gpt1_jax.analysis.sections import Section
from gpt1_jax.analysis.tables import Table
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
            files |= {path: content for picture in value for path, content in _picture_files(workdir / "figures", picture).items()}
    try:
        for path, content in files.items():
            path.parent.mkdir(exist_ok=True)
            beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            beside.write_bytes(content)
            beside.replace(path)
    except OSError as error:
        raise UserError(f"{workdir}: the report cannot be written ({error.strerror or error}); make the folder writable") from None
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


def _picture_files(folder: pathlib.Path, picture: Picture) -> dict[pathlib.Path, bytes]:
    return {folder / f"{picture.name}.svg": picture.svg.encode(), folder / f"{picture.name}.png": picture.png}


def main(argv: list[str]) -> None:
    if len(argv) != 2:
        raise UserError("give the folder of one ablation or pretraining run: python -m gpt1_jax.analysis.report runs/exp_...")
    page = write(pathlib.Path(argv[1]))
    for path in (page, page.parent / "tables", page.parent / "figures"):
        if path.exists():
            print(path)


if __name__ == "__main__":
    command.run(main)
