"""Test config.log.profile: the trace of a whole run, and that it changes nothing else."""

import json


def test_profiled_run_has_a_trace_and_the_same_params(gpt1, pretraining, pretrained, tmp_path):
    settings = pretraining() | {"log.profile": (8, 12)}
    result = gpt1.result("pretrain.py:tiny", tmp_path, settings)
    assert len(list(tmp_path.glob("tb/plugins/profile/*/*.xplane.pb"))) == 1
    assert "trace from step 8 to step 12: " in (tmp_path / "log.txt").read_text()
    expected = json.loads((pretrained() / "result.json").read_text())
    assert result["params_sha256"] == expected["params_sha256"]
    rows = [(tmp_path / "metrics.jsonl"), pretrained() / "metrics.jsonl"]
    steps = [[json.loads(line)["step"] for line in path.read_text().splitlines()] for path in rows]
    assert steps[0] == steps[1]


def test_profile_may_change_between_the_starts_of_a_run(gpt1, finetuning, tmp_path):
    settings = finetuning() | {"epochs": 2}
    first = gpt1.result("finetune.py:sst2", tmp_path, settings | {"log.profile": (90, 99)})
    log = (tmp_path / "log.txt").read_text()
    assert "config.log.profile: (90, 99) are not among the steps 1 to 6: no trace" in log
    assert not (tmp_path / "tb/plugins").exists()
    again = gpt1.result("finetune.py:sst2", tmp_path, settings | {"log.profile": (2, 3)})
    assert again == first
