"""Test that finished runs keep only what can still be used, and that this is enough."""

import json
import shutil

import pytest

from gpt1_jax import storage
from gpt1_jax.engine import checkpoint


@pytest.fixture
def older(pretrained, tmp_path):
    """Return the folder of a finished run that has kept everything."""
    return shutil.copytree(pretrained(), tmp_path / "ablation/run")


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "log.txt"
    }


def test_prune_shows_what_it_would_delete_and_deletes_it_on_demand(gpt1, older, pretraining):
    before, size = files(older), storage.folder_size(older / "checkpoints")
    shown = gpt1.run("prune", str(older.parent))
    assert shown.code == 0 and files(older) == before
    *folders, total = shown.out.splitlines()
    assert folders == [f"{older}/checkpoints/{name}" for name in ("10", "20/opt_state")]
    assert total.endswith(" MB would be deleted; add --delete to delete them")
    deleted = gpt1.run("prune", "--delete", str(older))
    assert deleted.out.splitlines()[-1].endswith(" MB deleted")
    assert checkpoint.steps(older) == [20]
    assert storage.folder_size(older / "checkpoints") < size / 4
    assert gpt1.run("prune", str(older)).out.startswith("0.0 MB")
    again = gpt1.run(*gpt1.command("pretrain.py:tiny", older, pretraining()))
    assert again.code == 0 and "finished before" in again.out


def test_pruned_run_gives_its_result_again_and_cannot_be_extended(
    gpt1, older, pretraining, finetuning, tmp_path
):
    expected = json.loads((older / "result.json").read_text())
    checkpoints = older / "checkpoints"
    shutil.copytree(checkpoints / "10", tmp_path / "10")
    assert gpt1.run("prune", "--delete", str(older)).code == 0
    (checkpoints / ".opt_state.0123456789ab.tmp").mkdir()  # of a pruning that was killed
    assert gpt1.run("prune", "--delete", str(older)).code == 0
    assert storage.names(checkpoints) == ["20"]
    (older / "result.json").unlink()
    unfinished = gpt1.run("prune", "--delete", str(older))
    assert unfinished.out.startswith(f"{older}: stays as it is: ")
    assert "result.json: no such file; the run is not finished" in unfinished.out
    result = gpt1.result("pretrain.py:tiny", older, pretraining())
    assert {**result, "seconds": 0} == {**expected, "seconds": 0}
    longer = gpt1.run(*gpt1.command("pretrain.py:tiny", older, pretraining() | {"steps": 30}))
    assert longer.code == 2 and "this run was started with steps=20 (now 30)" in longer.err
    # The last checkpoint is gone, and one before it holds params only.
    shutil.move(tmp_path / "10", checkpoints / "10")
    shutil.rmtree(checkpoints / "20")
    assert gpt1.run("prune", "--delete", str(older)).code == 0
    (older / "result.json").unlink()
    refused = gpt1.run(*gpt1.command("pretrain.py:tiny", older, pretraining()))
    assert refused.code == 2 and "10: holds params only, as every checkpoint" in refused.err
    assert gpt1.result("finetune.py:rte", tmp_path / "rte", finetuning() | {"init.path": older})


def test_damaged_params_are_not_the_only_ones_left(gpt1, older):
    for file in (older / "checkpoints/20/params").rglob("d/*"):
        file.write_bytes(b"damaged")
    before = files(older)
    completed = gpt1.run("prune", "--delete", str(older))
    assert f"{older}: stays as it is: " in completed.out and "damaged" in completed.out
    assert files(older) == before


def test_finished_run_keeps_the_params_of_its_best_and_last_steps(gpt1, finetuning, tmp_path):
    settings = finetuning() | {"epochs": 3, "checkpoint.keep": 3}
    everything = tmp_path / "all"
    kept = {**settings, "checkpoint.finished": "all"}
    best = gpt1.result("finetune.py:cola", everything, kept)["best_step"]
    assert gpt1.result("finetune.py:cola", tmp_path / "params", settings)["best_step"] == best
    steps = checkpoint.steps(everything)
    assert checkpoint.steps(tmp_path / "params") == sorted({best, steps[-1]}) and len(steps) == 3
    for step in checkpoint.steps(tmp_path / "params"):
        names = storage.names(tmp_path / f"params/checkpoints/{step}")
        assert "params" in names and "opt_state" not in names
        assert checkpoint.read_all_params(tmp_path / "params", step)
