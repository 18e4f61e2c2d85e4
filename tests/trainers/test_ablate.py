"""The factory's table: what is finished stays, and scores on different data never stand in one column."""

import json
import shutil

import pytest


@pytest.fixture
def settings(books, glue, tmp_path):
    """The quickstart on a GLUE folder that may be changed, with two variants of two tasks as small as can be."""
    shutil.copytree(glue, tmp_path / "glue")
    small = {"model.width": 16, "model.context": 32, "steps": 2, "batch_size": 4, "eval.windows": 4, "tokenizer.vocab_size": 120}
    bodies = {"transformer": {"model.layers": 1, "model.heads": 2, "model.ffn": 32}, "lstm": {"model.units": 16}}
    values = {"books": books, "labelled": tmp_path / "glue", "tasks": "('rte',)"}
    for body, sizes in bodies.items():
        mine = small | sizes | {"data.cache": tmp_path / "cache", "optim.warmup_steps": 1, "eval.every": 2, "checkpoint.every": 2}
        values |= {f"pretrain.{body}.{name}": value for name, value in mine.items()}
    for variant in ("full", "no_pretraining", "no_aux_lm", "lstm"):
        values |= {f"finetune.{variant}.{name}": value for name, value in {"epochs": 1, "batch_size": 4}.items()}
    return values


def test_a_cell_on_other_data_has_a_column_of_its_own(gpt1, settings, tmp_path):
    run = tmp_path / "run"
    first = gpt1.result("quickstart.py", run, settings)
    assert {name: set(row) for name, row in first["means"].items()} == dict.fromkeys(
        ("full", "no_pretraining", "no_aux_lm", "lstm"), {"rte"}
    )
    finished = {cell: (run / f"rte_{cell}_0/result.json").read_bytes() for cell in ("full", "lstm")}
    # One cell is lost, and by the time it is made again the data has changed.
    (run / "result.json").unlink()
    shutil.rmtree(run / "rte_no_aux_lm_0")
    dev = tmp_path / "glue/RTE/dev.tsv"
    dev.write_text(dev.read_text().replace("not_entailment", "entailment", 1))
    second = gpt1.result("quickstart.py", run, settings)
    assert [set(second["means"][name]) for name in ("full", "no_pretraining", "lstm")] == [{"rte"}] * 3
    (column,) = second["means"]["no_aux_lm"]
    assert column.startswith("rte (") and column in (run / "log.txt").read_text()
    assert {cell: (run / f"rte_{cell}_0/result.json").read_bytes() for cell in finished} == finished
    assert json.loads((run / "result.json").read_text()) == second
