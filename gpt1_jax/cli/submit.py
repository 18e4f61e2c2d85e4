"""Write the zip file for the GLUE server, with the predictions of finished runs.

gpt1 submit --output=submission.zip runs/exp_cola runs/exp_mnli ...
"""

import pathlib

from absl import flags

FLAGS = flags.FlagValues()
OUTPUT = flags.DEFINE_string("output", "submission.zip", "Zip file to write.", flag_values=FLAGS)
PARTIAL = flags.DEFINE_bool(
    "partial", False, "Leave out the tasks for which no run is named.", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    """Write the submission of the runs in `arguments` and print the names of its files."""
    from gpt1_jax.analysis import glue_submission

    runs = [pathlib.Path(run) for run in arguments]
    names = glue_submission.write(pathlib.Path(OUTPUT.value), runs, partial=PARTIAL.value)
    print(f"{OUTPUT.value}: {', '.join(names)}")
