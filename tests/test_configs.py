"""Test the configs: every argument parses, every value can be overridden, every option is read."""

import itertools
import json
import math
import sys

import pytest
from absl import flags
from cli_fixtures import REPOSITORY
from ml_collections import ConfigDict, config_flags

from gpt1_jax.cli import config_files
from gpt1_jax.errors import UserError
from gpt1_jax.inputs import flatten
from gpt1_jax.registry import TASKS, TRAINERS
from gpt1_jax.trainers import config_checks

sys.path.insert(0, str(REPOSITORY))
from configs import ablations, common, finetune, pretrain, zero_shot

CHOICES = {"pretrain": (common.SIZES, common.BODIES), "finetune": (finetune.NAMES, common.VARIANTS)}
FILES = sorted(
    path.stem
    for path in (REPOSITORY / "configs").glob("*.py")
    if "def get_config" in path.read_text()
)
ALL = [
    f"{file}.py:{','.join(names)}"
    for file in CHOICES
    for names in itertools.product(*CHOICES[file])
]
ALL += [f"{file}.py:{preset}" for file in CHOICES for preset in common.PRESETS]
ALL += [f"{file}.py" for file in FILES]


def parse(config: str, **values) -> ConfigDict:
    """Return the config as the command line parses it."""
    argv = [
        "gpt1",
        f"--config={REPOSITORY}/configs/{config}",
        *(f"--config.{name}={value}" for name, value in values.items()),
    ]
    parsed = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=parsed, sys_argv=argv)
    parsed["config"].parser = config_files.Parser()
    parsed(argv)
    return parsed.config


@pytest.mark.parametrize("config", ALL)
def test_every_argument_parses_and_every_value_can_be_overridden(config):
    parsed = parse(config)
    assert parsed.trainer in TRAINERS
    others = {}
    for name, value in flatten(parsed.to_dict()).items():
        assert not isinstance(value, list), (
            f"{name} is a list, which the command line cannot set; make it a tuple"
        )
        if isinstance(value, tuple):
            others[name] = ("a", "b") if value and isinstance(value[0], str) else (3, 4)
        else:  # None is an empty placeholder, and all of them are whole numbers
            others[name] = (
                not value
                if isinstance(value, bool)
                else {float: 0.25, str: "other"}.get(type(value), 7)
            )
    assert flatten(parse(config, **others).to_dict()) == others


def test_argument_names_come_in_any_order_and_have_defaults():
    assert parse("pretrain.py:lstm,tiny") == parse("pretrain.py:tiny,lstm")
    assert (
        parse("pretrain.py") == parse("pretrain.py:gpt1") == parse("pretrain.py:gpt1,transformer")
    )
    assert parse("finetune.py:no_aux_lm,rte") == parse("finetune.py:rte,no_aux_lm")


@pytest.mark.parametrize("number", ["1e3", "1_000", "1000.0"])
def test_whole_number_may_be_written_as_a_float(number):
    assert parse("pretrain.py", steps=number).steps == 1000


def test_finetuning_offers_the_registered_tasks():
    assert set(finetune.NAMES) <= set(TASKS)


def test_gpt1_has_the_settings_of_the_paper():
    assert common.SIZES["gpt1"] == dict(
        context=512, layers=12, width=768, heads=12, ffn=3072, units=2048
    )
    run, tuned = pretrain.get_config("gpt1"), finetune.get_config("sst2")
    assert (run.batch_size, run.optim.lr, run.optim.warmup_steps, run.steps) == (
        64,
        2.5e-4,
        2000,
        960_000,
    )
    assert run.tokenizer.vocab_size == 40_478
    assert (tuned.batch_size, tuned.epochs, tuned.lm_coef, tuned.clf_dropout) == (32, 3, 0.5, 0.1)
    assert (tuned.optim.lr, tuned.optim.warmup_fraction) == (6.25e-5, 0.002)
    for config in (run, tuned):
        assert (
            config.optim.b1,
            config.optim.b2,
            config.optim.eps,
            config.optim.decay,
            config.optim.clip,
        ) == (0.9, 0.999, 1e-8, 0.01, 1)
        assert (
            config.model.embd_dropout,
            config.model.attn_dropout,
            config.model.resid_dropout,
        ) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("variant", common.VARIANTS)
