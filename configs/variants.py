"""Define the variants and the pretrainings of an ablation."""

from ml_collections import ConfigDict

from configs import common, pretrain

# Variants without one of the published quirks, and without any.
_QUIRK_NAMES = common.QUIRKS + common.FINETUNING_QUIRKS
QUIRKS = {f"no_{quirk}": {f"published.{quirk}": False} for quirk in _QUIRK_NAMES}
QUIRKS["modern"] = {f"published.{quirk}": False for quirk in _QUIRK_NAMES}

# Pretraining -> its body, and its difference from the recipe of the body. Each one that is not the
# recipe of a body has a variant of the same name, which starts from it.
PRETRAININGS = {
    **{body: (body, {}) for body in common.BODIES},
    "no_positions": ("transformer", {"model.learned_positions": False}),
    "pre_norm": ("transformer", {"model.pre_norm": True}),
    "shuffled": ("transformer", {"data.shuffle_sentences": True}),
}


def pretrainings(scale: dict) -> ConfigDict:
    """Return pretraining -> its body, and its difference from the recipe as nested sections."""
    entries = PRETRAININGS | {
        name: ("transformer", _context(scale, name)) for name in contexts(scale)
    }
    return ConfigDict(
        {name: dict(body=body, changes=nested(flat)) for name, (body, flat) in entries.items()}
    )


def contexts(scale: dict) -> dict[str, int]:
    """Return pretraining -> its context, of the pretrainings that differ in it."""
    return {f"context_{context}": context for context in scale["contexts"]}


def _context(scale: dict, name: str) -> dict:
    """Return the changes for another context with as many tokens in a batch."""
    size, context = scale["size"], contexts(scale)[name]
    tokens = pretrain.SETTINGS[size]["batch_size"] * common.SIZES[size]["context"]
    return {"model.context": context, "batch_size": tokens // context}


def variants(scale: dict) -> ConfigDict:
    """Return variant -> its difference from the full model, as nested sections."""
    last_block = common.SIZES[scale["size"]]["layers"] - 1
    others = PRETRAININGS.keys() - common.BODIES.keys() | contexts(scale).keys()
    changes = {
        **common.VARIANTS,
        "reinit_last_block": {"init.layers": last_block},
        "probe": {"init.frozen": True, "lm_coef": 0.0},
        **QUIRKS,
        **{name: {"pretraining": name} for name in sorted(others)},
    }
    return ConfigDict({variant: nested(flat) for variant, flat in changes.items()})


def nested(changes: dict) -> ConfigDict:
    """Return the settings {"section.name": value} as sections."""
    config = ConfigDict()
    for name, value in changes.items():
        *sections, setting = name.split(".")
        section = config
        for part in sections:
            if part not in section:
                section[part] = ConfigDict()
            section = section[part]
        section[setting] = value
    return config
