"""Define mistakes in the pretraining runs that other runs start from, and in probes."""

import shutil

from mistakes.mistake import damage_checkpoint, finetune, swap_token_ids, zero_shot

FINETUNED = {"run/config.json": b'{"trainer": "finetune", "model": {"name": "transformer"}}'}
PRONOUNS = "glue/definite_pronoun_resolution/test.c.txt"

MISTAKES = {
    "empty run path": finetune("config.init.path", "empty", settings={"init.path": ""}),
    "run path is a file": finetune(
        "config.init.path", "is a file", settings={"init.path": "{here}/books/book_0.txt"}
    ),
    "probe a run path that is a file": zero_shot(
        "config.init.path", "is a file", settings={"init.path": "{here}/books/book_0.txt"}
    ),
    "run config that is a list": finetune(
        "{here}/run/config.json", "an object is expected", files={"run/config.json": b"[]"}
    ),
    "run config without a model": finetune(
        "{here}/run/config.json: model is missing",
        files={"run/config.json": b'{"trainer": "pretrain"}'},
    ),
    "run config with a text as a size": finetune(
        "{here}/run/config.json: model.layers",
        "a whole number is expected",
        files={
            "run/config.json": b'{"trainer": "pretrain", "model": {"name": "transformer", '
            b'"layers": "2", "dtype": "float32"}}'
        },
    ),
    "run config nested too deeply": finetune(
        "{here}/run/config.json", "nested", files={"run/config.json": b"[" * 3000 + b"]" * 3000}
    ),
    "tokenizer that is a list": finetune(
        "{here}/run/tokenizer.json", "tokenizer", files={"run/tokenizer.json": b"[1]"}
    ),
    "missing run": finetune("{here}/absent", settings={"init.path": "{here}/absent"}),
    "folder without a run": finetune("{here}/books", settings={"init.path": "{here}/books"}),
    "run without a checkpoint": finetune(
        "{here}/run", "checkpoint", edit=lambda here: shutil.rmtree(here / "run/checkpoints")
    ),
    "run with another body": finetune(
        "config.init.path", "transformer", "lstm", config="finetune.py:sst2,lstm"
    ),
    "run of another trainer": finetune(
        "config.init.path",
        "finetune",
        files=FINETUNED,
    ),
    "run with a damaged config": finetune(
        "{here}/run/config.json", "JSON", files={"run/config.json": b"{"}
    ),
    "step without a checkpoint": finetune(
        "config.init.step", "7", "[10, 20]", settings={"init.step": 7}
    ),
    "too many transferred layers": finetune(
        "config.init.layers: 3", "2 blocks", settings={"init.layers": 3}
    ),
    "transferred layers below -1": finetune(
        "config.init.layers: -2", "-1", settings={"init.layers": -2}
    ),
    "another width": finetune(
        "config.init.path", "in the checkpoint", "config.model", settings={"model.width": 32}
    ),
    "another depth": finetune(
        "config.init.path", "h1", "is not a param of this model", settings={"model.layers": 1}
    ),
    "another ffn width": finetune("config.init.path", "h0/mlp/c_fc", settings={"model.ffn": 32}),
    "swapped tokenizer": finetune(
        "{here}/run/tokenizer.json",
        "restore",
        edit=lambda here: swap_token_ids(here / "run/tokenizer.json"),
    ),
    "damaged checkpoint": finetune(
        "{here}/run/checkpoints/20/params",
        "damaged",
        edit=lambda here: damage_checkpoint(here / "run", 20),
    ),
    "probe an empty run path": zero_shot("config.init.path", "empty", settings={"init.path": ""}),
    "probe a run of another trainer": zero_shot(
        "config.init.path",
        "finetune",
        files=FINETUNED,
    ),
    "probe a run without a checkpoint": zero_shot(
        "{here}/run", "checkpoint", edit=lambda here: shutil.rmtree(here / "run/checkpoints")
    ),
    "probe a run with a swapped tokenizer": zero_shot(
        "{here}/run/tokenizer.json",
        "restore",
        edit=lambda here: swap_token_ids(here / "run/tokenizer.json"),
    ),
    "probe a damaged checkpoint": zero_shot(
        "{here}/run/checkpoints/10/params",
        "damaged",
        edit=lambda here: damage_checkpoint(here / "run", 10),
    ),
    "unknown probe": zero_shot(
        "config.tasks", "'rte'", "cola, sst2", settings={"tasks": "('cola','rte')"}
    ),
    "probe without data": zero_shot("RACE/dev", settings={"tasks": "('cola','race')"}),
    "folder without probes": zero_shot(
        "config.data.path", "cola", "{here}/books", settings={"data.path": "{here}/books"}
    ),
    "missing probe folder": zero_shot(
        "config.data.path", "absent", settings={"data.path": "{here}/absent"}
    ),
    "equal words": zero_shot(
        "config.sst2.words", "two different words", settings={"sst2.words": "('old','old')"}
    ),
    "single word": zero_shot(
        "config.sst2.words", "two different words", settings={"sst2.words": "('old',)"}
    ),
    "words with equal tokens": zero_shot(
        "config.sst2.words", "same tokens", settings={"sst2.words": "('old','Old ')"}
    ),
    "ceiling equals chance": zero_shot(
        "config.ceilings.sst2: 0.5", "0.5", settings={"ceilings.sst2": 0.5}
    ),
    "ceiling above one": zero_shot(
        "config.ceilings.cola", "up to 1", settings={"ceilings.cola": 93.2}
    ),
    "sentence without its pronoun": zero_shot(
        "dprd test, row 1: no word 'it'",
        "max_bad_rows",
        files={PRONOUNS: b"a saw b, it ran.\nit\na,b\na\n\na saw b.\nit\na,b\na\n"},
    ),
    "every row dropped": zero_shot(
        "dprd test",
        "no row is left",
        files={PRONOUNS: b"a saw b.\nit\na,b\na\n"},
        settings={"data.max_bad_rows": 1},
    ),
}
