"""The whole factory: pretrain each body once, finetune every variant on every task, one table.

Each pretraining and each cell of the table is a run in its own folder below this one; what is finished is not done again.
"""

import hashlib
import pathlib
import statistics

from ml_collections import ConfigDict

from gpt1_jax.analysis import tables
from gpt1_jax.datasets.microworld import files as microworld
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.training import workdir


@TRAINERS.register("ablate")
def ablate(config: ConfigDict, path: str) -> dict:
    """Runs what is missing below the folder `path`; what comes back is also its result.json.

    config.pretrain holds a configuration for each body, config.finetune one for each variant. Without a path of their own they read
    the embedded world, which is written to data/.
    """
    tasks = {name: TASKS[name] for name in config.tasks}  # an unknown one is told before anything is trained
    for task in tasks.values():
        if not task.trainable:
            raise UserError(f"config.tasks: {task.name} cannot be finetuned on; leave it out")
    with workdir.opened(path, config.to_dict()) as run:
        if run.result is not None:
            return run.result
        world = pathlib.Path(path) / "data"
        books, labelled = config.books or str(world / "novels"), config.labelled or str(world)
        if not (config.books and config.labelled):
            microworld.write(world, seed=config.seed, words=config.world.words, train=config.world.train, dev=config.world.dev)

        pretrained = {}
        for body, settings in config.pretrain.items():
            pretrained[body] = f"{path}/pretrain_{body}"
            cell = settings.copy_and_resolve_references()
            cell.data.path = books
            run.log.line(f"pretraining the {body}: {pretrained[body]}")
            TRAINERS[cell.trainer](cell, pretrained[body])

        scores, columns = {}, {}
        for seed in range(config.seeds):
            for name, task in tasks.items():
                for variant, settings in config.finetune.items():
                    cell = settings.copy_and_resolve_references()
                    cell.task, cell.seed, cell.data.path = name, seed, labelled
                    cell.init.path = pretrained[cell.model.name]
                    folder = f"{path}/{name}_{variant}_{seed}"
                    run.log.line(f"finetuning {name}, {variant}, seed {seed}: {folder}")
                    result = TRAINERS[cell.trainer](cell, folder)
                    score = result["metrics"][task.validation[0]][task.metrics[0]]
                    scores.setdefault(variant, {}).setdefault(_column(columns, name, result["data"]), []).append(score)
        means = {variant: {name: statistics.mean(seeds) for name, seeds in row.items()} for variant, row in scores.items()}
        run.log.line(tables.markdown(means, corner="100 x the paper's metric"))
        return run.finish({"trainer": "ablate", "scores": scores, "means": means})


def _column(columns: dict[str, list], name: str, data: dict) -> str:
    """The task's column; one of its own, told by its hash, for a cell that has read other rows than the task's first cell."""
    read = sorted((split, facts["sha256"]) for split, facts in data["splits"].items() if split != "test")
    known = columns.setdefault(name, read)
    return name if read == known else f"{name} ({hashlib.sha256(str(read).encode()).hexdigest()[:8]})"
