"""Define what the configs share: sizes, variants, presets, and the syntax of picks."""

import itertools
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict, config_dict

from gpt1_jax.errors import UserError, nearest

# gpt1 is the paper's model. small trains in an hour on a GPU or a laptop, tiny in minutes on two
# CPU cores. world is for the microworld: a short context makes nearby words easier to find.
SIZES = {
    "gpt1": dict(context=512, layers=12, width=768, heads=12, ffn=3072, units=2048),
    "small": dict(context=256, layers=4, width=256, heads=4, ffn=1024, units=512),
    "tiny": dict(context=128, layers=3, width=128, heads=4, ffn=512, units=256),
    "world": dict(context=32, layers=3, width=64, heads=4, ffn=256, units=128),
}

# Body -> the settings that a size gives it, its other settings, and the options of pretraining that
# finetuning takes from the checkpoint.
BODIES = {
    "transformer": dict(
        sizes=(
            "context",  # the most tokens of a text
            "layers",  # blocks
            "width",  # features of a token
            "heads",  # attention heads of a block
            "ffn",  # hidden units of a block's MLP
        ),
        settings=dict(
            embd_dropout=0.1,  # of the embeddings
            attn_dropout=0.1,  # of the attention probabilities
            resid_dropout=0.1,  # of what a block or layer adds
            attention="auto",  # the fastest way; or plain; or fused, the kernels for TPU and GPU
        ),
        options=dict(
            learned_positions=True,  # False: no embedding of positions
            pre_norm=False,  # True: layer norm before attention and MLP, instead of after the sums
        ),
    ),
    "lstm": dict(
        sizes=(
            "context",
            "width",
            "units",  # of the LSTM layer
        ),
        settings=dict(embd_dropout=0.1, resid_dropout=0.1),
        options={},
    ),
}

# Variant -> its difference from the full model. The rows of the paper's Table 5 come first.
VARIANTS = {
    "full": {},
    "no_pretraining": {"init.layers": -1},
    "no_aux_lm": {"lm_coef": 0.0},
    "lstm": {"model.name": "lstm"},
    "frozen": {"init.frozen": True},
}

# Peculiarities of the published system. Each is an option of config.published; True is as
# published. docs/fidelity.md describes them. QUIRKS are options of pretraining and of finetuning.
QUIRKS = (
    # True: embd_dropout on the embedding matrix, so that input and softmax lose the same features.
    # False: on the sum of token and position embeddings.
    "table_dropout",
    # True: the softmax of the language model includes the position rows. False: tokens only.
    "softmax_positions",
    # True: weight decay is scaled by Adam's bias corrections. False: by the learning rate alone.
    "bias_ratio_decay",
    # True: epsilon is added to the root of the uncorrected second moment. False: of the corrected
    # one.
    "uncorrected_epsilon",
    # True: the schedule counts finished steps, so the first step has rate 0. False: it counts the
    # current step.
    "zero_first_update",
    # True: the rate decays over the whole run, warmup included. False: from the end of the warmup.
    "decay_includes_warmup",
)
# Options of pretraining only, because pretraining trains the tokenizer.
PRETRAINING_QUIRKS = (
    # True: an error in a pattern leaves a backslash in its word. False: the backslash is a word.
    "backslash_in_word",
)
# Options of finetuning only.
FINETUNING_QUIRKS = (
    # True: the auxiliary loss is a mean over each stream, then over streams. False: over all tokens
    # of the batch.
    "per_sequence_lm_mean",
    # True: the auxiliary loss includes the wrong answers of a choice. False: only the right answer.
    "lm_loss_on_wrong_answers",
    # True: the streams of an example share one dropout mask before the head. False: one mask each.
    "shared_clf_dropout",
)
# Preset -> the quirks that are True. huggingface is the behavior of transformers' classes,
# PyTorch's AdamW and the usual schedule.
PRESETS = {
    "published": (*QUIRKS, *PRETRAINING_QUIRKS, *FINETUNING_QUIRKS),
    "modern": (),
    "huggingface": ("zero_first_update", "lm_loss_on_wrong_answers"),
}