def test_variant_changes_only_its_own_settings(variant):
    full, other = (
        flatten(finetune.get_config(f"sst2,{name}").to_dict()) for name in ("full", variant)
    )
    changed = {
        name: other[name] for name in full.keys() & other.keys() if full[name] != other[name]
    }
    assert changed == common.VARIANTS[variant]
    missing = full.keys() ^ other.keys()
    assert all(name.startswith("model.") for name in missing)
    assert bool(missing) == (variant == "lstm")


def test_presets_set_every_quirk():
    for config in (pretrain.get_config, finetune.get_config):
        assert config("") == config("published") and all(config("").published.values())
        assert not any(config("modern").published.values())
        true = {quirk for quirk, value in config("huggingface").published.items() if value}
        assert true == {"zero_first_update", "lm_loss_on_wrong_answers"} & set(config("").published)
        assert config("modern").optim == config("").optim


def test_quirks_experiment_drops_one_at_a_time_and_then_all():
    config = ablations.get_config("quick,quirks")
    *single, everything = (
        flatten(config.variants[variant].to_dict())
        for variant in config.experiments.quirks.variants[1:]
    )
    named = [f"published.{quirk}" for quirk in config.finetune.published]
    assert sorted(single, key=str) == sorted(({name: False} for name in named), key=str)
    assert everything == dict.fromkeys(named, False)


NUMBERS = [
    (get_config, arg, name)
    for get_config, arg in (
        (pretrain.get_config, "tiny"),
        (pretrain.get_config, "tiny,lstm"),
        (finetune.get_config, "sst2"),
        (lambda _: zero_shot.get_config(), ""),
        (ablations.get_config, "quick"),
    )
    for name, value in flatten(get_config(arg).to_dict()).items()
    if not isinstance(value, str | bool | tuple)
    # The checkpoint limits the first two. Each run checks the sections of an ablation.
    and not name.endswith(("init.layers", "init.step"))
    and not (arg == "quick" and name.split(".")[0] not in ("seeds", "workers", "world"))
]


@pytest.mark.parametrize("value", [-1e30, 1e39, math.nan])
def test_every_number_has_limits(value):
    """Both limits: a slip must end before it exhausts the memory or overflows."""
    for get_config, arg, name in NUMBERS:
        config = get_config(arg)
        with config.ignore_type():
            config.update_from_flattened_dict({name: value})
        with pytest.raises(UserError, match=f"config.{name}: found {value!r}".replace("+", ".")):
            config_checks.check(config)


class Watched:
    """Record which options of a config are read. A section read as a whole counts as read."""

    def __init__(self, config: ConfigDict, read: set[str], prefix: str = ""):
        self._config, self._read, self._prefix = config, read, prefix

    def __getattr__(self, name: str):
        value = getattr(self._config, name)
        if isinstance(value, ConfigDict):
            return Watched(value, self._read, f"{self._prefix}{name}.")
        self._read.add(self._prefix + name)
        return value

    def to_dict(self) -> dict:
        if self._prefix:  # the whole config is read to store it
            self._read.update(self._prefix + name for name in self._config)
        return self._config.to_dict()

    def items(self):
        return self.to_dict().items()


@pytest.mark.parametrize("body", common.BODIES)
@pytest.mark.parametrize("trainer", [*CHOICES, "zero_shot"])
def test_every_option_is_read(trainer, body, pretraining, finetuning, probing, tmp_path):
    if trainer == "pretrain":
        config, values = pretrain.get_config(f"tiny,{body}"), pretraining(body)
    elif trainer == "zero_shot":
        config, values = zero_shot.get_config(), probing(body)
    else:
        config, values = (
            finetune.get_config("sst2,lstm" if body == "lstm" else "sst2"),
            finetuning(body),
        )
    config.update_from_flattened_dict(
        {
            name: str(value) if "path" in name or "cache" in name else value
            for name, value in values.items()
        }
    )
    config.unused = 1
    read = set()
    TRAINERS[trainer](Watched(config, read), str(tmp_path))
    assert flatten(config.to_dict()).keys() - read == {
        "trainer",
        "unused",
    }  # main reads the trainer


def test_resolved_config_is_saved(pretraining, pretrained):
    saved = json.loads((pretrained() / "config.json").read_text())
    resolved = parse("pretrain.py:tiny,transformer", **pretraining()).to_dict()
    assert saved == json.loads(json.dumps(resolved))
    assert (saved["model"]["width"], saved["optim"]["lr"]) == (
        16,
        1e-3,
    )  # an override, and a value of the size
