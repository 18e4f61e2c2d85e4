"""Define values out of range."""

from mistakes.mistake import finetune, pretrain

MISTAKES = {
    "zero steps": pretrain("config.steps", "0", settings={"steps": 0}),
    "zero epochs": finetune("config.epochs", "0", settings={"epochs": 0}),
    "zero batch size": pretrain("config.batch_size", "0", settings={"batch_size": 0}),
    "batch not divisible by the devices": pretrain(
        "config.batch_size: 5", "2 devices", "multiple of 2", settings={"batch_size": 5}
    ),
    "batch not divisible by the accumulation": pretrain(
        "config.batch_size: 4", "accumulate=3", "multiple of 6", settings={"optim.accumulate": 3}
    ),
    "batch not divisible by the devices of a target": pretrain(
        *("config.batch_size: 4", "8 devices", "multiple of 8"), settings={"compile_for": "v5e:2x4"}
    ),
    "zero accumulation steps": pretrain(
        "config.optim.accumulate", "0", settings={"optim.accumulate": 0}
    ),
    "batch larger than the corpus": pretrain(
        "config.batch_size: 4000", settings={"batch_size": 4000}
    ),
    "batch larger than the task": finetune(
        "config.batch_size: 16", "12 examples", settings={"batch_size": 16}
    ),
    "negative learning rate": pretrain("config.optim.lr", "-0.1", settings={"optim.lr": -0.1}),
    "learning rate is nan": pretrain("config.optim.lr", "nan", settings={"optim.lr": "nan"}),
    "beta is one": pretrain("config.optim.b2", "1.0", settings={"optim.b2": 1.0}),
    "zero clip norm": pretrain("config.optim.clip", "0", settings={"optim.clip": 0}),
    "negative warmup": pretrain(
        "config.optim.warmup_steps", "-1", settings={"optim.warmup_steps": -1}
    ),
    "dropout is one": pretrain(
        "config.model.embd_dropout", "1.0", settings={"model.embd_dropout": 1.0}
    ),
    "negative classifier dropout": finetune(
        "config.clf_dropout", "-0.5", settings={"clf_dropout": -0.5}
    ),
    "negative lm_coef": finetune("config.lm_coef", "-1", settings={"lm_coef": -1}),
    "negative seed": pretrain("config.seed", "-1", settings={"seed": -1}),
    "negative number of examples": finetune(
        "config.data.examples", "-5", settings={"data.examples": -5}
    ),
    "width not divisible by the heads": pretrain(
        "config.model.heads: 3", "config.model.width=16", settings={"model.heads": 3}
    ),
    "zero width": pretrain("config.model.width", "0", settings={"model.width": 0}),
    "zero steps between checkpoints": pretrain(
        "config.checkpoint.every", "0", settings={"checkpoint.every": 0}
    ),
    "zero checkpoints kept": pretrain(
        "config.checkpoint.keep", "0", settings={"checkpoint.keep": 0}
    ),
    "zero steps between log rows": pretrain("config.log.every", "0", settings={"log.every": 0}),
    "trace that ends before it begins": pretrain(
        "config.log.profile", "(9, 3)", settings={"log.profile": "(9,3)"}
    ),
    "trace of one step number": finetune(
        "config.log.profile", "two increasing steps", settings={"log.profile": "(3,)"}
    ),
    "zero steps between evaluations": pretrain(
        "config.eval.every", "0", settings={"eval.every": 0}
    ),
    "held-out share above one": pretrain(
        "config.data.validation", "1.5", settings={"data.validation": 1.5}
    ),
    "context too short for the format": finetune(
        "config.model.context", "4", settings={"model.context": 4}
    ),
}
