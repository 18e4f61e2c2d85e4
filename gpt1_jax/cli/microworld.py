"""Write the embedded data set: novels and labeled tasks, in the published file formats.

    gpt1 microworld --directory=data/world --words=300000

docs/microworld.md describes the world, its tasks and what a model can learn from the novels.
"""

from absl import flags

from gpt1_jax import inputs
from gpt1_jax.cli import command

FLAGS = flags.FlagValues()
DIRECTORY = flags.DEFINE_string(
    "directory", None, "Folder to write.", required=True, flag_values=FLAGS
)
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the world, its novels and its rows.", flag_values=FLAGS
)
WORDS = flags.DEFINE_integer(
    "words", 1_000_000, "Approximate number of words in the novels.", flag_values=FLAGS
)
TRAIN = flags.DEFINE_integer("train", 1500, "Rows in the train split of a task.", flag_values=FLAGS)
DEV = flags.DEFINE_integer(
    "dev", 500, "Rows in the dev split and in the test split of a task.", flag_values=FLAGS
)
FACTS = flags.DEFINE_float(
    "facts", 1.0, "Fraction of the world's facts that occur in the novels.", flag_values=FLAGS
)
FAR = flags.DEFINE_float(
    "far", 0.1, "Fraction of facts whose two words are five words or more apart.", flag_values=FLAGS
)


def main(arguments: list[str]) -> None:
    """Write the data set that the flags describe."""
    command.reject_positional(arguments)
    from gpt1_jax.microworld import files

    files.write(
        inputs.folder("--directory", DIRECTORY.value, "name a folder"),
        seed=SEED.value,
        words=WORDS.value,
        train=TRAIN.value,
        dev=DEV.value,
        facts=FACTS.value,
        far=FAR.value,
    )
