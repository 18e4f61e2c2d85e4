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
    "lstm": dict(takes=("context", "width", "units"), dropout=dict(embd_dropout=0.1, resid_dropout=0.1)),
}

# What an ablation changes, each as its difference from the full model: the rows of the paper's Table 5, then further ones.
VARIANTS = {
    "full": {},
    "no_pretraining": {"init.layers": -1},
    "no_aux_lm": {"lm_coef": 0.0},
    "lstm": {"model.name": "lstm"},
    "frozen": {"init.frozen": True},
}


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
    return ConfigDict(dict(b1=0.9, b2=0.999, eps=1e-8, decay=0.01, clip=1.0, accumulate=1, **settings))
