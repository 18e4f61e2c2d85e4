"""Delete from finished runs what only an unfinished run needs.

    gpt1 prune runs/exp_ablations
    gpt1 prune --delete runs/exp_ablations

The last checkpoint stays, the best one, and those of config.checkpoint.keep_steps, with their
parameters and without the optimizer's state. The folder is that of a run, or of an ablation.
Without --delete, what would be deleted is printed. Runs that are not finished stay as they are. New
runs prune themselves when they finish (config.checkpoint.finished).
"""

from absl import flags

from gpt1_jax import inputs
from gpt1_jax.errors import UserError

FLAGS = flags.FlagValues()
DELETE = flags.DEFINE_bool("delete", False, "Delete the folders.", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    """Print what the runs in the one folder of `arguments` do not need; delete it with --delete."""
    if len(arguments) != 1:
        raise UserError("give the folder of one run or ablation: gpt1 prune runs/exp_...")
    from gpt1_jax.engine.checkpoint_pruning import Pruning
    from gpt1_jax.runs import pruning

    total = 0
    for run, found in pruning.find(inputs.run_folder("gpt1 prune", arguments[0])):
        if not isinstance(found, Pruning):
            print(f"{run}: stays as it is: {found}")
            continue
        for folder in found.folders:
            print(folder)
        if found.folders and DELETE.value:
            try:
                pruning.prune(found)
            except UserError as error:
                print(f"{run}: stays as it is: {error}")
                continue
        total += found.size
    if DELETE.value:
        print(f"{total / 1e6:.1f} MB deleted")
    else:
        print(f"{total / 1e6:.1f} MB would be deleted; add --delete to delete them")
