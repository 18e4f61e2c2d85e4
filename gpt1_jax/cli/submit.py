"""Write the zip file for the GLUE server, with the predictions of finished runs.

gpt1 submit --output=submission.zip runs/exp_cola runs/exp_mnli ...
"""

from absl import flags

from gpt1_jax import inputs

FLAGS = flags.FlagValues()
OUTPUT = flags.DEFINE_string("output", "submission.zip", "Zip file to write.", flag_values=FLAGS)
PARTIAL = flags.DEFINE_bool(
    "partial", False, "Leave out the tasks for which no run is named.", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    """Write the submission of the runs in `arguments` and print the names of its files."""
    from gpt1_jax.analysis import glue_submission

    hint = "name the folder of a run"
    runs = [inputs.folder("gpt1 submit", run, hint) for run in arguments]
    output = inputs.path("--output", OUTPUT.value)
    names = glue_submission.write(output, runs, partial=PARTIAL.value)
    print(f"{OUTPUT.value}: {', '.join(names)}")
