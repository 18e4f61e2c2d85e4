"""Define mistakes in flags, names and the run folder."""

from mistakes.mistake import ablate, finetune, pretrain, zero_shot

MISTAKES = {
    "misspelled setting": pretrain(
        "--config.optim.lrr", "did you mean 'optim.lr'?", settings={"optim.lrr": 1}
    ),
    "unknown section": pretrain(
        "--config.optin.lr", "did you mean 'optim.lr'?", settings={"optin.lr": 1}
    ),
    "setting without its section": pretrain(
        "--config.lr:", "did you mean 'optim.lr'?", settings={"lr": 1}
    ),
    "unknown command": pretrain("smaple", "did you mean 'sample'?", arguments=("smaple",)),
    "word instead of a number": pretrain("--config.steps=many", settings={"steps": "many"}),
    "fraction instead of a whole number": pretrain(
        "--config.steps=1.5: '1.5' is not a whole number", settings={"steps": 1.5}
    ),
    "fraction with an exponent": pretrain(
        "--config.steps=1e-3: '1e-3' is not a whole number", settings={"steps": "1e-3"}
    ),
    "number instead of a boolean": pretrain(
        "--config.data.rewrap_lines=7", settings={"data.rewrap_lines": 7}
    ),
    "value instead of a section": pretrain("config.optim", settings={"optim": 3}),
    "word in a tuple of numbers": pretrain(
        "config.checkpoint.keep_steps", settings={"checkpoint.keep_steps": "(a,)"}
    ),
    "setting without dashes": pretrain("lr=1", "--config.NAME=VALUE", arguments=("lr=1",)),
    "unknown flag": pretrain("'workdri'", "workdir", arguments=("--workdri=x",)),
    "unknown choice of a flag": pretrain("--multihost", "on|off", arguments=("--multihost=maybe",)),
    "invalid value for finetuning in an ablation": ablate(
        "config.finetune.lm_coef",
        "-1",
        settings={"finetune.lm_coef": -1},
    ),
    "invalid value for pretraining in an ablation": ablate(
        "config.pretrain.lstm.steps",
        "0",
        config="ablations.py",
        settings={"pretrain.lstm.steps": 0},
    ),
    "numbers instead of names": ablate("config.tasks", "(1, 2)", settings={"tasks": "(1, 2)"}),
    "zero seeds": ablate("config.seeds", "0", settings={"seeds": 0}),
    "invalid shard": ablate("config.shard", "'9/8'", settings={"shard": "9/8"}),
    "unknown name in the config argument": pretrain(
        "--config", "'tyni' (did you mean 'tiny'?)", config="pretrain.py:tyni"
    ),
    "unknown variant": finetune(
        "'no_pretrained' (did you mean 'no_pretraining'?)", config="finetune.py:rte,no_pretrained"
    ),
    "two sizes in the config argument": pretrain(
        "--config", "'tiny'", "'small'", "exclude", config="pretrain.py:tiny,small"
    ),
    "missing config file": pretrain(
        "configs/pretain.py' (did you mean 'pretrain'?)", config="pretain.py:tiny"
    ),
    "config file without a config": pretrain(
        "--config", "pyproject.toml", config="../pyproject.toml"
    ),
    "unknown trainer": pretrain(
        "no trainer", "'pretrian'", "pretrain", settings={"trainer": "pretrian"}
    ),
    "unknown corpus": pretrain("no corpus", "'txt'", "text", settings={"data.corpus": "txt"}),
    "unknown model": pretrain("no model", "'gpt'", "transformer", settings={"model.name": "gpt"}),
    "model with the sizes of another model": pretrain(
        "config.model", "lstm", "heads", settings={"model.name": "lstm"}
    ),
    "unknown task": finetune("no task", "'sst' (did you mean 'sst2'?)", settings={"task": "sst"}),
    "unknown source": finetune(
        "config.data.source", "'cloud'", "files", settings={"data.source": "cloud"}
    ),
    "task without a split to train on": finetune(
        "config.task: ax", "cannot be finetuned on", settings={"task": "ax"}
    ),
    "task for zero-shot only": finetune(
        "config.task: dprd", "cannot be finetuned on", settings={"task": "dprd"}
    ),
    "regression on a task with classes": finetune(
        "config.regression", "sst2 has classes", settings={"regression": True}
    ),
    "hub unreachable for a task": finetune(
        "nyu-mll/glue", "OFFLINE", "parquet", settings={"data.source": "hub", "data.path": ""}
    ),
    "folder is not a copy of the hub data set": finetune(
        "{here}/books", "sst2", settings={"data.source": "hub", "data.path": "{here}/books"}
    ),
    "task not prepared by TFDS": finetune(
        "{here}/books",
        "glue/sst2",
        "array_record",
        settings={"data.source": "tfds", "data.path": "{here}/books"},
    ),
    "unknown backend": pretrain("config.backend", "'xmap'", "pmap", settings={"backend": "xmap"}),
    "unknown target": pretrain(
        *("config.compile_for", "'v7'", "v5e:2x4", "h100:8"), settings={"compile_for": "v7"}
    ),
    "unknown target for finetuning": finetune(
        *("config.compile_for", "'v5e:8'", "v5e:2x4"), settings={"compile_for": "v5e:8"}
    ),
    "target without an estimate": ablate(
        *("config.compile_for", "config.estimate_cost=True"), settings={"compile_for": "h100"}
    ),
    "unknown dtype": pretrain(
        "config.model.dtype", "'float99'", "bfloat16", settings={"model.dtype": "float99"}
    ),
    "unknown tracker": pretrain(
        *("config.log.tracker", "'mlflow'", "wandb"), settings={"log.tracker": "mlflow"}
    ),
    "workdir below a file": pretrain(
        "--workdir", "cannot write", arguments=("--workdir={here}/books/book_0.txt/run",)
    ),
    "workdir is a file": pretrain(
        "--workdir", "is a file", arguments=("--workdir={here}/books/book_0.txt",)
    ),
    "workdir in another store": pretrain(
        "--workdir", "s3://bucket/run", "gs:// can", arguments=("--workdir=s3://bucket/run",)
    ),
    "workdir not writable": pretrain(
        "--workdir", "cannot write", arguments=("--workdir=/proc/run",)
    ),
}


