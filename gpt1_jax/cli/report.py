"""Write the report of an ablation or of a pretraining run.

    gpt1 report runs/exp_ablations

The report is made of the runs that have finished: report.html (which needs neither network nor
scripts), tables/*.{md,csv,tex} and figures/*.{png,svg} in the given folder. The same runs give the
same bytes.
"""

from absl import flags

from gpt1_jax import inputs
from gpt1_jax.errors import UserError

FLAGS = flags.FlagValues()


def main(arguments: list[str]) -> None:
    """Write the report of the one folder in `arguments` and print the paths."""
    if len(arguments) != 1:
        raise UserError(
            "give the folder of one ablation or pretraining run: gpt1 report runs/exp_..."
        )
    from gpt1_jax.analysis.report import page

    hint = "name the folder of the run"
    written = page.write(inputs.folder("gpt1 report", arguments[0], hint))
    for path in (written, written.parent / "tables", written.parent / "figures"):
        if path.exists():
            print(path)