def published(preset: str, quirks: tuple[str, ...]) -> ConfigDict:
    """Return the section config.published: the options `quirks`, as the preset sets them."""
    return ConfigDict({quirk: quirk in PRESETS[preset] for quirk in quirks})


def parse_arg(arg: str | None, picks: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the picked name of each kind.

    Args:
        arg: the picks of a config: names in any order, separated by commas.
        picks: kind -> the names of the kind. The first name is the default.

    Raises:
        UserError: a name is unknown, or two names are of one kind.
    """
    selected = {}
    for name in (arg or "").split(","):
        if not name:
            continue
        kind = next((kind for kind, names in picks.items() if name in names), None)
        if kind is None:
            raise unknown_pick(name, picks)
        if kind in selected:
            raise UserError(f"--config: {selected[kind]!r} and {name!r} exclude each other")
        selected[kind] = name
    return [selected.get(kind, names[0]) for kind, names in picks.items()]


def unknown_pick(name: str, picks: Mapping[str, Sequence[str]]) -> UserError:
    """Return the error for a name that is none of the picks."""
    hint = nearest(name, itertools.chain(*picks.values()))
    known = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in picks.items())
    return UserError(f"--config: no pick is called {name!r}{hint}; choose among {known}")


def model(body: str, size: str) -> ConfigDict:
    """Return the model section of a body and a size."""
    section = model_section(body, {name: SIZES[size][name] for name in BODIES[body]["sizes"]})
    section.update(BODIES[body]["options"])
    return section


def as_pretrained(body: str) -> ConfigDict:
    """Return the model section of a pretrained body; the checkpoint fills its empty sizes."""
    return model_section(
        body, {name: config_dict.placeholder(int) for name in BODIES[body]["sizes"]}
    )


def model_section(body: str, sizes: dict) -> ConfigDict:
    """Return the model section of a body with these sizes."""
    return ConfigDict(
        dict(
            name=body,  # transformer or lstm
            dtype="float32",  # of the computation; or bfloat16
            **sizes,
            **BODIES[body]["settings"],
        )
    )


def without_dropout(section: ConfigDict) -> None:
    """Set all dropout rates of a model section to 0: few steps cannot memorize the microworld."""
    for name in section:
        if name.endswith("dropout"):
            section[name] = 0.0


def checkpoint(every: int, keep: int) -> ConfigDict:
    """Return the section of checkpoints."""
    config = ConfigDict()
    config.every = every  # save after so many steps
    config.minutes = 0.0  # save after so many minutes, too; 0 saves by steps only
    config.keep = keep  # keep so many of the last checkpoints
    # What a finished run keeps. params: the parameters of the last checkpoint, of the best one and
    # of chosen ones (keep_steps); the optimizer's state takes two thirds of a checkpoint. all:
    # everything.
    config.finished = "params"
    return config


def log(every: int) -> ConfigDict:
    """Return the section of the log."""
    config = ConfigDict()
    config.every = every  # write metrics after so many steps
    # Write a trace of these steps, the first and the last, to tb/: (100, 110). () writes none.
    config.profile = ()
    config.tracker = "none"  # or wandb, trackio: send the metrics there, too
    return config


def check() -> ConfigDict:
    """Return the section of checks during training."""
    config = ConfigDict()
    # Compute every so many steps twice, and stop if the results differ by a bit: the hardware then
    # makes errors. 0 never does. A checked step takes twice the time, and memory for two more
    # copies of parameters and moments. A GPU needs XLA_FLAGS=--xla_gpu_deterministic_ops=true.
    config.replay_every = 0
    return config


def adam(**settings) -> ConfigDict:
    """Return the optimizer section: the constants of the published Adam, and `settings`."""
    return ConfigDict(
        dict(
            b1=0.9,  # of the first moment
            b2=0.999,  # of the second moment
            eps=1e-8,  # added to the root of the second moment
            decay=0.01,  # weight decay
            clip=1.0,  # the largest norm of a gradient
            accumulate=1,  # compute the gradient of a batch in so many parts
            **settings,
        )
    )
