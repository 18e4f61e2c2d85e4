"""What the configs share: sizes, variants, and how an argument picks among them."""

from ml_collections import ConfigDict, config_dict

from gpt1_jax.errors import UserError

# gpt1 is the paper's model. small learns on a GPU or a patient laptop in an hour, tiny on two CPU cores in minutes.
SIZES = {
    "gpt1": dict(context=512, layers=12, width=768, heads=12, ffn=3072, units=2048),
    "small": dict(context=256, layers=4, width=256, heads=4, ffn=1024, units=512),
    "tiny": dict(context=128, layers=3, width=128, heads=4, ffn=512, units=256),
}

# What each body takes of a size, and its dropout.
BODIES = {
    "transformer": dict(
        takes=("context", "layers", "width", "heads", "ffn"),
        dropout=dict(embd_dropout=0.1, attn_dropout=0.1, resid_dropout=0.1),
    ),
    "lstm": dict(
        takes=("context", "width", "units"), dropout=dict(embd_dropout=0.1, resid_dropout=0.1)
    ),
}

# What an ablation changes, each as its difference from the full model: the rows of the paper's Table 5, then further ones.
VARIANTS = {
    "full": {},
    "no_pretraining": {"init.layers": -1},
    "no_aux_lm": {"lm_coef": 0.0},
    "lstm": {"model.name": "lstm"},
    "frozen": {"init.frozen": True},
}


# What the published system does and one would hardly do today, an option each: True is as published. Those of every run, then those of
# pretraining and of finetuning alone; docs/fidelity.md says more of each.
QUIRKS = (
    "table_dropout",  # embd_dropout falls on the table, so that softmax and input lose the same; else on the summed embeddings
    "softmax_positions",  # the language model's softmax runs over the position rows too; else over tokens
    "bias_ratio_decay",  # weight decay is scaled by Adam's bias corrections; else by the rate alone
    "uncorrected_epsilon",  # epsilon joins the root of the uncorrected second moment; else of the corrected one
    "zero_first_update",  # the schedule reads the finished updates, so the first has rate 0; else the update's own number
    "decay_includes_warmup",  # the rate falls over the whole run, warmup included; else from the warmup's end
)
PRETRAINING_QUIRKS = (
    "backslash_in_word",
)  # a slip in a pattern: the backslash stays in its word; else it is one
FINETUNING_QUIRKS = (
    "per_sequence_lm_mean",  # the auxiliary loss is a mean over each stream, then over streams; else over all tokens of the batch
    "lm_loss_on_wrong_answers",  # the auxiliary loss is that of a choice's wrong answers too; else of the right one
    "shared_clf_dropout",  # the streams of an example lose the same features before the head; else each its own
)
# Presets, by what they leave as published. huggingface is what transformers' classes, PyTorch's AdamW and its usual schedule do.
PRESETS = {
    "published": (*QUIRKS, *PRETRAINING_QUIRKS, *FINETUNING_QUIRKS),
    "modern": (),
    "huggingface": ("zero_first_update", "lm_loss_on_wrong_answers"),
}


def published(preset: str, quirks: tuple[str, ...]) -> ConfigDict:
    """The section that says of each of `quirks` whether it is as published."""
    return ConfigDict({quirk: quirk in PRESETS[preset] for quirk in quirks})


def parse_arg(arg: str | None, *choices: tuple[str, ...]) -> list[str]:
    """The picks of a config's argument, one for each of `choices`, in any order; the first of a tuple is its default.

    Raises:
        UserError: a pick is in none of the tuples, or two are in one.
    """
    picks = {}
    for pick in filter(None, (arg or "").split(",")):
        found = next((options for options in choices if pick in options), None)
        if found is None:
            known = "; ".join(", ".join(options) for options in choices)
            raise UserError(f"--config: {pick!r} is not one of: {known}")
        if found in picks:
            raise UserError(f"--config: {picks[found]!r} and {pick!r} exclude each other")
        picks[found] = pick
    return [picks.get(options, options[0]) for options in choices]


def model(body: str, size: str) -> ConfigDict:
    """The model section: a body of a size."""
    sizes = {name: SIZES[size][name] for name in BODIES[body]["takes"]}
    return ConfigDict({"name": body, **sizes, **BODIES[body]["dropout"], "dtype": "float32"})


def as_pretrained(body: str) -> ConfigDict:
    """The model section of a run that takes over a pretrained body: sizes left empty are the checkpoint's."""
    sizes = {name: config_dict.placeholder(int) for name in BODIES[body]["takes"]}
    return ConfigDict({"name": body, **sizes, **BODIES[body]["dropout"], "dtype": "float32"})


def adam(**settings) -> ConfigDict:
    """The optimiser section: the published Adam; `settings` are the run's own."""
    return ConfigDict(
        dict(b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0, accumulate=1, **settings)
    )
