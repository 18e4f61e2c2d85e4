"""Build the table of the recipe: data, sizes, rates, numbers of runs, and what made the runs."""

import contextlib
from collections.abc import Sequence
from typing import Any

from gpt1_jax import inputs, storage
from gpt1_jax.analysis.report import formatting, paper
from gpt1_jax.analysis.report.results import Results
from gpt1_jax.analysis.report.run_folders import FINISHED, FinetuningRun, Folder
from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.errors import UserError
from gpt1_jax.runs import environment

WORLD = "the embedded microworld (synthetic)"
# Name of the row -> the settings whose values it shows, by the name of each.
SIZES = {
    "model.layers": "blocks",
    "model.width": "width",
    "model.heads": "heads",
    "model.ffn": "MLP",
    "model.units": "units",
    "model.context": "context",
}
RATES = {
    "model.embd_dropout": "embeddings",
    "model.attn_dropout": "attention",
    "model.resid_dropout": "residual",
    "clf_dropout": "head",
}
SETTINGS = {
    "token ids": {"tokenizer.vocab_size": ""},
    "sizes": SIZES,
    "updates": {"steps": ""},
    "epochs": {"epochs": ""},
    "batch": {"batch_size": ""},
    "learning rate": {"optim.lr": ""},
    "warmup": {"optim.warmup_steps": "updates", "optim.warmup_fraction": "of the updates"},
    "weight decay": {"optim.decay": ""},
    "dropout": RATES,
    "weight of the auxiliary LM loss": {"lm_coef": ""},
}
# Setting -> the value that is as published, and what the other value means.
OPTIONS = {
    "model.learned_positions": (True, "no positions"),
    "model.pre_norm": (False, "pre-LN"),
    "data.shuffle_sentences": (False, "sentences in random order"),
}
COUNTS = ("data", "pretraining runs", "seeds", "options")
MAKERS = ("made by", "device")
NOTE = (
    "Settings of the first finished run of each pretraining, and of the first finished run of the "
    "full model. Variants and experiments change the settings that they name. The commit, the "
    "versions and the device are those of these runs."
)


def table(results: Results) -> Table | None:
    """Return the recipe with a column for each pretraining and one for finetuning.

    Return None if no run has finished.
    """
    world = _world_words(results.workdir)
    columns = {}
    for name, runs in results.pretrain.items():
        finished = [run for run in runs.values() if run.status == FINISHED]
        if finished:
            facts = _facts(finished, f"{WORLD}, {world:,} words of novels" if world else "")
            runs = {"pretraining runs": Cell(str(len(finished)), "", len(finished))}
            columns[f"pretraining\n{paper.pretraining(name)}"] = facts | runs
    full = _runs_of_full(results)
    if full:
        seeds = _seeds(results)
        facts = _facts(full, WORLD if world else "") | {"seeds": Cell(str(seeds), "", seeds)}
        columns["finetuning\nfull"] = facts
    if not columns:
        return None
    rows = [
        Row(name, [facts.get(name, formatting.ABSENT) for facts in columns.values()])
        for name in (*COUNTS, *SETTINGS, *MAKERS)
        if any(name in facts for facts in columns.values())
    ]
    return Table("recipe", "Recipe", "", list(columns), rows, [NOTE])


def _world_words(workdir: storage.Path) -> int:
    """Return the words of the microworld that the ablation has read; 0 for other data."""
    fields = {"world.words?": int, "corpus_path?": str, "tasks_path?": str}
    with contextlib.suppress(UserError):
        config = inputs.read_object(workdir / "config.json", fields, missing={})
        if not config.get("corpus_path") and not config.get("tasks_path"):
            return (config.get("world") or {}).get("words") or 0
    return 0


def _runs_of_full(results: Results) -> list[FinetuningRun]:
    """Return the finished runs of the full model, those without a varied setting first."""
    points = [
        point
        for experiment in results.experiments
        for point in experiment.points
        if point.variant == "full" and point.run.status == FINISHED
    ]
    points.sort(key=lambda point: point.value is not None)
    return [point.run for point in points]


def _seeds(results: Results) -> int:
    """Return the number of seeds of the full model."""
    return len(
        {
            point.seed
            for experiment in results.experiments
            for point in experiment.points
            if point.variant == "full"
        }
    )


def _facts(runs: Sequence[Folder], data: str) -> dict[str, Cell]:
    """Return name of the row -> the cell of one column, from the first of the finished runs.

    `data` describes what the runs have read; "" stands for what their configuration says.
    """
    run = runs[0]
    config = inputs.flatten(run.json("config.json", {}))
    source = data or str(config.get("data.corpus") or config.get("data.source") or "–")
    facts = {"data": Cell(source)}
    options = [text for name, (usual, text) in OPTIONS.items() if config.get(name, usual) != usual]
    if options:
        facts["options"] = Cell(", ".join(options))
    for name, settings in SETTINGS.items():
        values = [
            _setting(name, title, config[setting])
            for setting, title in settings.items()
            if config.get(setting) is not None
        ]
        if values:
            facts[name] = Cell(", ".join(values))
    for start in run.starts[-1:]:
        facts["made by"] = Cell(environment.title(start))
    if isinstance(device := run.result.get("device"), str):
        facts["device"] = Cell(device)
    return facts


def _setting(name: str, title: str, value: Any) -> str:
    """Return a value with its title: before it in lists of sizes and rates, else after it."""
    is_count = isinstance(value, int) and not isinstance(value, bool)
    text = f"{value:,}" if is_count else str(value)
    parts = (title, text) if name in ("sizes", "dropout") else (text, title)
    return " ".join(filter(None, parts))