def make_loop(here) -> None:
    """Make a link that leads to itself."""
    (here / "loop").symlink_to("loop")


# Every flag that takes a path, with a path that no command can use.
for kind, path, message in (
    ("unknown home", "~nobody_of_this_name/x", "the home folder of ~nobody_of_this_name"),
    ("too long a name", "n" * 300, "cannot be used"),
    ("loop of links", "{here}/loop", "cannot be used"),
):
    for make, setting in (
        (pretrain, "data.path"),
        (pretrain, "data.cache"),
        (pretrain, "tokenizer.path"),
        (finetune, "init.path"),
        (finetune, "data.path"),
        (zero_shot, "init.path"),
    ):
        MISTAKES[f"{kind} as {setting} of {make.__name__}"] = make(
            f"config.{setting}", message, settings={setting: path}, edit=make_loop
        )
    MISTAKES[f"{kind} as the workdir"] = pretrain(
        "--workdir", message, arguments=(f"--workdir={path}",), edit=make_loop
    )
    MISTAKES[f"{kind} as a part of a mixture"] = pretrain(
        "config.data.path",
        message,
        settings={"data.corpus": "mixture", "data.path": f"1*text:{path},1*text:{path}"},
        edit=make_loop,
    )
    MISTAKES[f"{kind} as the pretrained run of an ablation"] = ablate(
        "config.pretrained.transformer",
        message,
        settings={"pretrained.transformer": path},
        edit=make_loop,
    )
